"""Where gin files are found: by path, then among the ones that come with dr_edge, wherever it is installed.

In a checkout these stand in gin_configs/ beside the package, in an installed wheel inside it. `gin_configs/demo.gin`,
`demo.gin` and `models/corn.gin` name them from any working directory; a file of that path in the working directory
comes first. `include` takes the same names, and looks beside the file that includes, too.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path, PurePath
from typing import IO

from absl import logging

FOLDER = "gin_configs"


def _directory() -> Path:
    package = Path(__file__).resolve().parent
    installed = package / FOLDER
    return installed if installed.is_dir() else package.parent / FOLDER


DIRECTORY = _directory()


def shipped() -> list[str]:
    """Returns the names of the files that come with dr_edge and configure a run, as "gin_configs/demo.gin"."""
    return sorted(f"{FOLDER}/{path.name}" for path in DIRECTORY.glob("*.gin"))


def find(name: str) -> Path:
    """Returns the gin file that a command line means.

    Args:
      name: a path, or the name of a file that comes with dr_edge.

    Raises:
      ValueError: there is none; says the nearest name and the known ones.
    """
    found = [path for path in (*_local(name), _shipped(name)) if path is not None and path.is_file()]
    if found:
        if found[0] == Path(FOLDER, name) and not _same(found[0], found[-1]):
            logging.info("%s is %s of the working directory, not the one that comes with dr_edge.", name, found[0])
        return found[0]
    raise ValueError(_unknown(name))


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(PurePath(name).stem, [PurePath(known).stem for known in shipped()], n=1)
    hint = f" Did you mean '{FOLDER}/{near[0]}.gin'?" if near else ""
    return f"No gin file {name!r}.{hint} Known: {', '.join(shipped())}."


def _local(name: str) -> list[Path]:
    """Returns where a name may stand in the working directory, which may hold a gin_configs/ of its own."""
    return [Path(name), *([] if PurePath(name).parts[:1] == (FOLDER,) else [Path(FOLDER, name)])]


def _shipped(name: str) -> Path | None:
    """Returns where a file that comes with dr_edge would be, None for a path that leads elsewhere."""
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts:
        return None
    return DIRECTORY.joinpath(*(path.parts[1:] if path.parts[:1] == (FOLDER,) else path.parts))


class Reader:
    """Opens files for gin and knows which one an `include` stands in.

    gin calls `open` for an included name while it reads the including file.
    """

    def __init__(self) -> None:
        self._reading: list[Path] = []

    def exists(self, name: str) -> bool:
        """Says yes to every name: `open` says better what is wrong with one that is not there."""
        return True

    def open(self, name: str) -> _Opened:
        """Opens the file that a name means; that a second one could be meant, which says something else, is said.

        Raises:
          ValueError: there is none, or it includes itself.
        """
        found = self._candidates(name)
        if not found:
            raise ValueError(_unknown(name))
        chosen = found[0]
        for other in found[1:]:
            if other.read_bytes() != chosen.read_bytes():
                logging.warning(
                    "%r in %s is read from %s; %s is another file. Where that is meant, include it by its whole path.",
                    name, self._reading[-1], chosen, other,
                )  # fmt: skip
        return _Opened(self._reading, chosen)

    def _candidates(self, name: str) -> list[Path]:
        """Returns the files that `name` may mean, the one that is read first."""
        if not self._reading:  # what `find` has found
            return [Path(name)]
        here = self._reading[-1]
        # What comes with dr_edge belongs together: a file of the working directory does not slip in between.
        if DIRECTORY in here.resolve().parents:
            places = [_shipped(name), *_local(name)]
        else:
            places = [Path(name), here.parent / name, *_local(name)[1:], _shipped(name)]
        found: list[Path] = []
        for path in places:
            if path is not None and path.is_file() and not any(_same(path, other) for other in found):
                found.append(path)
        # What comes with dr_edge is the last resort, and no second meaning of a file that stands there.
        return [path for path in found if path is found[0] or path != _shipped(name)]


class _Opened:
    """A file while gin reads it."""

    def __init__(self, reading: list[Path], path: Path) -> None:
        self._reading, self._path = reading, path

    def __enter__(self) -> IO[str]:
        if any(_same(self._path, other) for other in self._reading):
            raise ValueError(f"{self._path} includes itself. Take that include out.")
        # Editors of Windows begin a file with a byte order mark.
        self._file = open(os.fspath(self._path), encoding="utf-8-sig")  # noqa: SIM115 - closed by __exit__
        self._reading.append(self._path)
        return self._file

    def __exit__(self, *error: object) -> None:
        self._reading.pop()
        self._file.close()


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
