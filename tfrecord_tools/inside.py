"""Reads files of a data directory: regular ones that truly lie inside, or the reason why not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MAX_FILE_BYTES = 1 << 30


class Rejected(ValueError):
    """An item that cannot become a record; the message is the reason in rejected.csv."""


def one_line(err: Exception | str) -> str:
    """Returns a message without line breaks, for a table cell."""
    return " ".join(str(err).split())[:400]


def read_inside(data_dir: str, path: str) -> bytes:
    """Reads a regular file that truly lies below `data_dir`.

    Raises:
      Rejected: missing, outside the directory (by '..' or by a symbolic link), not a regular file, or too large.
    """
    root = os.path.realpath(data_dir)
    full = os.path.join(root, path)
    real = os.path.realpath(full)
    if os.path.commonpath([root, real]) != root:
        raise Rejected("path or symbolic link leads outside the data directory")
    try:
        status = os.stat(real)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise Rejected("not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise Rejected(f"file too large: {status.st_size} bytes; at most {MAX_FILE_BYTES}")
        return Path(real).read_bytes()
    except FileNotFoundError as err:
        raise Rejected("no such file") from err
    except OSError as err:
        raise Rejected(f"cannot be read: {err.strerror}") from err
