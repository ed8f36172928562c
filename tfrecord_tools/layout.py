"""Reading downloaded directories: files under their published names, tables, names matched to photographs."""

from __future__ import annotations

import codecs
import csv
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from dr_edge import extras
from dr_edge.fundus.format_names import is_picture
from tfrecord_tools.cells import Cells
from tfrecord_tools.items import DatasetError, LayoutError
from tfrecord_tools.on_disk import DiskList, Seen, in_order

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
        _names_below(directory, "")
        if recursive
        else (name for name in os.listdir(directory) if not is_passed_over(name))
    )
    for name in in_order(names, key=lambda name: name.replace(os.sep, "\0")):  # as paths are sorted: folder by folder
        path = directory / name
        if not path.is_dir() and (path.suffix.lower() in IMAGE_SUFFIXES or is_picture(path)):
            yield path


def _names_below(directory: str | Path, before: str) -> Iterator[str]:
    """Yields the files below a directory, `before` and their relative path; links to directories are not followed."""
    try:
        entries = os.scandir(directory)
    except OSError:
        return
    with entries:
        for entry in entries:
            if is_passed_over(entry.name):
                continue
            try:
                is_folder = entry.is_dir()
            except OSError:
                is_folder = False
            if not is_folder:
                yield before + entry.name
            elif not entry.is_symlink():
                yield from _names_below(entry.path, f"{before}{entry.name}{os.sep}")


def is_passed_over(name: str) -> bool:
    """Tells whether a file or a folder is hidden, or made by an operating system, an archiver or a file server."""
    return name.startswith(".") or name in NOT_PHOTOGRAPHS or name.lower() in SYSTEM_FILES


def read_table(path: Path, *, delimiter: str | None = None) -> Sequence[Cells]:
    """Reads a CSV file as rows of stripped column name -> stripped value; unnamed columns and empty rows are left out.

    Byte-order mark, CRLF line ends, blanks around names and semicolons instead of commas are all met in published
    files.

    Raises:
      DatasetError: no rows, not text, or a column name twice.
    """
    encoding = _encoding(path)
    with open(path, encoding=encoding, newline="") as file:
        filled = (line for line in _lines(file) if line.strip(" ,;\t"))
        first = next(filled, "")
        if delimiter is None:
            delimiter = max(",;\t", key=first.count)
        return named_rows(csv.reader(itertools.chain([first], filled), delimiter=delimiter), path)


def _lines(file: Iterable[str]) -> Iterator[str]:
    return itertools.chain.from_iterable(piece.splitlines() for piece in file)


def _encoding(path: Path) -> str:
    """Returns the encoding of a text file: UTF-8, or else Latin-1; raises DatasetError where it is none."""
    decoder, encoding = codecs.getincrementaldecoder("utf-8-sig")(), "utf-8-sig"
    try:
        with open(path, "rb") as file:
            while True:
                piece = file.read(1 << 16)
                if b"\0" in piece:
                    raise DatasetError(f"{path} is no CSV text (it holds zero bytes). Check the download.")
                try:
                    if encoding != "latin-1":
                        decoder.decode(piece, final=not piece)
                except UnicodeDecodeError:
                    encoding = "latin-1"
                if not piece:
                    return encoding
    except OSError as err:
        raise DatasetError(f"{path} cannot be read: {err.strerror}. Check --data_dir.") from err


def named_rows(rows: Iterable[Sequence[object]], path: Path, header: str | None = None) -> Sequence[Cells]:
    """Returns table rows as mappings under the names of the first row, or of the row with the cell `header`."""
    filled = (cells for row in rows if any(cells := [_text(value) for value in row]))
    head = next((cells for cells in filled if header is None or header in cells), [])
    body = DiskList(filled)
    if not body:
        raise DatasetError(f"{path} holds no rows{f' under {header!r}' if header else ''}. Check the download.")
    names = [name for name in head if name]
    if len(set(names)) != len(names):
        raise DatasetError(f"{path} has a column name twice: {names}. Correct its first line.")
    places = {name: index for index, name in enumerate(head) if name}
    return Seen(body, lambda cells: Cells(places, cells))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():  # spreadsheets hold every number as a float
        return str(int(value))
    return str(value).strip()


def read_spreadsheet(path: Path, header: str | None = None) -> Sequence[Cells]:
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
