"""Finds the files that a table names: without folder or extension, in another case, under another machine's path.

A name is taken only where one file can be meant; the rest is counted and told with the place that was looked at.
"""

from __future__ import annotations

import functools
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from dr_edge.next_steps import quoted
from tfrecord_tools.grouping import Lookup, Texts, digest_of
from tfrecord_tools.items import DatasetError
from tfrecord_tools.layout import IMAGE_SUFFIXES, list_images, relative
from tfrecord_tools.on_disk import Chosen, DiskList
from tfrecord_tools.own_data.split_names import split_within


class NamedFiles:
    """The photographs (or masks) below a directory, by name.

    Args:
      root: the data directory.
      avoid: relative paths that are not meant: masks, where photographs are looked for.
    """

    def __init__(self, root: Path, avoid: Iterable[str] = ()) -> None:
        self.root = root
        self._avoid = Texts(avoid)
        self._listed: Callable[[], Sequence[str]] = functools.cache(
            lambda: DiskList(relative(path, root) for path in list_images(root, recursive=True))
        )
        self._completed, self._first = array("Q"), ("", "")  # digests of name and split; a name and its file
        self._by_split = False
        self._ambiguous, self._first_files = array("Q"), ("", list[str]())

    def without(self, avoid: Iterable[str]) -> NamedFiles:
        """Returns the same files but for those of `avoid`, nothing looked for yet; both share one listing."""
        other = NamedFiles(self.root, avoid)
        other._listed = self._listed
        return other

    @cached_property
    def files(self) -> Sequence[str]:
        """Relative paths of all pictures below the directory that are not to be avoided."""
        listed = self._listed()
        if not len(self._avoid):
            return listed
        return Chosen(listed, np.flatnonzero(np.fromiter((name not in self._avoid for name in listed), bool)))

    @cached_property
    def _by_stem(self) -> Lookup:
        return Lookup(map(_stem, self.files))

    @cached_property
    def _by_number(self) -> Lookup:
        return Lookup(str(_number(_stem(name))) for name in self.files)

    def _found(self, lookup: Lookup, text: str, same: Callable[[str], bool]) -> list[str]:
        return [name for place in lookup.places(text) if same(_stem(name := self.files[place]))]

    def _complete(self, name: str, split: str | None, file: str) -> str:
        """Notes that a name stands for a file, and returns that."""
        self._first = self._first if self._completed else (name, file)
        self._completed.append(digest_of(f"{name}\0{split}"))
        return file

    def find(self, name: str, split: str | None = None) -> str | None:
        """Returns the file's path relative to the directory, with forward slashes; None where none or several fit.

        Args:
          name: as the table writes it.
          split: of the table; of several files the one in a folder of that split is meant.
        """
        clean = name.replace("\\", "/").strip()
        if clean.startswith("/"):
            try:
                clean = Path(clean).relative_to(self.root).as_posix()
            except ValueError:
                clean = clean.lstrip("/")
        elif (self.root / clean).is_file():
            return PurePosixPath(clean).as_posix()
        if clean != name and (self.root / clean).is_file():
            return self._complete(name, split, clean)
        candidates = self._candidates(clean)
        if split is not None and len(candidates) > 1:
            fitting = [file for file in candidates if any(split_within(part) == split for part in file.split("/")[:-1])]
            self._by_split |= len(fitting) == 1
            candidates = fitting or candidates
        if len(candidates) == 1:
            return self._complete(name, split, candidates[0])
        if candidates:
            self._first_files = self._first_files if self._ambiguous else (name, candidates)
            self._ambiguous.append(digest_of(name))
        return None

    def _candidates(self, name: str) -> list[str]:
        stem = _stem(name)
        found = self._found(self._by_stem, stem, stem.__eq__)
        number = _number(stem)
        if not found and number is not None:  # a spreadsheet has made 7 of 007
            found = self._found(self._by_number, str(number), lambda other: _number(other) == number)
        same = [file for file in found if _key(str(PurePosixPath(file).with_suffix(""))) == _key(_without_suffix(name))]
        if same:
            found = same
        elif "/" in name:
            shared = {file: _shared_folders(file, name) for file in found}
            found = [file for file in found if shared[file] == max(shared.values())]
        suffix = PurePosixPath(name).suffix.lower()
        exact = [file for file in found if PurePosixPath(file).suffix.lower() == suffix]
        return exact or found

    @property
    def ambiguous(self) -> int:
        """How many names could mean several files."""
        return len(set(self._ambiguous))

    def check_ambiguous(self, where: str) -> None:
        """Raises DatasetError where a name could mean several files."""
        if self.ambiguous:
            name, files = self._first_files
            raise DatasetError(
                f"{where}: {name!r} could be {' or '.join(files[:3])}{' ...' if len(files) > 3 else ''}, and "
                f"{self.ambiguous} names are so in all. Write the folder into the table, or give the folder that "
                f"is meant: --data_dir={quoted(str(self.root / PurePosixPath(files[0]).parent))} (and --csv from "
                "there, or in full)."
            )

    def missing_reason(self, name: str) -> str:
        """Returns where a name was looked for in vain."""
        return f"no such file: {self.root / name.replace(chr(92), '/')}, nor any of that name below"

    def note(self, column: str) -> list[str]:
        """Returns a sentence on names that were completed."""
        if not self._completed:
            return []
        name, file = self._first
        count = len(np.unique(np.frombuffer(self._completed, np.uint64)))
        within = " in the folders of its table's split" if self._by_split else ""
        return [
            f"{column}: {count} names are not paths as they stand; each fits one file only{within}, for "
            f"example {name} is {file}."
        ]


def _number(stem: str) -> int | None:
    return int(stem) if stem.isascii() and stem.isdigit() else None


def _key(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _without_suffix(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else name


def _stem(name: str) -> str:
    return _key(_without_suffix(name).rsplit("/", 1)[-1])


def _shared_folders(file: str, name: str) -> int:
    """Returns how many folders before the file's name agree, from the name outwards."""
    count = 0
    for one, other in zip(reversed(file.split("/")[:-1]), reversed(name.split("/")[:-1]), strict=False):
        if _key(one) != _key(other):
            break
        count += 1
    return count
