"""The rows of a user's own tables with the photographs that they name, each photograph once."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import overload

from tfrecord_tools.cells import Cells
from tfrecord_tools.grouping import equal_groups
from tfrecord_tools.items import DatasetError
from tfrecord_tools.on_disk import DiskList
from tfrecord_tools.own_data.named_files import NamedFiles
from tfrecord_tools.own_data.split_names import split_within
from tfrecord_tools.own_data.table import Table


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A row of a table with the file that it names.

    Attributes:
      table: that it stands in.
      number: of the row, as a spreadsheet shows it.
      name: of the photograph, as the table writes it; its path where the tables call two photographs alike.
      cells: column -> cell.
      file: path of the photograph relative to the data directory.
      split: of the row's table; None where its name says none.
    """

    table: Table
    number: int
    name: str
    cells: Mapping[str, str]
    file: str
    split: str | None

    @property
    def where(self) -> str:
        """How messages name it: "labels.csv, row 7"."""
        return place(self.table, self.number)


def place(table: Table, number: int) -> str:
    """Returns how messages name a row."""
    return f"{table.path.name}, row {number}"


def check_doubtful(tables: Sequence[Table]) -> None:
    """Raises DatasetError where a cell may not be meant as it stands."""
    found = [
        (table, number, column, why) for table in tables for (number, column), why in sorted(table.doubtful.items())
    ]
    if found:
        table, number, column, why = found[0]
        value = next(row[column] for row_number, row in table.rows if row_number == number)
        rows = len({(one.path, row) for one, row, _, _ in found})
        more = f" {rows} rows have such a cell." if rows > 1 else ""
        raise DatasetError(f"{place(table, number)}, column {column}: {value!r} {why}.{more}")


class _Rows(Sequence[Row]):
    """Rows on the disk: of each its table, number, name, cells, file and split."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = tables
        self._places = [table.rows[0][1].places if table.rows else {} for table in tables]
        self._kept: DiskList[tuple[int, int, str, Sequence[str], str, str | None]] = DiskList()
        self._by_file = bytearray()  # 1 of a row whose name several photographs have

    def add(self, table: int, number: int, name: str, cells: Cells, file: str, split: str | None) -> None:
        self._kept.append((table, number, name, cells.values_only, file, split))
        self._by_file.append(0)

    def call_by_file(self, places: Iterable[int]) -> None:
        """Lets rows be called by their files."""
        for place in places:
            self._by_file[place] = 1

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return self._row(place, self._kept[place])

    def __iter__(self) -> Iterator[Row]:
        return itertools.starmap(self._row, enumerate(self._kept))

    def _row(self, place: int, kept: tuple[int, int, str, Sequence[str], str, str | None]) -> Row:
        table, number, name, cells, file, split = kept
        called = file if self._by_file[place] else name
        return Row(self._tables[table], number, called, Cells(self._places[table], cells), file, split)


def find_rows(
    tables: Sequence[Table], image: str, labels: Sequence[str], files: NamedFiles, *, by_table: bool
) -> tuple[Sequence[Row], Sequence[tuple[str, str]], list[str]]:
    """Finds the photograph of each row.

    Args:
      tables: with the columns `image` and `labels`.
      image: column of the photograph's name.
      labels: columns in which two rows of one photograph may contradict each other.
      files: in which photographs are looked for.
      by_table: several tables are the splits that they are named after.

    Returns:
      The rows whose photograph is there; (name, reason) of the others; and notes.

    Raises:
      DatasetError: an empty name, one photograph in two rows, names that mean several files, or not one photograph
        there.
    """
    splits = [split_within(table.path.stem) for table in tables]
    by_table = by_table and len(tables) > 1 and None not in splits
    found = _Rows(tables)
    rejected: DiskList[tuple[str, str]] = DiskList()
    for index, (table, split) in enumerate(zip(tables, splits, strict=True)):
        for number, cells in table.rows:
            name, official = cells[image], split if by_table else None
            if not name:
                raise DatasetError(f"{place(table, number)}: the photograph's name is empty. Remove the row.")
            file = files.find(name, official)
            if file is None:
                rejected.append((name, f"{place(table, number)}: {files.missing_reason(name)}"))
            else:
                found.add(index, number, name, cells, file, official)
    files.check_ambiguous(f"the column {image}")
    rows = range(len(found))
    doubled = sorted(equal_groups(rows, lambda row: found[row].file))
    _check_once([[found[row] for row in group] for group in doubled], labels)
    if not found:
        there = f"{len(files.files)} pictures, such as {files.files[0]}" if files.files else "no picture"
        raise DatasetError(
            f"No photograph is there of {len(rejected)} that {tables[0].path.name} names under {image}. The first, "
            f"{rejected[0][0]!r}, was looked for as {files.root / rejected[0][0]} and by that name below {files.root}, "
            f"which holds {there}. Correct --data_dir or --image_column."
        )
    notes = files.note(image)
    if by_table:
        notes.append(
            "The split of each photograph is that of its table: "
            + ", ".join(f"{t.path.name} = {s}" for t, s in zip(tables, splits, strict=True))
        )
    for alike in list(equal_groups(rows, lambda row: found[row].name)):  # two splits may number theirs alike
        found.call_by_file(alike)
    return found, rejected, notes


def _check_once(doubled: Sequence[Sequence[Row]], labels: Sequence[str]) -> None:
    """Raises DatasetError where photographs stand in several rows (`doubled`); says whether they contradict."""
    if not doubled:
        return
    apart = [(rows, column) for rows in doubled for column in labels if len({row.cells[column] for row in rows}) > 1]
    rows, column = apart[0] if apart else (doubled[0], "")
    one = rows[0]
    other = next((row for row in rows if row.cells[column] != one.cells[column]), rows[1]) if column else rows[1]
    count = f" {len(doubled)} photographs stand in several rows." if len(doubled) > 1 else ""
    if not apart:
        raise DatasetError(
            f"{other.where} names {one.file}, which {one.where} names already, with the same labels. Remove one of the "
            f"rows.{count}"
        )
    raise DatasetError(
        f"{other.where} names {one.file}, which {one.where} names already, and they contradict each other: {column} is "
        f"{one.cells[column]!r} there and {other.cells[column]!r} here.{count} Of two graders, decide which label "
        "holds and leave one row of each photograph; of several findings, write one row with a column of 0 and 1 for "
        "each."
    )
