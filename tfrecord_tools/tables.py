"""Reads a user's own table as spreadsheets and their exports are: encodings, separators, quotes, trailing cells left out, sheets."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfrecord_tools.items import DatasetError

SEPARATORS = ",;\t|"
CELL_LINES = 20  # a quoted cell of more lines, or one that looks like rows, has lost its closing quote
TITLE_ROWS = 10


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with a head.

    Attributes:
      path: of the file.
      columns: names in the head, in order; unnamed ones are left out.
      rows: (row number as a spreadsheet shows it, column -> stripped cell); cells left out are "", empty rows are left out.
      notes: what the reader had to suppose.
    """

    path: Path
    columns: Sequence[str]
    rows: Sequence[tuple[int, Mapping[str, str]]]
    notes: Sequence[str] = ()


def table_paths(given: str, root: Path) -> list[Path]:
    """Returns the files that --csv names, one or several with commas between; each as it stands, or else below `root`."""

    def placed(name: str) -> Path:
        path = Path(name).expanduser()
        return path if path.is_absolute() or path.is_file() else root / path

    whole = placed(given)
    return [whole] if whole.is_file() else [placed(part.strip()) for part in given.split(",") if part.strip()]


def find_tables(root: Path) -> list[Path]:
    """Returns the tables in a data directory and the folders in it, not deeper."""
    found = [path for pattern in ("*", "*/*") for path in root.glob(pattern)]
    return sorted(
        path for path in found if path.suffix.lower() in (".csv", ".tsv", ".xlsx", ".xls") and not path.name.startswith((".", "~"))
    )


