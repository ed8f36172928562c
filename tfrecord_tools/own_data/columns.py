"""Columns of a table by the names that users give them: DR grade, dr_grade and DR-Grade are one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from tfrecord_tools.items import DatasetError


def plain_column(name: str) -> str:
    """Returns what spellings of one column name share: "DR grade", "dr_grade " and "DR-Grade" alike."""
    return re.sub(r"[\s_\-./]+", "", unicodedata.normalize("NFKC", name).casefold())


def find_column(columns: Sequence[str], wanted: str) -> str | None:
    """Returns the column of that name, else the one that differs in case, blanks or hyphens only; None where there is none."""
    if wanted in columns:
        return wanted
    alike = [name for name in columns if plain_column(name) == plain_column(wanted)]
    return alike[0] if len(alike) == 1 else None


def named_columns(entries: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """Reads NAME or NAME=COLUMN entries -> name of the label or mask -> column as the user wrote it.

    Raises:
      DatasetError: one name for two columns.
    """
    named: dict[str, str] = {}
    for entry in entries:
        name, sign, column = entry.partition("=")
        whole = not sign or find_column(columns, entry) is not None
        called, wanted = (entry.strip(), entry.strip()) if whole else (name.strip(), column.strip())
        if called in named and named[called] != wanted:
            raise DatasetError(f"{called} is given two columns, {named[called]} and {wanted}. Give each a name of its own.")
        named[called] = wanted
    return named
