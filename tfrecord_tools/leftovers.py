"""What lies in a data directory and is not taken: nothing is dropped in silence.

Of own folders and tables every visible file that is no photograph, mask or table of the build is named with its reason.
A published data set is downloaded with much that belongs to no photograph (texts, other tasks); there the rest is
counted.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dr_edge.fundus.format_names import HEAD_BYTES, file_name, looks_like_picture
from tfrecord_tools.grouping import Texts
from tfrecord_tools.items import Listing, item_paths, readable
from tfrecord_tools.layout import is_passed_over
from tfrecord_tools.on_disk import DiskList, in_order

OWN = ("folder", "csv")
NAMED = 3


def leftovers(listing: Listing, dataset: str, root: Path, out: Path) -> tuple[Sequence[tuple[str, str]], list[str]]:
    """Finds the visible files below `root` that a build does not take.

    Args:
      listing: what the adapter found.
      dataset: its name.
      root: the data directory.
      out: directory of the records, which may lie in it.

    Returns:
      (file, reason) of each file of an own folder or table that is neither taken nor rejected already; and notes.
    """
    named = itertools.chain(
        (path for item in listing.items for path in item_paths(item)), (file for file, _ in listing.rejected)
    )
    known = Texts(os.path.normpath(readable(name)) for name in named)
    hidden, others = _Counted(), _Counted()
    rest = (path for path in _visible(root, out, hidden) if _name(path, root) not in known)
    if dataset not in OWN:
        for path in rest:
            others.add(_name(path, root))
    rejected = DiskList(_rejected(rest, listing, dataset, root) if dataset in OWN else ())
    notes = []
    if hidden.count:
        notes.append(
            f"{hidden.words('hidden or system file or folder', 'hidden or system files and folders')} passed over."
        )
    if others.count:
        notes.append(f"{others.words('other file', 'other files')} of the download not read: no row names them.")
    return rejected, notes


def _rejected(rest: Iterable[str], listing: Listing, dataset: str, root: Path) -> Iterator[tuple[str, str]]:
    """Yields (file, reason) of what is neither taken nor one of the user's tables."""
    own = {os.path.realpath(table) for table in listing.label_files}
    names = readable(", ".join(table.name for table in listing.label_files))
    for path in rest:
        if os.path.realpath(path) not in own:
            yield Path(_name(path, root)).as_posix(), _reason(path, dataset, names)


class _Counted:
    """Names that are counted, and the first of them."""

    def __init__(self) -> None:
        self.count, self.first = 0, list[str]()

    def add(self, name: str) -> None:
        self.count += 1
        self.first += [name] if self.count <= NAMED else []

    def words(self, one: str, many: str) -> str:
        """Returns "4 files (a, b, c, ...) were"."""
        shown = ", ".join(self.first) + (", ..." if self.count > NAMED else "")
        return f"{self.count} {one if self.count == 1 else many} ({shown}) {'was' if self.count == 1 else 'were'}"


def _visible(root: Path, out: Path, hidden: _Counted) -> Iterator[str]:
    """Yields files, and links to directories, below `root`; adds the names of what is hidden to `hidden`."""
    yield from _below(str(root), os.path.realpath(out), root, hidden)


def _below(directory: str, out: str, root: Path, hidden: _Counted) -> Iterator[str]:
    """As `_visible`, of one directory, in the order of its names: links, files, then what lies in its folders."""
    folders: DiskList[str] = DiskList()
    files: DiskList[str] = DiskList()
    for name, is_folder in in_order(_entries(directory)):
        if is_passed_over(name):
            hidden.add(_name(os.path.join(directory, name), root))
        elif not is_folder:
            files.append(name)
        elif os.path.realpath(os.path.join(directory, name)) != out:
            folders.append(name)
    links = (os.path.join(directory, name) for name in folders)
    yield from filter(os.path.islink, links)
    yield from (os.path.join(directory, name) for name in files)
    del files
    for name in folders:
        if not os.path.islink(os.path.join(directory, name)):
            yield from _below(os.path.join(directory, name), out, root, hidden)


def _entries(directory: str) -> Iterator[tuple[str, bool]]:
    """Yields name and whether it is a folder, or a link to one, as `os.walk` tells it."""
    try:
        entries = os.scandir(directory)
    except OSError:
        return
    with entries:
        for entry in entries:
            try:
                yield entry.name, entry.is_dir()
            except OSError:
                yield entry.name, False


def _name(path: str, root: Path) -> str:
    return readable(os.path.relpath(path, root))


def _reason(path: str, dataset: str, table: str) -> str:
    if os.path.isdir(path):
        return "a link to a directory; links are not followed"
    try:
        if not os.path.isfile(path):
            return "not a regular file"
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as err:
        return f"cannot be read: {err.strerror}"
    if not looks_like_picture(head):
        return f"no photograph: {file_name(head)}"
    if dataset == "csv":
        return f"no row in {table} names it"
    return "it lies in no class folder; move it into the folder of its class"
