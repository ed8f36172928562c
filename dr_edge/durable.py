"""What is written reaches the disk, in an order that a power cut cannot turn round. Standard library only.

A rename is atomic, but nothing says that what was renamed is on the disk by then: after a power cut the new name may
stand over an empty file. So files are synced first, then the directory that lists them, then what speaks for them.
"""

from __future__ import annotations

import errno
import os
import struct
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# What a file system says that cannot sync a directory (some network drives).
WITHOUT = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF}
# What zipfile makes of an archive that was cut off or changed; RuntimeError: it seems to have a password.
UNREADABLE = (
    ValueError, EOFError, KeyError, RuntimeError, OverflowError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
THREADS = 16  # file systems write the files of several threads at once: a thousand took 0.4 s, one by one 3.7 s


def sync(path: str | os.PathLike) -> None:
    """Waits until a file's bytes, or a directory's list of names, are on the disk.

    Raises:
      OSError: the disk does not take them; names the path.
    """
    is_directory = os.path.isdir(path)
    if is_directory and os.name == "nt":
        return  # Windows opens no directory
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as err:
        if not is_directory or err.errno not in WITHOUT:
            raise OSError(err.errno, err.strerror, str(path)) from err
    finally:
        os.close(descriptor)


def sync_tree(directory: str | os.PathLike[str]) -> None:
    """Syncs every file below `directory`, then the directories, the inner ones first."""
    places = list(os.walk(os.fspath(directory), topdown=False))
    files = [Path(place, name) for place, _, names in places for name in names]
    files = [path for path in files if path.is_file() and not path.is_symlink()]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(sync, files))
    for place, _, _ in places:
        sync(place)


def zip_damage(path: str | os.PathLike) -> str:
    """Returns what is wrong with a zip archive by its own checksums, or ""; what has a digest needs no such look.

    Raises:
      OSError: the file is not there, or cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except UNREADABLE as err:
        return str(err) or type(err).__name__
    return f"{broken} in it differs from its checksum" if broken else ""
