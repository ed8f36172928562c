"""Asks a model about photographs and about the same photographs changed: how often does it say something else?

    from dr_edge.evaluation.stability import answering, measure
    found = measure.measure(answering.OfBundle(open_bundle(directory)), measure.of_files(paths))

The same for a run (`answering.OfRun`) and for any of `perturbations.catalogue.PERTURBATIONS`; `figures.figures` sums it
up. Files are decoded, changed and cropped by several threads; the network runs in one.
"""

from __future__ import annotations

import dataclasses
import os
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dr_edge import cores
from dr_edge.evaluation.stability.answering import Answering
from dr_edge.evaluation.stability.said import Said, said
from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.photograph import decode_photograph, read_file
from dr_edge.fundus.read_crop import Photograph
from dr_edge.perturbations.catalogue import PERTURBATIONS
from dr_edge.perturbations.perturbation import Box, Perturbation
from dr_edge.prediction.schema import UNREADABLE
from dr_edge.progress import Progress


@dataclasses.dataclass(frozen=True)
class Subject:
    """A photograph that is asked about.

    Attributes:
      name: unique; also seeds what is drawn at random.
      patient: whose it is; the name itself where that is not known.
      load: returns the bytes of its file.
    """

    name: str
    patient: str
    load: Callable[[], bytes]

    @property
    def seed(self) -> int:
        """Of its perturbations."""
        return zlib.crc32(self.name.encode())


@dataclasses.dataclass(frozen=True)
class Row:
    """What became of one answer under one perturbation.

    Attributes:
      subject: name of the photograph.
      patient: whose it is.
      perturbation: name of the perturbation.
      before: what was said of the photograph as it is.
      after: what was said of the changed one; None where it was refused.
      status: of the answer to the changed one, see `prediction.schema`.
      reason: of a refusal.
      box: of the retina in the photograph as it is, which the perturbation followed.
      cautioned: the answer to the changed photograph comes with a caution that the other one lacks.
    """

    subject: str
    patient: str
    perturbation: str
    before: Said
    after: Said | None
    status: str
    reason: str | None
    box: Box
    cautioned: bool = False

    @property
    def difference(self) -> float | None:
        """|dp|, 0..1: the largest change of a probability; None of a refusal."""
        return None if self.after is None else float(np.abs(self.after.scores - self.before.scores).max())

    @property
    def flipped(self) -> bool:
        """Says whether something else is decided; a refusal decides nothing."""
        return self.after is not None and self.after.decided != self.before.decided


@dataclasses.dataclass(frozen=True)
class Measured:
    """All rows, photograph by photograph.

    Attributes:
      rows: of the photographs that are answered as they are.
      refused: name and reason of those that are not: there is no answer to compare with.
      perturbations: those that were applied, in their order.
      asked: how many photographs there were to ask about.
      seconds: that it took.
    """

    rows: list[Row]
    refused: list[tuple[str, str]]
    perturbations: tuple[Perturbation, ...]
    asked: int
    seconds: float

    @property
    def photographs(self) -> list[str]:
        """Names of the photographs that were measured."""
        return list(dict.fromkeys(row.subject for row in self.rows))

    @property
    def out_of_time(self) -> int:
        """How many photographs were left when time was up."""
        return self.asked - len(self.photographs) - len(self.refused)


def of_files(paths: Sequence[str | os.PathLike]) -> list[Subject]:
    """Returns files as subjects, each its own patient; they are read when it is their turn."""
    return [Subject(str(path), str(path), _loader(Path(path))) for path in paths]


def _loader(path: Path) -> Callable[[], bytes]:
    return lambda: read_file(path)


def measure(
    model: Answering,
    subjects: Sequence[Subject],
    perturbations: Sequence[Perturbation] = tuple(PERTURBATIONS.values()),
    seconds: float | None = None,
    workers: int | None = None,
) -> Measured:
    """Answers each photograph as it is and under each perturbation, with progress and the time left.

    Args:
      model: what answers.
      subjects: the photographs, in an order of which any beginning is a fair sample.
      perturbations: applied to each, one at a time.
      seconds: no further photograph is begun after this time, but one is measured in any case; None: no limit.
      workers: threads that decode, change and crop; None: one for each core that it may use.

    Raises:
      ValueError: the task draws masks.
    """
    if model.bundle.kind == "segmentation":
        raise ValueError("Stability is measured of classes and diseases. Masks move with the photograph.")
    start = time.monotonic()
    rows: list[Row] = []
    refused: list[tuple[str, str]] = []
    with (
        ThreadPoolExecutor(workers or cores.available()) as pool,
        Progress(total=len(subjects), desc="stability", unit="photograph", dynamic_ncols=True) as bar,
    ):
        for subject in subjects:
            if rows and seconds is not None and time.monotonic() - start > seconds:
                break
            found = _one(model, subject, perturbations, pool)
            if isinstance(found, str):
                refused.append((subject.name, found))
            else:
                rows += found
            bar.update()
    return Measured(rows, refused, tuple(perturbations), len(subjects), time.monotonic() - start)


def _one(
    model: Answering, subject: Subject, perturbations: Sequence[Perturbation], pool: ThreadPoolExecutor
) -> list[Row] | str:
    """Returns the rows of one photograph, or why it is refused as it is."""
    try:
        data = subject.load()
        plain = model.read(data)
    except PhotographError as err:
        return err.reason
    answer = model.answers([plain])[0]
    before = said(answer)
    if before is None or plain.fov is None:
        return answer.reason or answer.status
    image, box = decode_photograph(data), plain.fov.box

    def changed(perturbation: Perturbation) -> Photograph | str:
        try:
            return model.read(perturbation(image, box, subject.seed))
        except PhotographError as err:
            return err.reason

    read = list(pool.map(changed, perturbations))
    answers = iter(model.answers([each for each in read if isinstance(each, Photograph)]))
    rows = []
    for perturbation, each in zip(perturbations, read, strict=True):
        place = subject.name, subject.patient, perturbation.name
        if isinstance(each, str):
            rows.append(Row(*place, before, None, UNREADABLE, each, box))
        else:
            after = next(answers)
            cautioned = bool(set(after.cautions) - set(answer.cautions))
            rows.append(Row(*place, before, said(after), after.status, after.reason, box, cautioned))
    return rows
