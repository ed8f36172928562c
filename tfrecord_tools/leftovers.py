"""What lies in a data directory and is not taken: nothing is dropped in silence.

Of own folders and tables every visible file that is no photograph, mask or table of the build is named with its reason.
A published data set is downloaded with much that belongs to no photograph (texts, other tasks); there the rest is
counted.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from dr_edge.fundus.format_names import HEAD_BYTES, file_name, looks_like_picture
from tfrecord_tools.items import Listing, item_paths, readable
from tfrecord_tools.layout import is_passed_over

OWN = ("folder", "csv")
NAMED = 3


def leftovers(listing: Listing, dataset: str, root: Path, out: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Finds the visible files below `root` that a build does not take.

    Args:
      listing: what the adapter found.
      dataset: its name.
      root: the data directory.
      out: directory of the records, which may lie in it.

    Returns:
      (file, reason) of each file of an own folder or table that is neither taken nor rejected already; and notes.
    """
    known = _Names(itertools.chain(
        (path for item in listing.items for path in item_paths(item)), (file for file, _ in listing.rejected)
    ))  # fmt: skip
    hidden, others = _Counted(), _Counted()
    rest = (path for path in _visible(root, out, hidden) if _name(path, root) not in known)
    if dataset not in OWN:
        for path in rest:
            others.add(_name(path, root))
    rejected = [] if dataset not in OWN else _rejected(rest, listing, dataset, root)
    notes = []
    if hidden.count:
        notes.append(
            f"{hidden.words('hidden or system file or folder', 'hidden or system files and folders')} passed over."
        )
    if others.count:
        notes.append(f"{others.words('other file', 'other files')} of the download not read: no row names them.")
    return rejected, notes


def _rejected(rest: Iterable[str], listing: Listing, dataset: str, root: Path) -> list[tuple[str, str]]:
    """Returns (file, reason) of what is neither taken nor one of the user's tables."""
    own = {os.path.realpath(table) for table in listing.label_files}
    names = readable(", ".join(table.name for table in listing.label_files))
    return [
        (Path(_name(path, root)).as_posix(), _reason(path, dataset, names))
        for path in rest
        if os.path.realpath(path) not in own
    ]


class _Names:
    """Which names are known: a million take eight megabytes, and one in 10^13 others is taken for one of them."""

    def __init__(self, names: Iterable[str]) -> None:
        self._digests = np.sort(np.fromiter((_digest(os.path.normpath(readable(name))) for name in names), np.uint64))

    def __contains__(self, name: str) -> bool:
        digest = np.uint64(_digest(name))
        place = int(np.searchsorted(self._digests, digest))
        return place < len(self._digests) and bool(self._digests[place] == digest)


def _digest(name: str) -> int:
    data = name.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


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
    for directory, folders, files in os.walk(root):
        for name in sorted([*folders, *files]):
            if is_passed_over(name):
                hidden.add(_name(os.path.join(directory, name), root))
        folders[:] = sorted(
            name
            for name in folders
            if not is_passed_over(name) and os.path.realpath(os.path.join(directory, name)) != os.path.realpath(out)
        )
        yield from (os.path.join(directory, name) for name in folders if os.path.islink(os.path.join(directory, name)))
        yield from (os.path.join(directory, name) for name in sorted(files) if not is_passed_over(name))


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
