"""Where the pictures to explain come from: photographs on disk, or examples of a records directory."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dr_edge import metadata
from dr_edge.runs import TrainedRun, check_records

TOO_POOR = "too poor to grade"
COVERED = "part of the retina is covered"
NOT_STATED = "{kind}, and nothing is known of whether the model learned such ones"


@dataclasses.dataclass(frozen=True)
class Picture:
    """One fundus image, ready for the model.

    Attributes:
      name: the image's id or path, for people.
      image: [S, S, 3] float32 0..255, preprocessed as the model expects.
      photograph: [S, S, 3] uint8 RGB, the same crop before normalisation.
      label: class index [] int, or [L] int (-1: not known), or [S, S, M] float masks; None where there is
        none.
      remark: why `predict` would not answer it; "" where it would.
    """

    name: str
    image: np.ndarray
    photograph: np.ndarray
    label: np.ndarray | int | None = None
    remark: str = ""


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A file that is no picture to explain, and why."""

    name: str
    reason: str


def is_records(images: str) -> bool:
    """Tells whether `images` names a records directory (it holds dataset.json) rather than photographs."""
    return metadata.manifest_path(images, "dataset").is_file()


def photograph_paths(pattern: str) -> list[Path]:
    """Returns the sorted files that a glob, a directory or a file name stands for.

    Raises:
      ValueError: nothing matches.
    """
    if os.path.isdir(pattern):
        paths = [path for path in Path(pattern).iterdir() if not path.name.startswith(".")]
    elif os.path.isfile(pattern):
        paths = [Path(pattern)]  # a file name may itself hold [ or *
    else:
        paths = [Path(path) for path in glob.glob(pattern, recursive=True)]
    files = sorted(path for path in paths if path.is_file())
    if not files:
        raise ValueError(
            f"--images={pattern} matches no file. Give a records directory, a directory of photographs, or "
            "a quoted "
            "pattern such as --images='photographs/*.jpg'."
        )
    return files


def from_photographs(paths: list[Path], run: TrainedRun) -> Iterator[Picture | Rejected]:
    """Reads, crops and preprocesses photographs one by one, as the run's records were built.

    A file that is no fundus photograph is yielded as Rejected with its reason, and the rest goes on.
    """
    from dr_edge.fundus import graham, photograph
    from dr_edge.fundus.appearance import COLOUR
    from dr_edge.fundus.header_types import PhotographError
    from dr_edge.fundus.quality import DEFAULT_MIN_QUALITY
    from dr_edge.fundus.read_crop import read_crop

    above = os.path.commonpath([path.parent for path in paths])
    for path in paths:
        name = os.path.relpath(path, above)  # full paths say more about a computer than anybody needs
        try:
            data = photograph.read_file(path)
        except PhotographError as err:
            yield Rejected(name, err.reason)
            continue
        try:
            found = read_crop(data, run.image_size, pictures=run.pictures)
        except PhotographError as err:
            yield Rejected(name, str(err).rstrip("."))  # it says what to do, what to install for instance
            continue
        if found.crop is None:
            yield Rejected(name, found.refusal.reason if found.refusal else "no field of view")
            continue
        image = graham.preprocess(found.crop, run.preprocess["method"])
        remarks = [
            TOO_POOR if found.quality is not None and found.quality.score < DEFAULT_MIN_QUALITY else "",
            COVERED if found.covered else "",
            NOT_STATED.format(kind=found.kind) if found.kind != COLOUR and not run.content.get("pictures") else "",
        ]
        yield Picture(name, image.astype(np.float32), found.crop, remark=", ".join(filter(None, remarks)))


def from_records(records: str | os.PathLike, split: str, run: TrainedRun, batch_size: int) -> Iterator[Picture]:
    """Reads the examples of a split that the run's task uses, in their order.

    Raises:
      ManifestError, ValueError: no such records or split, or records of another image size or preprocessing.
    """
    from dr_edge.data import pipeline

    check_records(records, run)
    for batch in pipeline.evaluation_batches(records, split, run.task, batch_size, photograph=True):
        labels = batch["label"].numpy()
        for index, name in enumerate(batch["id"].numpy()):
            photograph = batch["photograph"][index].numpy()
            yield Picture(name.decode(), batch["image"][index].numpy(), photograph, labels[index])


def file_name(name: str, taken: set[str]) -> str:
    """Returns a file-system safe stem for `name` that is not in `taken` yet, and adds it there."""
    stem = metadata.safe_name(name, "image")
    candidate, number = stem, 2
    while candidate.lower() in taken:  # some file systems do not tell A from a
        candidate, number = f"{stem}-{number}", number + 1
    taken.add(candidate.lower())
    return candidate
