"""Directories for intermediate files in the system's temporary directory, which no killed command leaves for ever.

Each is called dr_edge_KIND_ and eight letters, and holds a lock file: a lock of the operating system that ends with its
process, however that ends. Before a new one is made, those are removed whose lock nobody holds any more. Standard
library only.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dr_edge import locks

LOCK_FILE = ".lock"
_NAME = re.compile(r"dr_edge_[a-z]+_[a-z0-9_]{8}")
_SECONDS = 3600.0  # a directory without a holder's name is being made now, or was when its process was killed
_of_process: dict[int, Path] = {}  # process number -> its directory


@contextlib.contextmanager
def directory(kind: str) -> Iterator[Path]:
    """Yields a new directory, which is removed in the end.

    Args:
      kind: what it is for, in small letters: a part of its name.
    """
    path, lock = _make(kind)
    try:
        yield path
    finally:
        _remove(path, lock)


def of_process(kind: str) -> None:
    """Gives this process a directory for all that it and its libraries call temporary, until it ends.

    TensorFlow, Keras, ONNX Runtime and Beam leave theirs behind where they are killed. Does nothing where no directory
    can be made, or where this process has one.
    """
    if os.getpid() in _of_process:
        return
    try:
        path, lock = _make(kind)
    except OSError:
        return
    _of_process[os.getpid()] = path
    tempfile.tempdir = os.environ["TMPDIR"] = str(path)  # the variable: for native code and for what this one starts

    def end(process: int = os.getpid()) -> None:
        if os.getpid() == process:  # not in one that was forked
            _remove(path, lock)

    atexit.register(end)


def _make(kind: str) -> tuple[Path, locks.Lock]:
    base = Path(tempfile.gettempdir())
    remove_orphans(base)
    path = Path(tempfile.mkdtemp(prefix=f"dr_edge_{kind}_", dir=base))
    return path, locks.take(path / LOCK_FILE, path, flag=None)


def _remove(path: Path, lock: locks.Lock) -> None:
    shutil.rmtree(path, ignore_errors=True)
    lock.release()


def remove_orphans(base: Path) -> None:
    """Removes the directories of this user's processes in `base` that were killed; what is not ours stays."""
    if locks.fcntl is None:
        return
    with contextlib.suppress(OSError), os.scandir(base) as entries:
        found = [Path(entry.path) for entry in entries if _NAME.fullmatch(entry.name) and _is_own(entry)]
        for path in found:
            _remove_orphan(path)


def _is_own(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.getuid()
    except OSError:  # gone by now
        return False


def _remove_orphan(path: Path) -> None:
    """Removes one directory where its process does not live any more."""
    lock = path / LOCK_FILE
    try:
        host = _host(lock)
        if host is not None and host != socket.gethostname():
            return  # its locks may be unknown here
        if host is None:
            names = {entry.name for entry in os.scandir(path)}
            if names <= {LOCK_FILE} and time.time() - path.stat().st_mtime > _SECONDS:
                shutil.rmtree(path)
            return
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # another command removes it, too
        return
    try:
        locks.fcntl.flock(descriptor, locks.fcntl.LOCK_EX | locks.fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except OSError:  # its process lives, or the file system has no locks
        return
    finally:
        os.close(descriptor)


def _host(lock: Path) -> str | None:
    """Returns the host of the process that a lock file names, which it does once the lock is held; None: not yet."""
    try:
        return str(json.loads(lock.read_bytes())["host"])
    except (ValueError, KeyError, TypeError, FileNotFoundError):
        return None
