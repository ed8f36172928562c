"""Reads CSV and TSV files as people export them: any encoding, separator and line end, quotes that go over lines."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from dr_edge import spreadsheet
from tfrecord_tools.items import DatasetError
from tfrecord_tools.on_disk import DiskList, Seen
from tfrecord_tools.own_data.sheet_rows import SheetRows

SEPARATORS = ",;\t|"
WINDOWS, AS_LATIN = "cp1252", "dr_edge-as-latin"
PIECE = 1 << 16  # bytes
CELL_LINES = 20  # a quoted cell of more lines, or one that looks like rows, has lost its closing quote


def read_text(path: Path) -> tuple[SheetRows, list[str]]:
    """Reads a text file, line after line, to rows on the disk.

    Returns:
      Its rows, and notes: what the reader had to suppose.

    Raises:
      DatasetError: no text, or a quote without end.
    """
    encoding, errors = _encoding(path)

    def opened() -> TextIO:
        return open(path, encoding=encoding, errors=errors, newline="")

    notes = _supposed(opened(), path) if encoding == WINDOWS else []
    return SheetRows(_without_guards(_text_rows(opened, path))), notes


def _without_guards(rows: Sequence[tuple[int, list[str]]]) -> Sequence[tuple[int, list[str]]]:
    """Returns the texts as they were before a table was written for spreadsheets, as our own splits.csv is.

    Such a table holds no cell that a spreadsheet would run; in any other an apostrophe is a letter of the text.
    """
    texts = (text for _, cells in rows for text in cells)
    if any(spreadsheet.guarded(spreadsheet.original(text)) != text for text in texts):
        return rows
    return Seen(rows, lambda pair: (pair[0], [spreadsheet.original(text) for text in pair[1]]))


def _encoding(path: Path) -> tuple[str, str]:
    """Returns encoding and what becomes of bytes that are none of it: UTF-8, UTF-16, or else Windows-1252."""
    length, zeros = 0, [0, 0]  # at even and at odd places
    utf8 = codecs.getincrementaldecoder("utf-8-sig")()
    is_utf8 = True
    with open(path, "rb") as file:
        while True:
            piece = file.read(PIECE)
            if length == 0 and piece[:2] in (b"\xff\xfe", b"\xfe\xff"):
                return "utf-16", "replace"
            for odd in range(2):
                zeros[odd] += piece[(length + odd) % 2 :: 2].count(0)
            length += len(piece)
            try:
                if is_utf8:
                    utf8.decode(piece, final=not piece)
            except UnicodeDecodeError:
                is_utf8 = False
            if not piece:
                break
    if length > 1 and zeros[1] > 0.6 * (length // 2):
        return "utf-16-le", "replace"
    if length and zeros[0] > 0.6 * ((length + 1) // 2):
        return "utf-16-be", "replace"
    if any(zeros):
        raise DatasetError(f"{path} is no table (it holds zero bytes). Save it as CSV (UTF-8) or .xlsx.")
    return ("utf-8-sig", "strict") if is_utf8 else (WINDOWS, AS_LATIN)


def _supposed(text: TextIO, path: Path) -> list[str]:
    """Returns a note that shows a letter which depends on the encoding."""
    with text:
        odd = next(word for line in text for word in re.split(r"[,;\t\r\n]", line) if not word.isascii())
    return [
        f"{path.name} is not UTF-8 and was read as Windows-1252, for example {odd.strip()[:40]!r}. If that is not "
        "what you wrote, save it as 'CSV UTF-8'."
    ]


def _as_latin(err: UnicodeError) -> tuple[str, int]:
    """Reads the five bytes that the code page leaves free as the letters of that number."""
    if not isinstance(err, UnicodeDecodeError):
        raise err
    return chr(err.object[err.start]), err.start + 1


codecs.register_error(AS_LATIN, _as_latin)


def _text_rows(opened: Callable[[], TextIO], path: Path) -> Sequence[tuple[int, list[str]]]:
    """Returns (row number, cells); the separator is the one that splits the head most."""
    with opened() as text:
        first = next((line.rstrip("\r\n") for line in text if line.strip(" ,;\t|\r\n")), "")
    stated = re.fullmatch(r"sep=(.)", first.strip(), re.IGNORECASE)
    separator = stated[1] if stated else max(SEPARATORS, key=_unquoted(first).count)
    rows: DiskList[tuple[int, list[str]]] = DiskList()
    width = 0  # of the first row
    with opened() as text:
        try:
            for number, cells in enumerate(csv.reader(text, delimiter=separator, strict=True), 1):
                if stated and not rows and len(cells) <= 2 and "".join(cells).lower().startswith("sep="):
                    continue
                for cell in cells:
                    inner = cell.splitlines()[1:]
                    if len(inner) > CELL_LINES or any(
                        line.count(separator) >= max(1, len(cells) - 1, width - 1) for line in inner
                    ):
                        raise DatasetError(
                            f"{path.name}, row {number}: a quoted text goes over several lines and swallows the rows "
                            f"after it ({cell[:30]!r}). A quotation mark is missing or too many; correct that row."
                        )
                width = width if rows else len(cells)
                rows.append((number, cells))
        except csv.Error as err:
            start = len(rows) + 1
            raise DatasetError(
                f"{path.name}, row {start} or after: a quotation mark is missing or too many ({err}). Correct that row."
            ) from err
    return rows


def _unquoted(line: str) -> str:
    return re.sub(r'"[^"]*"', "", line)
