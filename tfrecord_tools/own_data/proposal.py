"""The build command a user probably means, and the error that proposes it: what is missing, what the table holds."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dr_edge.next_steps import quoted
from tfrecord_tools.items import DatasetError, Request
from tfrecord_tools.own_data.columns import find_column, named_columns
from tfrecord_tools.own_data.guess import FEW_VALUES, Guess, guess, photographs_of_eyes
from tfrecord_tools.own_data.named_files import NamedFiles
from tfrecord_tools.own_data.table import Table


def build_command(table: str, found: Guess, data_dir: Path, request: Request) -> str:
    """Returns the build command for a guess, with what the user typed beside it; `table`: as --csv names it."""

    def named(pairs: Sequence[tuple[str, str]]) -> str:
        return ",".join(name if name == column else f"{name}={column}" for name, column in pairs)

    parts = [
        ("data_dir", str(data_dir)), ("csv", table), ("image_column", found.image or "COLUMN"),
        ("label_columns", named(found.labels)), ("mask_columns", named(found.masks)),
        ("patient_column", found.patient), ("split_column", found.split), ("laterality_column", found.laterality),
        ("out", str(request.out or "records/own")),
    ]  # fmt: skip
    flags = " ".join(f"--{name}={quoted(value)}" for name, value in parts if value)
    return " ".join(["python -m tfrecord_tools.build --dataset=csv", flags, *request.typed])


def as_typed(found: Guess, typed: Mapping[str, str | Sequence[str]], columns: Sequence[str]) -> Guess:
    """Returns a guess with the columns that the user named in its place, as far as the table has them.

    Args:
      found: the guess.
      typed: flag -> its value, as in `Request.table`.
      columns: of the table.
    """
    single = {
        "image_column": "image",
        "patient_column": "patient",
        "split_column": "split",
        "laterality_column": "laterality",
    }
    changed: dict[str, Any] = {
        field: str(typed[flag])
        for flag, field in single.items()
        if typed.get(flag) and find_column(columns, str(typed[flag]))
    }
    for flag, field in (("label_columns", "labels"), ("mask_columns", "masks")):
        value = typed.get(flag) or ()
        named = named_columns([value] if isinstance(value, str) else value, columns)
        if named and all(find_column(columns, column) for column in named.values()):
            changed[field] = tuple(named.items())
    return dataclasses.replace(found, **changed)


def describe(table: Table) -> str:
    """Returns the columns of a table with some of their values, one a line."""
    lines = [f"{table.path.name} has {len(table.rows)} rows and the columns:"]
    for name in table.columns:
        counts = Counter(value for value in table.values(name) if value)
        if len(counts) <= FEW_VALUES and not (len(counts) > 3 and set(counts.values()) == {1}):
            shown = ", ".join(f"{value} ({count})" for value, count in sorted(counts.items())) or "empty"
        else:
            shown = ", ".join(list(counts)[:3]) + ", ..."
        lines.append(f"  {name}: {shown[:100]}")
    return "\n".join(lines)


def ask(problem: str, table: Table, data_dir: Path, given: str, request: Request) -> DatasetError:
    """Returns the error that says what is missing, what the table holds, and the command that is probably meant."""
    eyes = photographs_of_eyes(table)
    if len(eyes) > 1:
        return DatasetError(
            f"{problem}\n{describe(table)}\nThe columns {', '.join(eyes)} each name a photograph. Write a table with "
            "one photograph a row: its name, the patient (--patient_column), the eye (--laterality_column) and the "
            "label of that eye."
        )
    probable = as_typed(guess(table, NamedFiles(data_dir)), request.table, table.columns)
    return DatasetError(
        f"{problem}\n{describe(table)}\nProbably:\n  {build_command(given, probable, data_dir, request)}"
    )
