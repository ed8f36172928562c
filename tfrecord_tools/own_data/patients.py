"""Whose photograph each row of a table is: what its patient column says, read with care, else what the names tell.

The eyes of one patient must not stand in two splits, and columns part them in many ways: a number for each eye, "7"
beside "007", one word for everybody who is not known.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfrecord_tools.own_data.class_names import MISSING_WORDS
from tfrecord_tools.own_data.eyes import Eye, find_mark, group_eyes


def patients_of_rows(
    files: Sequence[str], names: Sequence[str], cells: Sequence[str] | None, column: str
) -> tuple[list[Eye], list[str]]:
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
    cells = [re.sub(r"(?<=\d)[.,]0+$", "", cell) for cell in cells]
    unknown = [cell for cell in cells if _is_missing(cell)]
    known = [
        "" if _is_missing(cell) or cell in (name, file, Path(name).stem) else cell
        for cell, name, file in zip(cells, names, files, strict=True)
    ]
    people = one_spelling(without_sides([cell for cell in known if cell]))
    eyes = [Eye(people[cell], eye.side, True) if cell else eye for cell, eye in zip(known, by_name, strict=True)]
    spelled: dict[str, str] = {}
    for eye in sorted(eyes, key=lambda eye: eye.patient):
        spelled.setdefault(eye.patient.casefold(), eye.patient)
    eyes = [dataclasses.replace(eye, patient=spelled[eye.patient.casefold()]) for eye in eyes]
    return eyes, _notes(files, eyes, by_name, unknown, column)


def _is_missing(cell: str) -> bool:
    return cell.casefold() in MISSING_WORDS


def _notes(
    files: Sequence[str], eyes: Sequence[Eye], by_name: Sequence[Eye], unknown: Sequence[str], column: str
) -> list[str]:
    notes = []
    if unknown:
        notes.append(
            f"{column}: {len(unknown)} cells such as {unknown[0]!r} were taken as empty; they are no patient's name."
        )
    pairs = Counter(eye.patient for eye in by_name if eye.told).most_common(1)
    if pairs and pairs[0][1] > 1 and len({eye.patient for eye in eyes}) == len(eyes):
        pair = [file for file, eye in zip(files, by_name, strict=True) if eye.patient == pairs[0][0]]
        notes.append(
            f"{column} has another value for every photograph, though {pair[0]} and {pair[1]} look like eyes of one "
            f"patient, who may now stand in two splits. If {column} counts photographs, leave out --patient_column."
        )
    return notes


def without_sides(patients: Sequence[str]) -> dict[str, str]:
    """Returns each name in a patient column -> the patient: "10" for 10_L and 10_R where both occur, else the name."""
    names = sorted(set(patients))
    eyes = group_eyes([name.replace("/", "_") for name in names])
    sides: dict[tuple[str, ...], set[str]] = {}
    for name, eye in zip(names, eyes, strict=True):
        mark = find_mark(name)
        if eye.told and mark:
            sides.setdefault(_key(eye.patient), set()).add(mark.side)
    return {
        name: eye.patient if eye.told and len(sides.get(_key(eye.patient), ())) == 2 else name
        for name, eye in zip(names, eyes, strict=True)
    }


def one_spelling(patients: Mapping[str, str]) -> dict[str, str]:
    """Returns the same names -> patients with one spelling for "P 7", "p-7" and "P07", which people mix."""
    spelled: dict[tuple[str, ...], str] = {}
    found = {}
    for name, patient in sorted(patients.items()):
        found[name] = spelled.setdefault(_key(patient), patient) if _key(patient) else patient
    return found


def _key(patient: str) -> tuple[str, ...]:
    """Returns the numbers, without zeros before them, and words of a patient's name."""
    parts = re.findall(r"\d+|[^\W\d_]+", patient.casefold())
    return tuple(part.lstrip("0") or "0" if part.isdigit() else part for part in parts)
