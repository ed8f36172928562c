"""Reads a user's own table as people make them: one sheet of several, titles above the head, last cells left out."""

from __future__ import annotations

import dataclasses
import datetime
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tfrecord_tools.cells import Cells
from tfrecord_tools.items import DatasetError
from tfrecord_tools.on_disk import Chosen, DiskList, Seen
from tfrecord_tools.own_data.columns import find_column, plain_column
from tfrecord_tools.own_data.sheet_rows import SheetRows
from tfrecord_tools.own_data.text_table import read_text
from tfrecord_tools.own_data.workbook import is_workbook, read_workbook

TITLE_ROWS = 10
HEAD_BYTES = 8  # by which a workbook is known


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with a head.

    Attributes:
      path: of the file.
      columns: names in the head, in order; unnamed ones are left out.
      rows: (row number as a spreadsheet shows it, column -> stripped cell); cells left out are "", empty rows are left
        out.
      notes: what the reader had to suppose.
      doubtful: (row number, column) -> why the cell may not be meant as it stands: "is struck through".
    """

    path: Path
    columns: Sequence[str]
    rows: Sequence[tuple[int, Cells]]
    notes: Sequence[str] = ()
    doubtful: Mapping[tuple[int, str], str] = dataclasses.field(default_factory=dict)

    def values(self, column: str) -> Sequence[str]:
        """Returns the cells of a column."""
        return Seen(self.rows, lambda pair: pair[1][column])

    def under(self, names: Iterable[str]) -> Table:
        """Returns the table with the columns that `find_column` finds under `names`, called as there."""
        columns = {name: found for name in names if (found := find_column(self.columns, name)) is not None}
        places = self.rows[0][1].places_under(columns) if self.rows else {}
        rows = Seen(self.rows, lambda pair: (pair[0], pair[1].moved(places)))
        doubtful = {
            (number, name): why
            for (number, held), why in self.doubtful.items()
            for name, column in columns.items()
            if held == column
        }
        return dataclasses.replace(self, columns=list(columns), rows=rows, doubtful=doubtful)


def table_paths(given: str, root: Path) -> list[Path]:
    """Returns the files that --csv names, one or several with commas between; as it stands, or else below `root`."""

    def placed(name: str) -> Path:
        path = Path(name).expanduser()
        return path if path.is_absolute() or path.is_file() else root / path

    whole = placed(given)
    return [whole] if whole.is_file() else [placed(part.strip()) for part in given.split(",") if part.strip()]


def find_tables(root: Path) -> list[Path]:
    """Returns the tables in a data directory and the folders in it, not deeper."""
    found = [path for pattern in ("*", "*/*") for path in root.glob(pattern)]
    return sorted(
        path
        for path in found
        if path.suffix.lower() in (".csv", ".tsv", ".xlsx", ".xls") and not path.name.startswith((".", "~"))
    )


def read_own_table(path: Path, wanted: Sequence[str] = ()) -> Table:
    """Reads a CSV, TSV, .xlsx or .xls file, told apart by content.

    Args:
      path: of the file.
      wanted: column names that the user gave; they decide which sheet is read, and which row is the head.

    Raises:
      DatasetError: no table, a quote without end, more cells than columns, a column name twice, several sheets that
        could be meant.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as err:
        raise DatasetError(f"{path} cannot be read: {err.strerror}. Check --csv.") from err
    if is_workbook(head, path):
        return _from_sheets(path, read_workbook(path.read_bytes(), path), wanted)
    return _table(path, *read_text(path), wanted)


def _from_sheets(path: Path, sheets: Mapping[str, SheetRows], wanted: Sequence[str]) -> Table:
    filled = {
        name: sheet for name, sheet in sheets.items() if sum(any(map(_text, cells)) for _, cells in sheet.rows) > 1
    }
    if not filled:
        raise DatasetError(f"{path} holds no rows. Check --csv.")
    fitting = {name: sheet for name, sheet in filled.items() if wanted and _head(sheet.rows, wanted) is not None}
    chosen = fitting or filled
    if len(chosen) > 1:
        raise DatasetError(
            f"{path.name} has several sheets with {'these columns' if fitting else 'rows'}: {', '.join(chosen)}. Save "
            "the one that is meant as a CSV file."
        )
    name, sheet = next(iter(chosen.items()))
    others = [other for other in sheets if other != name]
    return _table(
        path, sheet, [f"{path.name}: sheet {name!r} was read; not {', '.join(others)}."] if others else [], wanted
    )


