"""What the readers of graded photographs share: a table of a row per photograph, grades, and items made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path

from tfrecord_tools.cells import Cells
from tfrecord_tools.items import Item
from tfrecord_tools.layout import class_index, column, read_spreadsheet, read_table, relative
from tfrecord_tools.matching import Row, match_rows
from tfrecord_tools.on_disk import DiskList


@dataclasses.dataclass(frozen=True)
class Identity:
    """Which photograph a row speaks of.

    Attributes:
      image_id: unique in the data set.
      patient: both eyes of a person share it; "" for the photograph's own, where patients are not published.
      laterality: "left", "right" or "" (unknown).
    """

    image_id: str
    patient: str = ""
    laterality: str = ""


def identity_by_file(row: Row) -> Identity:
    """Takes the photograph's file name without extension."""
    return Identity(row.path.stem)


def read_rows(table: Path) -> Sequence[Cells]:
    """Reads a CSV file, or the first sheet of an Excel file; see `layout.read_table`."""
    return read_spreadsheet(table) if table.suffix.lower().startswith(".xls") else read_table(table)


def graded_table(
    table: Path,
    images: MutableMapping[str, Path],
    root: Path,
    *,
    name: str,
    labels: Mapping[str, tuple[str, int]],
    identity: Callable[[Row], Identity] = identity_by_file,
    split: str | None = None,
    excluded: Callable[[Row], str] = lambda row: "",
    leftovers: bool = True,
) -> tuple[DiskList[Item], DiskList[tuple[str, str]]]:
    """Reads a label file and joins its rows with the photographs that they name.

    Args:
      table: CSV file or spreadsheet.
      images: lower-case name -> photograph (see `layout.index_images`); those with a row are taken out.
      root: the data directory.
      name: the column that names the photograph.
      labels: label -> (column, number of classes); an empty cell is a missing label.
      identity: of a row's photograph.
      split: the official split of all of them, or None.
      excluded: why a row's photograph is left out; "" where it is not. Its grades are then not read.
      leftovers: also reject photographs without a row; False while further tables follow.

    Returns:
      The items, and (file, reason) of the rejected ones.

    Raises:
      DatasetError: the table cannot be read, lacks a column, names a photograph twice or states an unknown grade.
    """
    rows, rejected = match_rows(table, read_rows(table), (name,), images, root, leftovers=leftovers)
    items: DiskList[Item] = DiskList()
    for row in rows:
        path, reason = relative(row.path, root), excluded(row)
        if reason:
            rejected.append((path, reason))
            continue
        stated = {label: _grade(row, source, classes, table) for label, (source, classes) in labels.items()}
        who = identity(row)
        items.append(
            Item(
                image_id=who.image_id,
                path=path,
                patient=who.patient or who.image_id,
                labels=stated,
                split=split,
                laterality=who.laterality,
            )
        )
    return items, rejected


def _grade(row: Row, source: str, classes: int, table: Path) -> int:
    return class_index(column(row.cells, (source,), table), classes, row.where)
