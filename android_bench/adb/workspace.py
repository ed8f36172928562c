"""A directory on the device that is this measurement's own, the programs that run in it, and their certain end."""

from __future__ import annotations

import contextlib
import logging
import secrets
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from android_bench.adb.device import END_SESSION, ROOM, Answer, Device, run_script, shell
from android_bench.errors import BenchError, CommandFailed, NoSpace

PREFIX = "dr_edge_bench."
# The signals that end a measurement with its phone tidied up: Ctrl-C, `kill`, a closed terminal.
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def workspace(device: Device) -> Iterator[str]:
    """Yields a new directory on the device; ends what runs in it and removes it, also after Ctrl-C.

    Where the device is gone it stays there, and a warning names it; the error of what went wrong first goes
    on.
    """
    directory = f"{ROOM}/{PREFIX}{secrets.token_hex(6)}"
    try:
        answer = shell(device, f"mkdir {shlex.quote(directory)}", 20, check=False)
        if answer.status:
            space = "no space left" in answer.stderr.lower()
            raise (NoSpace if space else CommandFailed)(f"{directory} cannot be made: {answer.stderr.strip()}")
        yield directory
    finally:
        # Also where mkdir was interrupted: it may have been made all the same.
        with _undisturbed():
            clear(device, directory)


def leftovers(device: Device) -> list[str]:
    """Returns directories of earlier measurements that were killed, or run at the same time from elsewhere."""
    answer = shell(device, f"ls -d {ROOM}/{PREFIX}* 2>/dev/null || true", 20)
    return [line.strip() for line in answer.stdout.splitlines() if PREFIX in line]


def run_program(device: Device, directory: str, command: Sequence[str], limit: float) -> Answer:
    """Runs a program in `directory` on the device in a session of its own, whose number `clear` finds again.

    Raises:
      DeviceTimeout, DeviceLost, DeviceOffline, Unauthorised. A status other than 0 is the caller's to judge.
    """
    room = shlex.quote(directory)
    script = f"cd {room} && export LD_LIBRARY_PATH={room} && {shlex.join(command)}"
    return run_script(device, script, limit, False, Path(command[0]).name, f"{room}/session")


def clear(device: Device, directory: str) -> None:
    """Ends the session that runs in `directory` and removes it; warns where the device does not answer."""
    room = shlex.quote(directory)
    script = f"if [ -f {room}/session ]; then p=$(cat {room}/session); {END_SESSION}; fi; rm -rf {room}"
    try:
        shell(device, script, 20)
    except BenchError as err:
        logging.getLogger(__name__).warning(
            "%s stays on %s (%s) Remove it with: adb -s %s shell rm -rf %s",
            directory, device.serial, err, device.serial, directory,
        )  # fmt: skip


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Holds Ctrl-C back while the device is tidied up (its limits end that in any case)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
