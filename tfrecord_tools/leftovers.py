"""What lies in a data directory and is not taken: nothing is dropped in silence.

Of own folders and tables every visible file that is no photograph, mask or table of the build is named with its reason.
A published data set is downloaded with much that belongs to no photograph (texts, other tasks); there the rest is
counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from dr_edge.fundus.format_names import HEAD_BYTES, file_name, looks_like_picture
from tfrecord_tools.items import Listing, readable
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
    known = {os.path.normpath(item.path) for item in listing.items} | {
        os.path.normpath(file) for file, _ in listing.rejected
    }
    known |= {os.path.normpath(path) for item in listing.items for mask in item.masks.values() for path in mask.paths}
    hidden: list[str] = []
    rest = [path for path in _visible(root, out, hidden) if _name(path, root) not in known]
    notes = []
    if hidden:
        notes.append(
            f"{_counted(hidden, 'hidden or system file or folder', 'hidden or system files and folders')} passed over."
        )
    if dataset not in OWN:
        named = [_name(path, root) for path in rest]
        if named:
            notes.append(f"{_counted(named, 'other file', 'other files')} of the download not read: no row names them.")
        return [], notes
    own = {os.path.realpath(table) for table in listing.label_files}
    names = ", ".join(table.name for table in listing.label_files)
    rejected = [
        (Path(_name(path, root)).as_posix(), _reason(path, dataset, names))
        for path in rest
        if os.path.realpath(path) not in own
    ]
    return rejected, notes


def _visible(root: Path, out: Path, hidden: list[str]) -> Iterator[str]:
    """Yields files, and links to directories, below `root`; adds the names of what is hidden to `hidden`."""
    for directory, folders, files in os.walk(root):
        for name in sorted([*folders, *files]):
            if is_passed_over(name):
                hidden.append(_name(os.path.join(directory, name), root))
        folders[:] = sorted(
            name
            for name in folders
            if not is_passed_over(name) and os.path.realpath(os.path.join(directory, name)) != os.path.realpath(out)
        )
        yield from (os.path.join(directory, name) for name in folders if os.path.islink(os.path.join(directory, name)))
        yield from (os.path.join(directory, name) for name in sorted(files) if not is_passed_over(name))


def _name(path: str, root: Path) -> str:
    return readable(os.path.relpath(path, root))


def _counted(names: list[str], one: str, many: str) -> str:
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return f"{len(names)} {one if len(names) == 1 else many} ({shown}) {'was' if len(names) == 1 else 'were'}"


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
