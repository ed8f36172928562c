"""Which photographs of a split are measured: drawn by patient, as the files they were or as the crops that are stored.

A record names the file that it was made from and its SHA-256. A file of another content under that name is not taken:
the label and the split are of the other one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge.data.records import shard_paths
from dr_edge.data.wire import parse_example, read_frames
from dr_edge.evaluation.stability.measure import Subject
from dr_edge.fundus.photograph import read_file

SEED = 20261120


@dataclasses.dataclass(frozen=True)
class Sample:
    """Photographs to measure.

    Attributes:
      subjects: in an order of which any beginning is a fair sample.
      on_crops: they are stored crops.
      missing, changed: drawn, but there is no such file, or its content is another; of files only.
    """

    subjects: list[Subject]
    on_crops: bool
    missing: int = 0
    changed: int = 0


@dataclasses.dataclass(frozen=True)
class _Record:
    patient: str
    path: str
    sha256: str
    crop: bytes


def order(patients: np.ndarray, seed: int = SEED) -> np.ndarray:
    """Returns all rows in random order: one photograph of each patient first, then the second ones, and so on.

    Args:
      patients: [N] of each row.
      seed: the same seed gives the same order.
    """
    drawn = np.random.default_rng(seed).permutation(len(patients))
    turns: dict[str, int] = {}
    turn = []
    for row in drawn:
        name = str(patients[row])
        turns[name] = turns.get(name, -1) + 1
        turn.append(turns[name])
    return drawn[np.argsort(turn, kind="stable")]


def of_records(
    records: str | os.PathLike,
    split: str,
    ids: np.ndarray,
    patients: np.ndarray,
    count: int,
    photographs: str | os.PathLike | None = None,
) -> Sample:
    """Draws photographs of a split.

    Args:
      records, split: where they are.
      ids, patients: [N], of the photographs that the task uses.
      count: the most to draw.
      photographs: the directory that the records were built from (--data_dir of the build); None for stored crops.

    Raises:
      ValueError: `photographs` holds none of those drawn, or the records were not made from files.
    """
    names = [str(ids[row]) for row in order(patients)]
    if photographs is None:
        drawn = names[:count]
        found = dict(_records(records, split, set(drawn), crops=True))
        return Sample([Subject(name, found[name].patient, _constant(found[name].crop)) for name in drawn], True)
    found = dict(_records(records, split, set(names), crops=False))
    if not any(each.path for each in found.values()):
        raise ValueError(
            f"--photographs={photographs}: the photographs of {records} were drawn by a program, and no files of them "
            "are known. Leave --photographs out: stability is then measured on the stored crops."
        )
    return _of_files(Path(photographs), [(name, found[name]) for name in names], count)


def _of_files(directory: Path, named: list[tuple[str, _Record]], count: int) -> Sample:
    """Returns the first `count` whose file is there and is the one that the record was made from."""
    subjects: list[Subject] = []
    missing = changed = 0
    for name, record in named:
        if len(subjects) == count:
            break
        path = _inside(directory, record.path)
        if path is None or not path.is_file():
            missing += 1
        elif hashlib.sha256(path.read_bytes()).hexdigest() != record.sha256:
            changed += 1
        else:
            subjects.append(Subject(name, record.patient, _reader(path)))
    if not subjects:
        raise ValueError(
            f"--photographs={directory} holds none of the photographs that the records were made from ({missing} not "
            f"there, {changed} of another content; the first is {named[0][1].path}). Give the directory that was "
            "--data_dir of the build."
        )
    return Sample(subjects, False, missing, changed)


def _inside(directory: Path, name: str) -> Path | None:
    """Returns the file of a record's path below the directory; None where it leads out of it."""
    path = (directory / name).resolve()
    return path if name and path.is_relative_to(directory.resolve()) else None


def _records(records: str | os.PathLike, split: str, names: set[str], crops: bool) -> Iterator[tuple[str, _Record]]:
    """Yields (id, record) of those named; `crops`: with the crop as it was before normalisation."""
    left = set(names)
    for shard in shard_paths(records, split):
        for _, frame in read_frames(shard):
            features: dict[str, Any] = parse_example(frame)
            name = _text(features, "image/id")
            if name in left:
                left.discard(name)
                stored = features.get("image/photograph") or features["image/encoded"]
                patient, path, digest = (_text(features, f) for f in ("patient/id", "image/path", "image/sha256"))
                yield name, _Record(patient, path, digest, bytes(stored[0]) if crops else b"")
            if not left:
                return


def _text(features: Mapping[str, Any], name: str) -> str:
    values = features.get(name) or [b""]
    return bytes(values[0]).decode("utf-8")


def _constant(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def _reader(path: Path) -> Callable[[], bytes]:
    return lambda: read_file(path)