def _head(rows: Sequence[tuple[int, Sequence[object]]], wanted: Sequence[str]) -> int | None:
    """Returns the index of the row among the first ones that names all of `wanted`; None where there is none."""
    names = {plain_column(name) for name in wanted}
    for index, (_, cells) in enumerate(rows[:TITLE_ROWS]):
        if names <= {plain_column(_text(cell)) for cell in cells}:
            return index
    return None


def _first_wide(texts: Sequence[tuple[int, Sequence[str]]]) -> int:
    """Returns the index of the first row that is no title: it fills over half as many cells as any of the first."""
    widths = [sum(map(bool, cells)) for _, cells in texts[:TITLE_ROWS]]
    return next((index for index, width in enumerate(widths) if width * 2 > max(widths)), 0)


def _table(path: Path, sheet: SheetRows, notes: Sequence[str], wanted: Sequence[str]) -> Table:
    normal = ((number, [_text(cell) for cell in cells]) for number, cells in sheet.rows)
    texts = DiskList((number, cells) for number, cells in normal if any(cells))
    head = _head(texts, wanted) if wanted else None
    head = _first_wide(texts) if head is None else head
    if len(texts) - head < 2:
        raise DatasetError(f"{path} holds no rows. Check --csv.")
    names, below = texts[head][1], Chosen(texts, range(head + 1, len(texts)))
    columns = [name for name in names if name]
    doubled = sorted({name for name in columns if [plain_column(n) for n in columns].count(plain_column(name)) > 1})
    if doubled:
        raise DatasetError(f"{path} has a column name twice: {', '.join(doubled)}. Correct its first line.")
    places = {name: index for index, name in enumerate(names) if name}
    for number, cells in below:
        _check_width(path, names, number, cells)
    rows = Seen(below, lambda pair: (pair[0], Cells(places, pair[1])))
    numbers = {number for number, _ in below} if sheet.doubtful else set()
    doubtful = {
        (number, names[index]): why
        for (number, index), why in sheet.doubtful.items()
        if number in numbers and index < len(names)
    }
    return Table(path, columns, rows, [*notes, *_row_notes(path, sheet, names, below)], doubtful)


def _check_width(path: Path, names: Sequence[str], number: int, cells: Sequence[str]) -> None:
    """Raises DatasetError where a row has more cells than the head `names`; cells left out at its end are ""."""
    beyond = [cell for cell in cells[len(names) :] if cell]
    if beyond:
        raise DatasetError(
            f"{path.name}, row {number} has {len(cells)} cells, the head {len(names)}: {beyond[0]!r} is too many. A "
            'separator within a text needs quotes: "a, b".'
        )


def _row_notes(
    path: Path, sheet: SheetRows, names: Sequence[str], rows: Sequence[tuple[int, Sequence[str]]]
) -> list[str]:
    """Returns what is to be said of rows that end early, and of hidden ones."""
    notes = []
    short, first = 0, 0
    for number, cells in rows:
        if len(cells) < len(names) and any(names[len(cells) :]):
            short, first = short + 1, first or number
    if short:
        notes.append(
            f"{path.name}: {short} rows end before the last column (the first is row {first}); the cells left "
            "out count as empty."
        )
    hidden = set(sheet.hidden)
    unseen = sorted(number for number, _ in rows if number in hidden) if hidden else []
    if unseen:
        notes.append(
            f"{path.name}: {len(unseen)} of its {len(rows)} rows are hidden in the spreadsheet (by a filter or by hand;"
            f" the first is row {unseen[0]}), and were read like the others. If they are not meant, delete them, or "
            "copy the rows that are seen into a table of their own."
        )
    return notes


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():  # spreadsheets hold every number as a float
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return unicodedata.normalize("NFC", str(value)).strip().strip("\ufeff\u200b").strip()
