"""Who writes a directory now: one process, and the next one is told which.

A lock of the operating system (flock) on a small file beside what is written. It ends with its process, however that
ends, so a killed command blocks nobody. The file says who holds it. Standard library only, as `dr_edge.metadata`, which
uses it.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import logging
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# A file system without locks says one of these.
WITHOUT = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
COMMAND_LENGTH = 200  # characters of a command line that are kept


class InUse(RuntimeError):
    """Another process writes there now; says which."""


class Lock:
    """A lock that is held until `release`."""

    def __init__(self, path: Path, descriptor: int, held: bool) -> None:
        self._path, self._descriptor, self.held = path, descriptor, held

    def release(self) -> None:
        """Lets go; may be called twice."""
        if self._descriptor < 0:
            return
        if self.held:
            with contextlib.suppress(OSError):  # the directory may be gone by now
                if _is_still_there(self._path, self._descriptor):
                    self._path.unlink()
        os.close(self._descriptor)
        self._descriptor = -1


def beside(target: str | os.PathLike) -> Path:
    """Returns the lock file of a directory that need not exist yet: `.NAME.lock` next to it."""
    target = Path(target)
    return target.with_name(f".{target.name}.lock")


def take(
    path: Path, target: str | os.PathLike, doing: str = "written", wait: bool = False, flag: str | None = "--out"
) -> Lock:
    """Takes the lock file `path`; where the file system has no locks (some network drives) it warns and goes on.

    Args:
      path: the lock file; its directory exists.
      target: what it guards, for the message.
      doing: what is done to `target`, for the message: "written", "trained".
      wait: until the holder lets go, with a warning that names it, instead of raising.
      flag: of the command, which names the directory to write, for the message; None where it has none.

    Raises:
      InUse: another process holds it.
      OSError: the file cannot be made.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if fcntl is None:
                raise OSError(errno.ENOSYS, "this system has no file locks")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            said = f"{target} is being {doing} by {_holder(descriptor)}."
            if not wait:
                os.close(descriptor)
                another = ", or stop it" if flag is None else f", stop it, or give another {flag}"
                raise InUse(f"{said} Wait until it ends{another}.") from err
            logging.getLogger(__name__).warning("%s This command waits for it.", said)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as err:
            if err.errno not in WITHOUT:
                os.close(descriptor)
                raise
            _warn(path, target, err)
            return Lock(path, descriptor, held=False)
        if _is_still_there(path, descriptor):
            _note(descriptor)
            return Lock(path, descriptor, held=True)
        os.close(descriptor)  # the holder before removed the file between our two calls


@contextlib.contextmanager
def held(
    target: str | os.PathLike, doing: str = "written", wait: bool = False, flag: str | None = "--out"
) -> Iterator[Lock]:
    """Holds the lock beside `target` inside the block; see `take`. Its parent directory is made."""
    path = beside(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = take(path, target, doing, wait, flag)
    try:
        yield lock
    finally:
        lock.release()


def _is_still_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _note(descriptor: int) -> None:
    now = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    command = shlex.join(["python", *sys.orig_argv[1:]])
    if len(command) > COMMAND_LENGTH:  # a path that is cut would look like another one
        command = f"{command[:COMMAND_LENGTH]} ..."
    who = {"pid": os.getpid(), "host": socket.gethostname(), "since": now, "command": command}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(who).encode("ascii"), 0)


def _holder(descriptor: int) -> str:
    try:
        who = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {who['pid']} on {who['host']} since {who['since']} ({who['command']})"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _warn(path: Path, target: str | os.PathLike, err: OSError) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
    logging.getLogger(__name__).warning(
        "The file system of %s has no locks (%s): nothing stops a second command from writing there at the same time.",
        target,
        err.strerror,
    )
