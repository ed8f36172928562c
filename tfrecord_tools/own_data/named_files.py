"""Finds the files that a table names: without folder or extension, in another case, under another machine's path.

A name is taken only where one file can be meant; the rest is counted and told with the place that was looked at.
"""

from __future__ import annotations

import functools
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath

from dr_edge.next_steps import quoted
from tfrecord_tools.items import DatasetError
from tfrecord_tools.layout import IMAGE_SUFFIXES, list_images, relative
from tfrecord_tools.own_data.split_names import split_within


class NamedFiles:
    """The photographs (or masks) below a directory, by name.

    Args:
      root: the data directory.
      avoid: relative paths that are not meant: masks, where photographs are looked for.
    """

    def __init__(self, root: Path, avoid: Iterable[str] = ()) -> None:
        self.root = root
        self._avoid = set(avoid)
        self._listed = functools.cache(lambda: [relative(path, root) for path in list_images(root, recursive=True)])
        # (name in the table, its split) -> file, where they differ.
        self.completed: dict[tuple[str, str | None], str] = {}
        self._by_split = False
        self.ambiguous: dict[str, list[str]] = {}

    def without(self, avoid: Iterable[str]) -> NamedFiles:
        """Returns the same files but for those of `avoid`, nothing looked for yet; both share one listing."""
        other = NamedFiles(self.root, avoid)
        other._listed = self._listed
        return other

    @cached_property
    def files(self) -> list[str]:
        """Relative paths of all pictures below the directory that are not to be avoided."""
        return [name for name in self._listed() if name not in self._avoid]

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        index: dict[str, list[str]] = defaultdict(list)
        for name in self.files:
            index[_stem(name)].append(name)
        return dict(index)

    @cached_property
    def _by_number(self) -> dict[int, list[str]]:
        index: dict[int, list[str]] = defaultdict(list)
        for name in self.files:
            if (stem := _stem(name)).isascii() and stem.isdigit():
                index[int(stem)].append(name)
        return dict(index)

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
            self.completed[name, split] = clean
            return clean
        candidates = self._candidates(clean)
        if split is not None and len(candidates) > 1:
            fitting = [file for file in candidates if any(split_within(part) == split for part in file.split("/")[:-1])]
            self._by_split |= len(fitting) == 1
            candidates = fitting or candidates
        if len(candidates) == 1:
            self.completed[name, split] = candidates[0]
            return candidates[0]
        if candidates:
            self.ambiguous[name] = candidates
        return None

    def _candidates(self, name: str) -> list[str]:
        stem = _stem(name)
        found = self._by_stem.get(stem, [])
        if not found and stem.isascii() and stem.isdigit():
            found = self._by_number.get(int(stem), [])  # a spreadsheet has made 7 of 007
        same = [file for file in found if _key(str(PurePosixPath(file).with_suffix(""))) == _key(_without_suffix(name))]
        if same:
            found = same
        elif "/" in name:
            shared = {file: _shared_folders(file, name) for file in found}
            found = [file for file in found if shared[file] == max(shared.values())]
        suffix = PurePosixPath(name).suffix.lower()
        exact = [file for file in found if PurePosixPath(file).suffix.lower() == suffix]
        return exact or found

    def check_ambiguous(self, where: str) -> None:
        """Raises DatasetError where a name could mean several files."""
        if self.ambiguous:
            name, files = next(iter(self.ambiguous.items()))
            raise DatasetError(
                f"{where}: {name!r} could be {' or '.join(files[:3])}{' ...' if len(files) > 3 else ''}, and "
                f"{len(self.ambiguous)} names are so in all. Write the folder into the table, or give the folder that "
                f"is meant: --data_dir={quoted(str(self.root / PurePosixPath(files[0]).parent))} (and --csv from "
                "there, or in full)."
            )

    def missing_reason(self, name: str) -> str:
        """Returns where a name was looked for in vain."""
        return f"no such file: {self.root / name.replace(chr(92), '/')}, nor any of that name below"

    def note(self, column: str) -> list[str]:
        """Returns a sentence on names that were completed."""
        if not self.completed:
            return []
        (name, _), file = next(iter(self.completed.items()))
        within = " in the folders of its table's split" if self._by_split else ""
        return [
            f"{column}: {len(self.completed)} names are not paths as they stand; each fits one file only{within}, for "
            f"example {name} is {file}."
        ]


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
