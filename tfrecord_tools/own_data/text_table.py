"""Reads CSV and TSV files as people export them: any encoding, separator and line end, quotes that go over lines."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from dr_edge import spreadsheet
from tfrecord_tools.items import DatasetError
from tfrecord_tools.own_data.sheet_rows import SheetRows

SEPARATORS = ",;\t|"
CELL_LINES = 20  # a quoted cell of more lines, or one that looks like rows, has lost its closing quote


def read_text(data: bytes, path: Path) -> tuple[SheetRows, list[str]]:
    """Reads the content of a text file.

    Args:
      data: all its bytes.
      path: of the file, for messages.

    Returns:
      Its rows, and notes: what the reader had to suppose.

    Raises:
      DatasetError: no text, or a quote without end.
    """
    text, notes = _decoded(data, path)
    return SheetRows(_without_guards(_text_rows(text, path))), notes


def _without_guards(rows: list[tuple[int, list[object]]]) -> list[tuple[int, list[object]]]:
    """Returns the texts as they were before a table was written for spreadsheets, as our own splits.csv is.

    Such a table holds no cell that a spreadsheet would run; in any other an apostrophe is a letter of the text.
    """
    texts = [str(cell) for _, cells in rows for cell in cells]
    if any(spreadsheet.guarded(spreadsheet.original(text)) != text for text in texts):
        return rows
    return [(number, [spreadsheet.original(str(cell)) for cell in cells]) for number, cells in rows]


def _decoded(data: bytes, path: Path) -> tuple[str, list[str]]:
    """Returns the text: UTF-8, UTF-16, or else Windows-1252, which a note says where letters depend on it."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace"), []
    for encoding, zeros in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
        if zeros and zeros.count(0) > 0.6 * len(zeros):
            return data.decode(encoding, "replace"), []
    if b"\0" in data:
        raise DatasetError(f"{path} is no table (it holds zero bytes). Save it as CSV (UTF-8) or .xlsx.")
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        text = "".join(_windows(byte) for byte in data)
        odd = next(word for word in re.split(r"[,;\t\r\n]", text) if not word.isascii())
        return text, [
            f"{path.name} is not UTF-8 and was read as Windows-1252, for example {odd.strip()[:40]!r}. If that is not "
            "what you wrote, save it as 'CSV UTF-8'."
        ]


def _windows(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:  # five bytes that the code page leaves free
        return chr(byte)


def _text_rows(text: str, path: Path) -> list[tuple[int, list[object]]]:
    """Returns (row number, cells); the separator is the one that splits the head most."""
    first = next((line for line in re.split(r"\r\n|\r|\n", text) if line.strip(" ,;\t|")), "")
    stated = re.fullmatch(r"sep=(.)", first.strip(), re.IGNORECASE)
    separator = stated[1] if stated else max(SEPARATORS, key=_unquoted(first).count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[tuple[int, list[object]]] = []
    try:
        for number, cells in enumerate(reader, 1):
            if stated and not rows and len(cells) <= 2 and "".join(cells).lower().startswith("sep="):
                continue
            for cell in cells:
                inner = cell.splitlines()[1:]
                if len(inner) > CELL_LINES or any(
                    line.count(separator) >= max(1, len(cells) - 1, _width(rows) - 1) for line in inner
                ):
                    raise DatasetError(
                        f"{path.name}, row {number}: a quoted text goes over several lines and swallows the rows after "
                        f"it ({cell[:30]!r}). A quotation mark is missing or too many; correct that row."
                    )
            rows.append((number, list(cells)))
    except csv.Error as err:
        start = len(rows) + 1
        raise DatasetError(
            f"{path.name}, row {start} or after: a quotation mark is missing or too many ({err}). Correct that row."
        ) from err
    return rows


def _unquoted(line: str) -> str:
    return re.sub(r'"[^"]*"', "", line)


def _width(rows: Sequence[tuple[int, Sequence[object]]]) -> int:
    return len(rows[0][1]) if rows else 0