def read_own_table(path: Path, wanted: Sequence[str] = ()) -> Table:
    """Reads a CSV, TSV, .xlsx or .xls file, told apart by content.

    Args:
      path: of the file.
      wanted: column names that the user gave; they decide which sheet is read, and which row is the head.

    Raises:
      DatasetError: no table, a quote without end, more cells than columns, a column name twice, several sheets that could be meant.
    """
    try:
        data = path.read_bytes()
    except OSError as err:
        raise DatasetError(f"{path} cannot be read: {err.strerror}. Check --csv.") from err
    if data[:4] == b"PK\x03\x04":
        return _from_sheets(path, *_xlsx_sheets(path), wanted)
    if data[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" or (path.suffix.lower() == ".xls" and data[:1] == b"\x09"):
        return _from_sheets(path, _xls_sheets(path), {}, wanted)
    text, notes = _decoded(data, path)
    return _table(path, _text_rows(text, path), wanted, notes)


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
            f"{path.name} is not UTF-8 and was read as Windows-1252, for example {odd.strip()[:40]!r}. If that is not what you wrote, save it as "
            f"'CSV UTF-8'."
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
                if len(inner) > CELL_LINES or any(line.count(separator) >= max(1, len(cells) - 1, _width(rows) - 1) for line in inner):
                    raise DatasetError(
                        f"{path.name}, row {number}: a quoted text goes over several lines and swallows the rows after it ({cell[:30]!r}). A "
                        f"quotation mark is missing or too many; correct that row."
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


def _xlsx_sheets(path: Path) -> tuple[dict[str, list[tuple[int, list[object]]]], dict[str, list[int]]]:
    """Returns sheet -> rows, and sheet -> numbers of the rows that a filter or the user has hidden."""
    import openpyxl

    try:
        book = openpyxl.load_workbook(io.BytesIO(path.read_bytes()), data_only=True)  # whatever it is called
        sheets, hidden = {}, {}
        for sheet in book.worksheets:
            if sheet.sheet_state != "visible":
                continue
            rows = [list(row) for row in sheet.values]
            for merged in sheet.merged_cells.ranges:  # a patient's cell merged over the rows of both eyes
                top, left = merged.min_row - 1, merged.min_col - 1
                for y in range(top, merged.max_row):
                    rows[y][left] = rows[top][left]
            sheets[sheet.title] = list(enumerate(rows, 1))
            hidden[sheet.title] = [number for number, row in sheet.row_dimensions.items() if row.hidden]
        return sheets, hidden
    except Exception as err:  # noqa: BLE001 - the package raises its own and zipfile's errors for damaged files
        raise DatasetError(f"{path} cannot be read as a spreadsheet: {err}. Save it as CSV (UTF-8).") from err


def _xls_sheets(path: Path) -> dict[str, list[tuple[int, list[object]]]]:
    import xlrd

    try:
        book = xlrd.open_workbook(file_contents=path.read_bytes())
        return {
            sheet.name: [(index + 1, sheet.row_values(index)) for index in range(sheet.nrows)]
            for sheet in book.sheets()
            if sheet.visibility == 0
        }
    except Exception as err:  # noqa: BLE001 - as above
        raise DatasetError(f"{path} cannot be read as a spreadsheet: {err}. Save it as CSV (UTF-8).") from err


def _from_sheets(
    path: Path, sheets: Mapping[str, list[tuple[int, list[object]]]], hidden: Mapping[str, Sequence[int]], wanted: Sequence[str]
) -> Table:
    filled = {name: rows for name, rows in sheets.items() if sum(any(map(_text, cells)) for _, cells in rows) > 1}
    if not filled:
        raise DatasetError(f"{path} holds no rows. Check --csv.")
    fitting = {name: rows for name, rows in filled.items() if wanted and _head(rows, wanted) is not None}
    chosen = fitting or filled
    if len(chosen) > 1:
        raise DatasetError(
            f"{path.name} has several sheets with {'these columns' if fitting else 'rows'}: {', '.join(chosen)}. Save the one that is meant as a CSV file."
        )
    name, rows = next(iter(chosen.items()))
    note = [f"{path.name}: sheet {name!r} was read; not {', '.join(other for other in sheets if other != name)}."]
    table = _table(path, rows, wanted, note if len(sheets) > 1 else [])
    unseen = sorted({number for number, _ in table.rows} & set(hidden.get(name, ())))
    return dataclasses.replace(table, notes=[*table.notes, _hidden_words(path, unseen, len(table.rows))]) if unseen else table


def _hidden_words(path: Path, unseen: Sequence[int], rows: int) -> str:
    return (
        f"{path.name}: {len(unseen)} of its {rows} rows are hidden in the spreadsheet (by a filter or by hand; the first is row {unseen[0]}), and were read "
        f"like the others. If they are not meant, delete them, or copy the rows that are seen into a table of their own."
    )


def _head(rows: Sequence[tuple[int, Sequence[object]]], wanted: Sequence[str]) -> int | None:
    """Returns the index of the row among the first ones that names all of `wanted`; None where there is none."""
    names = {plain_column(name) for name in wanted}
    for index, (_, cells) in enumerate(rows[:TITLE_ROWS]):
        if names <= {plain_column(_text(cell)) for cell in cells}:
            return index
    return None


def _first_wide(texts: Sequence[tuple[int, Sequence[str]]]) -> int:
    """Returns the index of the first row that is no title: more than half as many cells are filled as in any of the first rows."""
    widths = [sum(map(bool, cells)) for _, cells in texts[:TITLE_ROWS]]
    return next((index for index, width in enumerate(widths) if width * 2 > max(widths)), 0)


def _table(
    path: Path, rows: Sequence[tuple[int, Sequence[object]]], wanted: Sequence[str], notes: Sequence[str]
) -> Table:
    texts = [(number, [_text(cell) for cell in cells]) for number, cells in rows]
    texts = [(number, cells) for number, cells in texts if any(cells)]
    head = (_head(texts, wanted) if wanted else None) or _first_wide(texts)
    if len(texts) - head < 2:
        raise DatasetError(f"{path} holds no rows. Check --csv.")
    names = texts[head][1]
    columns = [name for name in names if name]
    doubled = sorted({name for name in columns if [plain_column(n) for n in columns].count(plain_column(name)) > 1})
    if doubled:
        raise DatasetError(f"{path} has a column name twice: {', '.join(doubled)}. Correct its first line.")
    found = []
    short = [number for number, cells in texts[head + 1 :] if len(cells) < len(names) and any(names[len(cells) :])]
    for number, cells in texts[head + 1 :]:
        beyond = [cell for cell in cells[len(names) :] if cell]
        if beyond:
            raise DatasetError(
                f"{path.name}, row {number} has {len(cells)} cells, the head {len(names)}: {beyond[0]!r} is too many. A separator within a text "
                f'needs quotes: "a, b".'
            )
        padded = [*cells, *[""] * (len(names) - len(cells))]
        found.append((number, {name: cell for name, cell in zip(names, padded, strict=False) if name}))
    if short:
        notes = [*notes, f"{path.name}: {len(short)} rows end before the last column (the first is row {short[0]}); the cells left out count as empty."]
    return Table(path, columns, found, notes)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():  # spreadsheets hold every number as a float
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return unicodedata.normalize("NFC", str(value)).strip().strip("\ufeff\u200b").strip()


def plain_column(name: str) -> str:
    """Returns what spellings of one column name share: "DR grade", "dr_grade " and "DR-Grade" alike."""
    return re.sub(r"[\s_\-./]+", "", unicodedata.normalize("NFKC", name).casefold())
