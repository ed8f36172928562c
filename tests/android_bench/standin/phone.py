"""Stand-in phones for the tests: Google's real adbd in namespaces of its own, reached by the real adb.

Real: adb, adbd, their protocol, Android's shell (mksh) and tools (toybox), signals, exit codes, files, full disks,
LiteRT. Stand-ins, and nothing is learned from them about phones: getprop, dumpsys, cpufreq, and `benchmark_model`,
which is a Python program that runs LiteRT and prints what the official tools print.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from standin import packages

HERE = Path(__file__).parent
PROPERTIES = {
    "ro.product.manufacturer": "Stand-in",
    "ro.product.model": "Namespace",
    "ro.soc.model": "none",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.kernel.qemu": "1",
}


@dataclasses.dataclass
class Phone:
    """A running stand-in phone: its serial, the process that holds its namespaces, and its root as seen from here."""

    serial: str
    process: subprocess.Popen
    pid: int
    forwarder: Forwarder

    @property
    def port(self) -> int:
        """Its port on this machine's loopback."""
        return self.forwarder.port

    @property
    def storage(self) -> Path:
        """Its /data/local/tmp, seen from outside."""
        return self.outside("/data/local/tmp")

    def outside(self, path: str) -> Path:
        """Where its absolute `path` is seen from outside its namespaces."""
        return Path("/proc", str(self.pid), "root", path.lstrip("/"))

    def write(self, path: str, text: str) -> None:
        self.outside(path).write_text(text, encoding="utf-8")

    def replace_program(self, name: str, script: str) -> None:
        """Puts a line of sh in the place of one of its tools."""
        path = self.outside(f"/system/bin/{name}")
        # Its links lead to the machine's own files, seen from outside: never write through one.
        path.unlink()
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def programs(self) -> list[str]:
        """The command lines that run there, without adbd."""
        found = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-p", "-m", "--", "ps", "-eo", "pid,stat,args"],
            capture_output=True, text=True,
        ).stdout.splitlines()[1:]  # fmt: skip
        rows = [line.split(None, 2) for line in found]
        return [args for pid, state, args in rows if pid != "1" and "Z" not in state and not args.startswith("ps ")]

    def lose(self) -> None:
        """Ends it at once, as when the cable is pulled."""
        self.forwarder.close()
        self.process.kill()
        self.process.wait()


class Forwarder:
    """Carries connections from a port of this machine's loopback to adbd's port inside the phone's network.

    adbd gives whoever connects a root shell, so that connections of another user are closed.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.delay = 0.0  # seconds per piece from the phone: a slow device
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        for opened in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, peer = self._listener.accept()
                if _owner(peer[1], self.port) != os.geteuid():
                    here.close()
                    continue
                there = connect_inside(self._pid)
                self._open += [here, there]
                threading.Thread(target=self._carry, args=(here, there, False), daemon=True).start()
                threading.Thread(target=self._carry, args=(there, here, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, slowed: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if slowed and self.delay:
                    time.sleep(self.delay)
                target.sendall(data)
        for opened in (source, target):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)


def _owner(peer: int, port: int) -> int | None:
    """Returns the user id of a loopback connection from port `peer` to `port`; None where it is gone."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if (fields[1], fields[2]) == (f"0100007F:{peer:04X}", f"0100007F:{port:04X}"):
            return int(fields[7])
    return None


def connect_inside(pid: int) -> socket.socket:
    """Returns a socket to adbd, made by a thread that stepped into the phone's network for it."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(namespace, 0x40000000):
                raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.create_connection(("127.0.0.1", 5555), 10))
        except OSError as err:
            made.append(err)
        finally:
            os.close(namespace)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    made[0].settimeout(None)
    return made[0]


def why_not() -> str | None:
    """Returns why stand-in phones cannot run here; None where they can."""
    if sys.platform != "linux" or os.geteuid():
        return "stand-in phones need Linux and root (namespaces)"
    for program in (
        "unshare",
        "nsenter",
        "mount",
        "dpkg-deb",
        "apt-get",
        "ps",
        "setsid",
        "taskset",
        "timeout",
    ):
        if shutil.which(program) is None:
            return f"stand-in phones need the program {program}"
    tried = subprocess.run(["unshare", "-n", "-m", "-p", "-f", "--mount-proc", "true"], capture_output=True, text=True)
    return f"namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else None


@contextlib.contextmanager
def running(
    unpacked: Path, scratch: Path, storage_bytes: int = 256 << 20, properties: dict[str, str] | None = None
) -> Iterator[Phone]:
    """Starts a stand-in phone and yields it; ends it and everything in it afterwards.

    Args:
      unpacked: from packages.unpack.
      scratch: an empty directory of this phone's.
      storage_bytes: size of its /data/local/tmp.
      properties: what getprop answers, over PROPERTIES.
    """
    root = scratch / "root"
    root.mkdir(parents=True)
    values = {**PROPERTIES, **(properties or {})}
    files = {
        "/system/bin/getprop": (HERE / "on_device/getprop.sh").read_text(encoding="utf-8"),
        "/system/bin/dumpsys": (HERE / "on_device/dumpsys.sh").read_text(encoding="utf-8"),
        "/system/properties": "".join(f"{name}={value}\n" for name, value in values.items()),
        "/data/standin/thermal": "0\n",
        "/data/standin/behaviour": "",
        "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "schedutil\n",
    }
    for name in ("possible", "present", "online"):
        files[f"/sys/devices/system/cpu/{name}"] = Path(f"/sys/devices/system/cpu/{name}").read_text()
    spec = {
        "root": str(root),
        "adbd": str(unpacked / "usr/lib/android-sdk/platform-tools/adbd"),
        "unpacked": str(unpacked),
        "library_path": packages.library_path(unpacked),
        "visible": [sys.prefix, sys.base_prefix, str(unpacked)],
        "files": files,
        "storage_bytes": storage_bytes,
    }
    with open(scratch / "adbd.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable,
             str(HERE / "first_process.py"), json.dumps(spec)],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    forwarder = None
    try:
        pid = _wait(lambda: _child(process.pid), process, scratch)
        _wait(lambda: _answers(pid), process, scratch)
        forwarder = Forwarder(pid)
        yield Phone(f"127.0.0.1:{forwarder.port}", process, pid, forwarder)
    finally:
        if forwarder is not None:
            forwarder.close()
        process.kill()
        process.wait()


def _wait(look: Callable[[], int | None], process: subprocess.Popen, scratch: Path) -> int:
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise RuntimeError(f"The stand-in phone did not start: {(scratch / 'adbd.log').read_text(errors='replace')[-800:]}")


def _child(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def _answers(pid: int) -> int | None:
    """Returns 1 once adbd listens in the phone's network (port 5555 is 15B3; state 0A is listening)."""
    with contextlib.suppress(OSError):
        for name in ("tcp", "tcp6"):
            lines = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
            if any(line.split()[1].endswith(":15B3") and line.split()[3] == "0A" for line in lines):
                return 1
    return None
