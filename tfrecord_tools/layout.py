"""Reading downloaded directories: files under their published names, tables, names matched to photographs."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path

from dr_edge import extras
from dr_edge.fundus.format_names import is_picture
from tfrecord_tools.cells import Cells, kept
from tfrecord_tools.items import DatasetError, LayoutError

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".heic", ".heif", ".gif", ".jp2",
    ".avif", ".ppm", ".dcm", ".dicom",
)  # fmt: skip
SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini")

NOT_PHOTOGRAPHS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found", "System Volume Information")


def checked_directory(data_dir: Path | None, name: str) -> Path:
    """Returns `data_dir` if it is a directory that holds something.

    Raises:
      DatasetError: no --data_dir, no such directory, or an empty one.
    """
    if data_dir is None:
        raise DatasetError(f"--dataset={name} needs --data_dir=DIR, the directory as downloaded and unpacked.")
    if not data_dir.is_dir():
        raise DatasetError(f"--data_dir={data_dir} is no directory. Unpack {name} there, or correct the path.")
    if not any(data_dir.iterdir()):
        raise DatasetError(f"--data_dir={data_dir} is empty. Unpack {name} there, or correct the path.")
    return data_dir


def find_one(root: Path, patterns: Sequence[str], what: str) -> Path:
    """Returns the first file or directory below `root` that matches one of the glob `patterns`, in their order.

    Raises:
      DatasetError: nothing matches; names what was looked for.
    """
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            return path
    raise LayoutError(f"{root} holds no {what}. Looked for: {', '.join(patterns)}. Check --data_dir.")


def relative(path: Path, root: Path) -> str:
    """Returns `path` relative to `root` with forward slashes."""
    return Path(os.path.relpath(path, root)).as_posix()


def list_images(directory: Path, *, recursive: bool = False) -> Iterator[Path]:
    """Yields the image files of `directory` in the order of their names.

    They are known by their suffix, or by their content (a DICOM export has no suffixes); formats that are refused by
    name are among them. Hidden ones (.DS_Store, ._x) and what archivers and file servers add (__MACOSX) are skipped.
    """
    names = (
        _names_below(directory) if recursive else (name for name in os.listdir(directory) if not is_passed_over(name))
    )
    for name in sorted(names, key=lambda name: name.replace(os.sep, "\0")):  # as paths are sorted: folder by folder
        path = directory / name
        if not path.is_dir() and (path.suffix.lower() in IMAGE_SUFFIXES or is_picture(path)):
            yield path


def _names_below(directory: Path) -> Iterator[str]:
    """Yields the files below a directory, relative to it, as text: a path object takes five times as much memory."""
    start = len(os.path.join(directory, ""))
    for place, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if not is_passed_over(name)]
        yield from (os.path.join(place, name)[start:] for name in files if not is_passed_over(name))


def is_passed_over(name: str) -> bool:
    """Tells whether a file or a folder is hidden, or made by an operating system, an archiver or a file server."""
    return name.startswith(".") or name in NOT_PHOTOGRAPHS or name.lower() in SYSTEM_FILES


class ImageIndex(MutableMapping[str, Path]):
    """Name -> image file; kept as text, of which a path object takes five times the memory."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}

    def __getitem__(self, name: str) -> Path:
        return Path(self._files[name])

    def __setitem__(self, name: str, path: Path) -> None:
        self._files[name] = str(path)

    def __delitem__(self, name: str) -> None:
        del self._files[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def index_images(directories: Iterable[Path], *, recursive: bool = False) -> ImageIndex:
    """Returns lower-case name without extension -> image file, over all `directories`.

    Raises:
      DatasetError: two files of one name (in different directories or with different extensions).
    """
    index = ImageIndex()
    for directory in directories:
        for path in list_images(directory, recursive=recursive):
            key = path.stem.lower()
            if key in index:
                raise DatasetError(f"Two photographs of one name: {index[key]} and {path}. Remove one.")
            index[key] = path
    return index


def read_table(path: Path, *, delimiter: str | None = None) -> list[Cells]:
    """Reads a CSV file as rows of stripped column name -> stripped value; unnamed columns and empty rows are left out.

    Byte-order mark, CRLF line ends, blanks around names and semicolons instead of commas are all met in published
    files.

    Raises:
      DatasetError: no rows, not text, or a column name twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = path.read_text(encoding="latin-1")
    except OSError as err:
        raise DatasetError(f"{path} cannot be read: {err.strerror}. Check --data_dir.") from err
    if "\0" in text:
        raise DatasetError(f"{path} is no CSV text (it holds zero bytes). Check the download.")
    lines = [line for line in text.splitlines() if line.strip(" ,;\t")]
    if delimiter is None:
        delimiter = max(",;\t", key=lines[0].count) if lines else ","
    return named_rows(csv.reader(lines, delimiter=delimiter), path)


def named_rows(rows: Iterable[Sequence[object]], path: Path, header: str | None = None) -> list[Cells]:
    """Returns table rows as mappings under the names of the first row, or of the row with the cell `header`."""
    filled = (cells for row in rows if any(cells := [_text(value) for value in row]))
    head = next((cells for cells in filled if header is None or header in cells), [])
    body = [kept(cells) for cells in filled]
    if not body:
        raise DatasetError(f"{path} holds no rows{f' under {header!r}' if header else ''}. Check the download.")
    names = [name for name in head if name]
    if len(set(names)) != len(names):
        raise DatasetError(f"{path} has a column name twice: {names}. Correct its first line.")
    places = {name: index for index, name in enumerate(head) if name}
    return [Cells(places, cells) for cells in body]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():  # spreadsheets hold every number as a float
        return str(int(value))
    return str(value).strip()


def read_spreadsheet(path: Path, header: str | None = None) -> list[Cells]:
    """Reads the first sheet of an .xls or .xlsx file like `read_table`; `header` is a column name of its head row.

    Raises:
      DatasetError: the reading package is not installed, or the file is damaged.
    """
    kind = ".xls" if path.suffix.lower() == ".xls" else ".xlsx"
    if said := extras.sentence(kind, str(path)):
        raise DatasetError(said)
    try:
        if kind == ".xls":
            import xlrd

            sheet = xlrd.open_workbook(path).sheet_by_index(0)
            rows: Iterable[Sequence[object]] = [sheet.row_values(index) for index in range(sheet.nrows)]
        else:
            import openpyxl

            rows = list(openpyxl.load_workbook(path, read_only=True, data_only=True).worksheets[0].values)
    except Exception as err:  # noqa: BLE001 - both packages raise their own and zipfile's errors for damaged files
        raise DatasetError(f"{path} cannot be read as a spreadsheet: {err}. Check the download.") from err
    return named_rows(rows, path, header)


def column(row: Mapping[str, str], names: Sequence[str], path: Path) -> str:
    """Returns the value under the first of `names` (compared without case) that the row has.

    Raises:
      DatasetError: none of them is there.
    """
    lowered = {name.lower(): value for name, value in row.items()}
    for name in names:
        if name.lower() in lowered:
            return lowered[name.lower()]
    raise LayoutError(f"{path} has no column {' or '.join(names)}; it has {', '.join(row)}. Is it the right file?")


def class_index(value: str, classes: int | Sequence[str], where: str, *, missing: int = -1) -> int:
    """Returns the class index that a table cell states; an empty cell is `missing`.

    Args:
      value: "2", "2.0" or "" for numbered classes; one of the names for named ones.
      classes: the number of classes, or their names.
      where: file, row and column for the message.

    Raises:
      DatasetError: a value that is none of the classes.
    """
    if value == "":
        return missing
    known = [str(index) for index in range(classes)] if isinstance(classes, int) else list(classes)
    text = value[:-2] if isinstance(classes, int) and value.endswith(".0") else value
    if text not in known:
        raise DatasetError(f"{where}: unknown label {value!r}. Known: {', '.join(known)}. Correct the file.")
    return known.index(text)


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
) -> tuple[list[Row], list[tuple[str, str]]]:
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
    matched: list[Row] = []
    rejected: list[tuple[str, str]] = []
    taken: set[str] = set()
    folder = relative(next(iter(images.values())).parent, root) if images else "."
    for number, row in enumerate(cells, 2):
        name = column(row, names, table)
        key = Path(name).stem.lower() if Path(name).suffix.lower() in IMAGE_SUFFIXES else name.lower()
        where = f"{table.name}, row {number} ({name})"
        if key in taken:
            raise DatasetError(f"{where}: this photograph has a row already. Remove one of the two.")
        if key in images:
            matched.append(Row(name, str(images.pop(key)), table.name, number, row))
        else:
            rejected.append(((Path(folder) / name).as_posix(), f"{where}: the photograph is missing"))
        taken.add(key)
    if leftovers:
        rejected += [(relative(path, root), f"no row in {table.name}") for path in images.values()]
    return matched, rejected
