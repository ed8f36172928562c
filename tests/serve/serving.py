"""A server in a thread of the test, for limits that the command does not offer; what servers hold; slow clients."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from dr_edge.prediction.bundle import open_bundle
from dr_edge.serve.app import create_app
from dr_edge.serve.assets import Assets
from dr_edge.serve.settings import Settings
from dr_edge.serve.startup import uvicorn_config

QUICK = Settings(workers=1, max_connections=40)
# Seconds until a connection must have ended whose limit is one second; where the limit is not kept it ends after ten
# seconds or later. Between the two is room for a busy machine.
PROMPTLY = 8.0


@contextlib.contextmanager
def served(
    bundle_dir: Path, settings: Settings, static: Path | None = None, certificate: tuple[Path, Path] | None = None
) -> Iterator[int]:
    """Runs a server in a thread; with (cert.pem, key.pem) it speaks https. Yields its port."""
    import uvicorn

    app = create_app(open_bundle(bundle_dir), settings, None if static is None else Assets(static))
    config = uvicorn_config(app, settings, *map(str, certificate or ()))
    config.port = 0
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, 60)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(timeout=30)
    assert not thread.is_alive()


def wait_until(true: Callable[[], object], seconds: float = 30) -> None:
    """Returns when `true()` holds.

    Raises:
      TimeoutError: it did not, within `seconds`.
    """
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise TimeoutError(f"not so within {seconds} s")
        time.sleep(0.02)


def children_of(parent: int) -> list[int]:
    """Returns the ids of a process's children."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if path.read_text().rsplit(")", 1)[1].split()[1] == str(parent):
                found.append(int(path.parent.name))
    return found


def metric(url: str, name: str) -> float:
    """Returns a value of /metrics."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def memory() -> int:
    """Returns the bytes that this process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def closed_after(port: int, *pieces: bytes) -> tuple[float, bytes]:
    """Sends pieces 0.4 s apart, then waits for the end; returns seconds and what came."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        start, received = time.monotonic(), b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.4)
            while data := client.recv(4096):
                received += data
        return time.monotonic() - start, received
