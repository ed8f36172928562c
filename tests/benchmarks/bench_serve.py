"""The server under load on loopback: 64 clients for 60 s. No 5xx but 503, memory flat, every answer the right one.

  python -m pytest tests/benchmarks/bench_serve.py -o python_files='bench_*.py' -s

With DR_EDGE_RUN=RUN in the environment that run's bundle is served, else a network of a thousand parameters. Prints
photographs per second, latency, how many were sent away with 503, and resident memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

CLIENTS, SECONDS = 64, 60.0
REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclasses.dataclass
class Load:
    """What a load test saw.

    Attributes:
      statuses: HTTP status -> how often; latencies: of the 200s, in seconds.
      wrong: answers that are not those of the photograph that was sent, and broken connections.
      memory: seconds since the start, resident MiB of the server and its workers together.
    """

    statuses: Counter = dataclasses.field(default_factory=Counter)
    latencies: list[float] = dataclasses.field(default_factory=list)
    wrong: list[str] = dataclasses.field(default_factory=list)
    memory: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def growth(self) -> float:
        """Returns by how much memory grew from the second quarter of the time to the last, as a fraction."""
        quarter = max(1, len(self.memory) // 4)
        early = statistics.median(size for _, size in self.memory[quarter : 2 * quarter])
        late = statistics.median(size for _, size in self.memory[-quarter:])
        return late / early - 1

    def summary(self) -> str:
        """Returns the figures in three lines."""
        ordered = sorted(self.latencies)
        p50, p99 = (1e3 * ordered[int(q * (len(ordered) - 1))] for q in (0.5, 0.99))
        sizes = [size for _, size in self.memory]
        return (
            f"{self.statuses[200] / self.seconds:.1f} photographs/s over {self.seconds:.0f} s; "
            f"statuses {dict(self.statuses)}\n"
            f"latency of answers: median {p50:.0f} ms, p99 {p99:.0f} ms\n"
            f"resident memory: {sizes[0]:.0f} MiB at first, {max(sizes):.0f} at most, {sizes[-1]:.0f} at last; "
            f"growth from the second quarter to the last {100 * self.growth():+.1f} %"
        )


def resident_mib(pid: int) -> float:
    """Returns the resident memory of a process and its children in MiB (Linux)."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            if int(path.parent.name) == pid or int(fields[1]) == pid:
                total += int(fields[21]) * PAGE
    return total / 2**20


async def press(url: str, pid: int, photographs: list[bytes], clients: int, seconds: float) -> Load:
    """Lets `clients` send photographs one after the other; after a 503 each waits as long as it is told."""
    load, start = Load(), time.monotonic()
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:

        async def watch() -> None:
            while True:
                load.memory.append((time.monotonic() - start, resident_mib(pid)))
                await asyncio.sleep(0.5)

        async def send(number: int) -> None:
            while time.monotonic() - start < seconds:
                data = photographs[number % len(photographs)]
                number += 1
                began = time.monotonic()
                try:
                    response = await client.post(f"{url}/v1/predict", files={"image": ("eye.jpg", data)})
                except httpx.HTTPError as err:
                    load.wrong.append(repr(err))
                    continue
                load.statuses[response.status_code] += 1
                if response.status_code == 503:
                    await asyncio.sleep(float(response.headers["retry-after"]))
                elif response.status_code == 200:
                    load.latencies.append(time.monotonic() - began)
                    content = json.loads(response.content)
                    if content["sha256"] != hashlib.sha256(data).hexdigest():
                        load.wrong.append(f"answer to another photograph: {content['sha256']}")

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(send(number) for number in range(clients)))
        watching.cancel()
    load.seconds = time.monotonic() - start
    return load


def synthetic_photographs(count: int, size: int = 1024) -> list[bytes]:
    """Returns drawn photographs as JPEG, enlarged to `size` pixels as a camera's."""
    from tfrecord_tools.synthetic.draw import draw_fundus

    found = []
    for seed in range(count):
        image = cv2.resize(
            draw_fundus(500 + seed, size=512).image, (size * 5 // 4, size), interpolation=cv2.INTER_CUBIC
        )
        found.append(cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))[1].tobytes())
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
def test_sixty_four_clients_for_a_minute(stand_in_run, tmp_path):
    from export.bundle import write

    out = tmp_path / "bundle"
    write.export_run(os.environ.get("DR_EDGE_RUN", stand_in_run), out, ("float32",))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "dr_edge.serve", f"--bundle={out}", f"--port={port}"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 90
        while time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/healthz").status_code == 200:
                    break
            time.sleep(0.2)
        load = asyncio.run(press(url, process.pid, synthetic_photographs(8), CLIENTS, SECONDS))
    finally:
        process.terminate()
        process.wait(timeout=30)
    print(f"\n{CLIENTS} clients, {os.cpu_count()} cores:\n{load.summary()}")
    assert not load.wrong and set(load.statuses) <= {200, 503}
    assert load.statuses[200] > 100 and load.growth() < 0.05
