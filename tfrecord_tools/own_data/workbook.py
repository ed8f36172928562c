"""Reads Excel's visible sheets: cells, and what is said by other means: merged, hidden, struck through, computed."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

from dr_edge import extras
from tfrecord_tools.items import DatasetError
from tfrecord_tools.own_data.sheet_rows import SheetRows

XLSX_HEAD = b"PK\x03\x04"
XLS_HEAD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
STRUCK = (
    "is struck through, in whole or in part: is it withdrawn? Delete the row or correct the cell, or take the line "
    "through it away"
)
NOT_COMPUTED = (
    "is a formula whose value is not stored. Open the table in a spreadsheet program and save it, or save it as CSV"
)


def is_workbook(data: bytes, path: Path) -> bool:
    """Says whether a file's content is an Excel workbook, whatever it is called."""
    return data.startswith((XLSX_HEAD, XLS_HEAD)) or (path.suffix.lower() == ".xls" and data[:1] == b"\x09")


def read_workbook(data: bytes, path: Path) -> dict[str, SheetRows]:
    """Reads the visible sheets of an .xlsx or .xls file.

    Args:
      data: all its bytes.
      path: of the file, for messages.

    Returns:
      Name -> rows of each sheet; a merged cell's value stands in each row that it covers.

    Raises:
      DatasetError: the file is damaged, or the package that reads it is not installed.
    """
    if said := extras.sentence(".xlsx" if data.startswith(XLSX_HEAD) else ".xls", f"A workbook such as {path}"):
        raise DatasetError(said)
    try:
        return _xlsx_sheets(data) if data.startswith(XLSX_HEAD) else _xls_sheets(data)
    except Exception as err:  # noqa: BLE001 - both packages raise their own and zipfile's errors for damaged files
        raise DatasetError(f"{path} cannot be read as a spreadsheet: {err}. Save it as CSV (UTF-8).") from err


def _xlsx_sheets(data: bytes) -> dict[str, SheetRows]:
    import openpyxl

    book = openpyxl.load_workbook(io.BytesIO(data), data_only=True, rich_text=True)
    formulas = openpyxl.load_workbook(io.BytesIO(data)) if _has_formulas(data) else None
    return {
        sheet.title: _xlsx_rows(sheet, None if formulas is None else formulas[sheet.title])
        for sheet in book.worksheets
        if sheet.sheet_state == "visible"
    }


def _has_formulas(data: bytes) -> bool:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sheets = [name for name in archive.namelist() if name.startswith("xl/worksheets/")]
        return any(re.search(rb"<f[ />]", archive.read(name)) for name in sheets)


def _xlsx_rows(sheet: Any, formulas: Any | None) -> SheetRows:
    """Returns the rows of a sheet of openpyxl; `formulas`: the same sheet with formulas in place of their values."""
    rows: list[list[object]] = []
    doubtful: dict[tuple[int, int], str] = {}
    for y, cells in enumerate(sheet.iter_rows()):
        rows.append([str(cell.value) if isinstance(cell.value, list) else cell.value for cell in cells])
        for x, cell in enumerate(cells):
            if cell.value is not None and (cell.has_style and cell.font.strike or _struck_within(cell.value)):
                doubtful[y + 1, x] = STRUCK
            elif (
                formulas is not None
                and cell.value is None
                and (formula := formulas.cell(y + 1, x + 1).value) is not None
            ):
                rows[y][x] = getattr(formula, "text", formula)
                doubtful[y + 1, x] = NOT_COMPUTED
    for merged in sheet.merged_cells.ranges:  # a patient's cell merged over the rows of both eyes
        top, left = merged.min_row - 1, merged.min_col - 1
        _spread(rows, doubtful, range(top, merged.max_row), left)
    hidden = [number for number, row in sheet.row_dimensions.items() if row.hidden]
    return SheetRows(list(enumerate(rows, 1)), hidden, doubtful)


def _spread(rows: list[list[object]], doubtful: dict[tuple[int, int], str], covered: range, column: int) -> None:
    """Gives the value of a merged cell, and what is doubtful of it, to each of the rows (from 0) that it covers."""
    why = doubtful.get((covered.start + 1, column))
    for y in covered:
        rows[y][column] = rows[covered.start][column]
        if why is not None:
            doubtful[y + 1, column] = why


def _struck_within(value: object) -> bool:
    """Says whether a part of a text is struck through: "2 3" with a line through the 2."""
    from openpyxl.cell.rich_text import CellRichText, TextBlock

    return isinstance(value, CellRichText) and any(isinstance(part, TextBlock) and part.font.strike for part in value)


def _xls_sheets(data: bytes) -> dict[str, SheetRows]:
    import xlrd

    book = xlrd.open_workbook(file_contents=data, formatting_info=True)
    return {sheet.name: _xls_rows(book, sheet) for sheet in book.sheets() if sheet.visibility == 0}


def _xls_rows(book: Any, sheet: Any) -> SheetRows:
    rows = [[_xls_value(book, cell) for cell in sheet.row(y)] for y in range(sheet.nrows)]
    struck = {index for index, style in enumerate(book.xf_list) if book.font_list[style.font_index].struck_out}
    parts = sheet.rich_text_runlist_map
    doubtful = {
        (y + 1, x): STRUCK
        for y, cells in enumerate(rows)
        for x, value in enumerate(cells)
        if value != ""
        and (
            sheet.cell_xf_index(y, x) in struck
            or any(book.font_list[font].struck_out for _, font in parts.get((y, x), ()))
        )
    }
    for top, bottom, left, _ in sheet.merged_cells:
        _spread(rows, doubtful, range(top, min(bottom, len(rows))), left)
    hidden = [y + 1 for y, row in sheet.rowinfo_map.items() if row.hidden]
    return SheetRows(list(enumerate(rows, 1)), hidden, doubtful)


def _xls_value(book: Any, cell: Any) -> object:
    """Returns a cell of xlrd as openpyxl would: errors as "#N/A" and days as dates, which are bare numbers there."""
    import xlrd

    if cell.ctype == xlrd.XL_CELL_ERROR:
        return xlrd.error_text_from_code.get(cell.value, "#N/A")
    if cell.ctype == xlrd.XL_CELL_DATE:
        return xlrd.xldate_as_datetime(cell.value, book.datemode)
    return cell.value
