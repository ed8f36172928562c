"""CSV as every command writes and reads it: no cell is a formula to a spreadsheet, and what is read back is the text.

Spreadsheets run a cell that begins with = + - @ (or their wide forms), and names of files, patients and classes come
from strangers. Such a cell gets an apostrophe in front, which spreadsheets show as text. So does a cell that would
begin so for a program that divides the line at semicolons, tabs or line ends. Numbers stay numbers. `read` takes
exactly those apostrophes away, and reads what earlier releases wrote without them, too. Standard library only.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

_SIGNS = "=+@\uff1d\uff0b\uff0d\uff20\\-"
_BEGINS = re.compile(rf"(?:^|(?<=[;\t\r\n]))(?='*[{_SIGNS}])|^(?='*[\t\r\n])")
_GUARDED = re.compile(rf"(?:^|(?<=[;\t\r\n]))'(?='*[{_SIGNS}])|^'(?='*[\t\r\n])")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def guarded(cell: object) -> str:
    """Returns a cell as it is written: "" for None, a number as it is, text without a beginning that is run."""
    text = "" if cell is None else str(cell)
    return text if _NUMBER.fullmatch(text) else _BEGINS.sub("'", text)


def original(cell: str) -> str:
    """Returns the text of which `guarded` made a cell."""
    return _GUARDED.sub("", cell)


def write(file: TextIO, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a table as CSV with a first line of names; lines end with a line feed.

    Args:
      file: open for text, with newline="".
      header: the names.
      rows: as they come; none is kept.
    """
    plain = csv.writer(file, lineterminator="\n")
    quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in itertools.chain([header], rows):
        cells = [guarded(cell) for cell in row]
        # A carriage return ends a row to every reader, and the writer quotes only the line end that it uses itself.
        (quoted if any("\r" in cell for cell in cells) else plain).writerow(cells)


def to_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table as the text that `write` writes."""
    text = io.StringIO(newline="")
    write(text, header, rows)
    return text.getvalue()


def each_row(path: str | os.PathLike[str], errors: str = "strict") -> Iterator[list[str]]:
    """Yields the rows of a CSV file of ours, the first line among them.

    Args:
      path: of the file.
      errors: what becomes of bytes that are no UTF-8, as `open` takes it.

    Raises:
      OSError: the file is not there, or may not be read.
    """
    with open(path, newline="", encoding="utf-8-sig", errors=errors) as file:
        for row in csv.reader(file):
            yield [original(cell) for cell in row]


def each(path: str | os.PathLike[str]) -> Iterator[dict[str, str]]:
    """Yields the rows of a CSV file of ours, each under the names of the first line; see `each_row`."""
    rows = each_row(path)
    names = next(rows, [])
    for row in rows:
        if row:
            yield dict(zip(names, row, strict=False))


def read(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Returns all that `each` yields."""
    return list(each(path))
