"""Whose photograph each row of a table is: what its patient column says, read with care, else what the names tell.

The eyes of one patient must not stand in two splits, and columns part them in many ways: a number for each eye, "7"
beside "007", one word for everybody who is not known.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from tfrecord_tools.grouping import Lookup, Texts, digests_of, smallest_spellings
from tfrecord_tools.on_disk import DiskList, Seen, in_order
from tfrecord_tools.own_data.class_names import MISSING_WORDS
from tfrecord_tools.own_data.eyes import Eye, find_mark, group_eyes


def patients_of_rows(
    files: Sequence[str], names: Sequence[str], cells: Sequence[str] | None, column: str
) -> tuple[Sequence[Eye], list[str]]:
    """Returns patient and side of each row, and notes: the column's patient, where it says more, else the name's.

    Args:
      files: path of each row's photograph, with forward slashes.
      names: what the table calls it.
      cells: of the patient column; None where there is no such column.
      column: its name, for the notes.
    """
    by_name = group_eyes(files)
    if cells is None:
        return by_name, []
    cells = Seen(cells, lambda cell: re.sub(r"(?<=\d)[.,]0+$", "", cell))
    known = DiskList(
        "" if _is_missing(cell) or cell in (name, file, Path(name).stem) else cell
        for cell, name, file in zip(cells, names, files, strict=True)
    )
    people = People(cell for cell in known if cell)
    eyes = DiskList(
        Eye(people.patient(cell), eye.side, True) if cell else eye for cell, eye in zip(known, by_name, strict=True)
    )
    spelled = smallest_spellings(Seen(eyes, lambda eye: eye.patient))
    eyes = DiskList(eye._replace(patient=spelled(eye.patient)) for eye in eyes)
    return eyes, _notes(files, eyes, by_name, cells, column)


def _is_missing(cell: str) -> bool:
    return cell.casefold() in MISSING_WORDS


def _notes(
    files: Sequence[str], eyes: Sequence[Eye], by_name: Sequence[Eye], cells: Sequence[str], column: str
) -> list[str]:
    notes = []
    unknown = sum(map(_is_missing, cells))
    if unknown:
        notes.append(
            f"{column}: {unknown} cells such as {next(filter(_is_missing, cells))!r} were taken as empty; they are no "
            "patient's name."
        )
    named = Texts(eye.patient for eye in by_name if eye.told)
    most = int(named.counts.max(initial=0))
    if most > 1 and len(Texts(eye.patient for eye in eyes)) == len(eyes):
        patient = next(eye.patient for eye in by_name if eye.told and named.count(eye.patient) == most)
        pair = [file for file, eye in zip(files, by_name, strict=True) if eye.patient == patient][:2]
        notes.append(
            f"{column} has another value for every photograph, though {pair[0]} and {pair[1]} look like eyes of one "
            f"patient, who may now stand in two splits. If {column} counts photographs, leave out --patient_column."
        )
    return notes


class People:
    """Whose name each name in a patient column is: "10" for 10_L and 10_R, and one spelling for "P 7", "p-7" and "P07".

    An eye is taken off a name where both eyes of that patient occur.
    """

    def __init__(self, cells: Iterable[str]) -> None:
        names = DiskList(name for name, _ in itertools.groupby(in_order(cells)))
        eyes = group_eyes(Seen(names, lambda name: name.replace("/", "_")))
        left, right = (Texts(_of_side(names, eyes, side)) for side in ("left", "right"))

        def patient(name: str, eye: Eye) -> str:
            one = _joined(eye.patient)
            return eye.patient if eye.told and left.count(one) and right.count(one) else name

        self._patients = DiskList(patient(name, eye) for name, eye in zip(names, eyes, strict=True))
        self._names, self._lookup = names, Lookup(names)
        # The first of those that are spelled otherwise; a name without letters and digits is its own.
        alike = digests_of(_joined(one) or f" {place}" for place, one in enumerate(self._patients))
        first, group = np.unique(alike, return_index=True, return_inverse=True)[1:]
        self._first = first[group].astype(np.min_scalar_type(len(alike)))

    def patient(self, name: str) -> str:
        """Returns the patient of a name that is in the column."""
        place = next(place for place in self._lookup.places(name) if self._names[place] == name)
        return self._patients[int(self._first[place])]


def _of_side(names: Iterable[str], eyes: Iterable[Eye], side: str) -> Iterator[str]:
    """Yields the key of each patient whose name states that eye."""
    for name, eye in zip(names, eyes, strict=True):
        mark = find_mark(name)
        if eye.told and mark and mark.side == side:
            yield _joined(eye.patient)


def _joined(patient: str) -> str:
    return "\0".join(_key(patient))


def _key(patient: str) -> tuple[str, ...]:
    """Returns the numbers, without zeros before them, and words of a patient's name."""
    parts = re.findall(r"\d+|[^\W\d_]+", patient.casefold())
    return tuple(part.lstrip("0") or "0" if part.isdigit() else part for part in parts)
