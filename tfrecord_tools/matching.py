"""Photographs by their names, and the rows of label files that name them; a million of them on the disk."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path

import numpy as np

from tfrecord_tools.grouping import Lookup, equal_groups
from tfrecord_tools.items import DatasetError
from tfrecord_tools.layout import IMAGE_SUFFIXES, column, list_images, relative
from tfrecord_tools.on_disk import DiskList, Seen

FIRST_ROW = 2  # of the rows below the head, as a spreadsheet shows it


class ImageIndex(MutableMapping[str, Path]):
    """Lower-case name without extension -> image file, in their order; on the disk but for some bytes each."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Takes the image files.

        Raises:
          DatasetError: two of one name.
        """
        self._paths = DiskList(map(str, paths))
        self._there = np.ones(len(self._paths), bool)
        doubled = min(equal_groups(range(len(self._paths)), self._key), key=lambda places: places[1], default=None)
        if doubled:
            one, other = (self._paths[place] for place in doubled[:2])
            raise DatasetError(f"Two photographs of one name: {one} and {other}. Remove one.")
        self._lookup = Lookup(map(_key, self._paths))

    def _key(self, place: int) -> str:
        return _key(self._paths[place])

    def _place(self, name: str) -> int:
        for place in self._lookup.places(name):
            if self._there[place] and self._key(place) == name:
                return place
        raise KeyError(name)

    def __getitem__(self, name: str) -> Path:
        return Path(self._paths[self._place(name)])

    def __setitem__(self, name: str, path: Path) -> None:
        raise TypeError("Image files are listed once.")

    def __delitem__(self, name: str) -> None:
        self._there[self._place(name)] = False

    def __iter__(self) -> Iterator[str]:
        return map(_key, self._left())

    def __len__(self) -> int:
        return int(self._there.sum())

    def values(self) -> Iterator[Path]:  # type: ignore[override]
        """Yields the files in their order."""
        return map(Path, self._left())

    def _left(self) -> Iterator[str]:
        return itertools.compress(self._paths, self._there)


def _key(path: str) -> str:
    return Path(path).stem.lower()


def index_images(directories: Iterable[Path], *, recursive: bool = False) -> ImageIndex:
    """Returns lower-case name without extension -> image file, over all `directories`.

    Raises:
      DatasetError: two files of one name (in different directories or with different extensions).
    """
    return ImageIndex(path for directory in directories for path in list_images(directory, recursive=recursive))


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One row of a label file, with the photograph that it names.

    Attributes:
      name: as the table writes it.
      file: path of the photograph.
      table, number: name of the label file, and the row as a spreadsheet shows it.
      cells: stripped column name -> stripped value.
    """

    name: str
    file: str
    table: str
    number: int
    cells: Mapping[str, str]

    @property
    def path(self) -> Path:
        """The photograph."""
        return Path(self.file)

    @property
    def where(self) -> str:
        """How messages name it: "train.csv, row 7 (0a1b)"."""
        return f"{self.table}, row {self.number} ({self.name})"


def match_rows(
    table: Path,
    cells: Sequence[Mapping[str, str]],
    names: Sequence[str],
    images: MutableMapping[str, Path],
    root: Path,
    *,
    leftovers: bool = True,
) -> tuple[Sequence[Row], DiskList[tuple[str, str]]]:
    """Matches the rows of a label file with photographs by name, without extension and without case.

    Args:
      table: the label file, for messages.
      cells: its rows.
      names: possible names of the column that names the photograph.
      images: lower-case name -> photograph (see `index_images`); matched ones are taken out.
      root: the data directory.
      leftovers: also report photographs without a row; False while further tables follow.

    Returns:
      The matched rows, and (file, reason) for rows without a photograph and photographs without a row.

    Raises:
      DatasetError: no such column, or a photograph named twice.
    """
    keys = Seen(cells, lambda row: _named(column(row, names, table)))
    doubled = min(equal_groups(range(len(cells)), keys.__getitem__), key=lambda places: places[1], default=None)
    if doubled:
        where = _place(table, doubled[1], column(cells[doubled[1]], names, table))
        raise DatasetError(f"{where}: this photograph has a row already. Remove one of the two.")
    folder = relative(next(iter(images.values())).parent, root) if images else "."
    matched: DiskList[tuple[int, str]] = DiskList()  # place of the row, and file
    rejected: DiskList[tuple[str, str]] = DiskList()
    for place, (row, key) in enumerate(zip(cells, keys, strict=True)):
        path = images.pop(key, None)
        if path is not None:
            matched.append((place, str(path)))
        else:
            name = column(row, names, table)
            rejected.append(
                ((Path(folder) / name).as_posix(), f"{_place(table, place, name)}: the photograph is missing")
            )
    if leftovers:
        rejected.extend((relative(path, root), f"no row in {table.name}") for path in images.values())

    def matched_row(pair: tuple[int, str]) -> Row:
        row = cells[pair[0]]
        return Row(column(row, names, table), pair[1], table.name, pair[0] + FIRST_ROW, row)

    return Seen(matched, matched_row), rejected


def _named(name: str) -> str:
    """Returns the key of the photograph that a cell names."""
    return Path(name).stem.lower() if Path(name).suffix.lower() in IMAGE_SUFFIXES else name.lower()


def _place(table: Path, place: int, name: str) -> str:
    return f"{table.name}, row {place + FIRST_ROW} ({name})"
