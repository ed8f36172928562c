"""Files that are small and ask for much, twice: refused or answered, and memory and file descriptors are as before."""

from __future__ import annotations

import asyncio
import collections
import os
import statistics
import sys
import time
from pathlib import Path

import httpx
import pytest
from serving import children_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fundus"))
import crafted_files
import mutations

PAGE = 4096
AT_A_TIME = 4
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads memory and descriptors from /proc")


def resident(pids: list[int]) -> int:
    """Resident bytes of processes."""
    return sum(PAGE * int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)


async def send(url: str, uploads: list[bytes]) -> collections.Counter:
    """Sends the uploads, a few at a time; returns the statuses."""
    seen: collections.Counter = collections.Counter()
    waiting = iter(uploads)
    async with httpx.AsyncClient(timeout=120) as client:

        async def work() -> None:
            for data in waiting:
                response = await client.post(f"{url}/v1/predict", files={"image": ("x", data)})
                seen[response.status_code] += 1

        await asyncio.gather(*(work() for _ in range(AT_A_TIME)))
    return seen


def settled(url: str, pid: int) -> tuple[int, int]:
    """Resident bytes of the server and its workers, and the descriptors of the server, when nothing is sent."""
    readings = []
    for _ in range(5):
        time.sleep(0.4)
        assert httpx.get(f"{url}/healthz").status_code == 200
        readings.append(resident([pid, *children_of(pid)]))
    return int(statistics.median(readings)), len(os.listdir(f"/proc/{pid}/fd"))


def bombs() -> list[bytes]:
    made = [
        files
        for make in (crafted_files.tiffs, crafted_files.pngs, crafted_files.jpegs_and_webps, crafted_files.dicoms,
                     crafted_files.heics)
        for files in make().values()
    ]  # fmt: skip
    return made + [data for name, data in mutations.mutated(3, 400) if name.endswith((":zlib_bomb", ":huge"))]


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["crafted", "mutated"])
def test_memory_and_descriptors_are_as_before(kind, start_server, bundle_dir, photograph):
    uploads = bombs() if kind == "crafted" else [data for _, data in mutations.mutated(20261130, 2000)]
    half = [uploads[::2], uploads[1::2]] if kind == "mutated" else [uploads, uploads]
    with start_server(bundle_dir, "--workers=2") as running:
        pid = running.process.pid
        first = asyncio.run(send(running.url, half[0]))
        before, workers = settled(running.url, pid), children_of(pid)
        second = asyncio.run(send(running.url, half[1]))
        after = settled(running.url, pid)
        print(
            f"\n{kind}: {first + second}; {before[0] >> 20} and {after[0] >> 20} MiB, {before[1]} and {after[1]} files"
        )
        for seen in (first, second):
            assert not [status for status in seen if status >= 500 and status != 503], seen
        assert set(children_of(pid)) == set(workers), "a worker was replaced"
        assert after[0] < 1.05 * before[0] and after[1] <= before[1], (before, after)
        response = httpx.post(f"{running.url}/v1/predict", files={"image": photograph}, timeout=60)
        assert response.json()["status"] == "answered"
