"""Reads files of a data directory: regular ones that truly lie inside, or the reason why not, and what was read.

A build that goes on, or is asked for again, compares the bytes that it has read with those that lie there now; so each
file of an item is read once, and its SHA-256 is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from io import BufferedReader

MAX_FILE_BYTES = 1 << 30
ABSENT = ""  # in place of a digest: the file could not be read
SECOND = 1_000_000_000  # nanoseconds
CHANGED = "it was changed while the build ran"

Stamp = tuple[int, int]  # size in bytes, modification time in nanoseconds


class Rejected(ValueError):
    """An item that cannot become a record; the message is the reason in rejected.csv."""


def one_line(err: Exception | str) -> str:
    """Returns a message without line breaks, for a table cell."""
    return " ".join(str(err).split())[:400]


class ItemFiles:
    """The files of one item: each is read once, so that what was checked, drawn and digested are the same bytes.

    Attributes:
      digests: path -> SHA-256 of each file that was asked for; ABSENT for one that could not be read.
    """

    def __init__(self, data_dir: str, stamps: Mapping[str, Stamp]) -> None:
        """Takes the data directory, and the size and time of the files when they were listed, where these are known."""
        self.digests: dict[str, str] = {}
        self._data_dir, self._stamps = data_dir, stamps
        self._read: dict[str, bytes] = {}

    def read(self, path: str) -> bytes:
        """Returns the content of a file.

        Raises:
          Rejected: as `read_inside`, or the file is no longer the one that was listed.
        """
        if path not in self._read:
            self.digests[path] = ABSENT  # until it was read whole
            data = read_inside(self._data_dir, path, self._stamps.get(path))
            self.digests[path] = hashlib.sha256(data).hexdigest()
            self._read[path] = data
        return self._read[path]


def read_inside(data_dir: str, path: str, listed: Stamp | None = None) -> bytes:
    """Reads a regular file that truly lies below `data_dir`.

    Args:
      data_dir: the data directory.
      path: of the file relative to it.
      listed: size and time of the file when the build was planned; None where that is not known.

    Raises:
      Rejected: missing, outside the directory (by '..' or by a symbolic link), not a regular file, too large, or
        changed since it was listed or while it was read.
    """
    with open_inside(data_dir, path) as file:
        before = stamp(file.fileno())
        if listed is not None and not is_same(listed, before):
            raise Rejected(f"{CHANGED}: {_words(listed)} when it was listed, {_words(before)} when it was read")
        data = file.read()
        after = stamp(file.fileno())
    if after != before or len(data) != after[0]:
        raise Rejected(f"{CHANGED}: {_words(before)} before it was read, {_words(after)} after that")
    return data


def digest_inside(data_dir: str, path: str) -> str:
    """Returns the SHA-256 of a file below `data_dir`, ABSENT where `read_inside` would refuse it."""
    try:
        with open_inside(data_dir, path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except Rejected:
        return ABSENT


@contextlib.contextmanager
def open_inside(data_dir: str, path: str) -> Iterator[BufferedReader]:
    """Opens a file for reading; raises Rejected as `read_inside`."""
    root = os.path.realpath(data_dir)
    real = os.path.realpath(os.path.join(root, path))
    if os.path.commonpath([root, real]) != root:
        raise Rejected("path or symbolic link leads outside the data directory")
    try:
        status = os.stat(real)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise Rejected("not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise Rejected(f"file too large: {status.st_size} bytes; at most {MAX_FILE_BYTES}")
        with open(real, "rb") as file:
            yield file
    except FileNotFoundError as err:
        raise Rejected("no such file") from err
    except OSError as err:
        raise Rejected(f"cannot be read: {err.strerror}") from err


def stamp(file: int | str | os.PathLike) -> Stamp:
    """Returns size and modification time of a path, or of an open file by its number; raises OSError."""
    status = os.stat(file)
    return status.st_size, status.st_mtime_ns


def is_same(one: Stamp, other: Stamp) -> bool:
    """Says whether two stamps, perhaps taken through different mounts, may be of one file that nobody has changed."""
    if one[0] != other[0]:
        return False
    whole = [time % SECOND == 0 for _, time in (one, other)]
    if whole[0] != whole[1]:  # one of the two mounts counts in seconds, or in two of them
        return abs(one[1] - other[1]) <= 2 * SECOND
    return one[1] // 1000 == other[1] // 1000  # SMB counts in steps of 100 ns


def _words(listed: Stamp) -> str:
    """Returns "1234 bytes of 2026-11-20 12:00:00.123 UTC"."""
    import datetime

    moment = datetime.datetime.fromtimestamp(listed[1] / SECOND, datetime.UTC)
    return f"{listed[0]} bytes of {moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} UTC"
