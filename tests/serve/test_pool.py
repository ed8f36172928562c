"""What becomes of photographs whose worker crashes, hangs, runs out of memory or is killed, and of the workers."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import struct
import sys
import zlib
from pathlib import Path

import httpx
import pytest
from serving import children_of, wait_until

from dr_edge.prediction.bundle import open_bundle
from dr_edge.serve.app import create_app
from dr_edge.serve.errors import Busy, RequestError
from dr_edge.serve.pool import Pool
from dr_edge.serve.settings import Settings

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="process limits are set on Linux only")


def large_png(width: int, height: int) -> bytes:
    """A black 16-bit RGBA picture: a few hundred kB of file, eight bytes per pixel to decode."""
    squeezer = zlib.compressobj(1)
    row = bytes(1 + width * 8)
    data = b"".join([squeezer.compress(row) for _ in range(height)]) + squeezer.flush()

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@contextlib.asynccontextmanager
async def started(bundle: Path, **limits):
    pool = Pool(open_bundle(bundle), Settings(**{"workers": 1, **limits}))
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


async def working_again(pool: Pool, pids: list[int]) -> None:
    async with asyncio.timeout(60):
        while not pool.processes() or pool.processes() == pids:
            await asyncio.sleep(0.05)


@LINUX
def test_a_photograph_that_takes_too_long_costs_its_worker_and_nothing_else(bundle_dir, photograph):
    async def scenario() -> None:
        async with started(bundle_dir, cpu_seconds=1) as pool:
            pids = pool.processes()
            with pytest.raises(RequestError) as caught:
                await pool.predict(large_png(7000, 7000), None, False)
            assert (caught.value.status, caught.value.reason) == (422, "too slow to decode")
            await working_again(pool, pids)
            assert (await pool.predict(photograph, None, False))[0] == "answered"
            assert pool.counts.replaced == {"too slow to decode": 1}

    asyncio.run(scenario())


async def ended_at_work(pool: Pool, photograph: bytes, number: int) -> RequestError:
    """Returns how a photograph is refused whose worker dies of a signal with it in its hands."""
    (pid,) = pool.processes()
    os.kill(pid, signal.SIGSTOP)
    asked = asyncio.create_task(pool.predict(photograph, None, False))
    await asyncio.sleep(0.2)
    os.kill(pid, number)
    with contextlib.suppress(ProcessLookupError):  # SIGKILL does not wait for it
        os.kill(pid, signal.SIGCONT)
    with pytest.raises(RequestError) as caught:
        await asked
    return caught.value


def test_a_crash_is_a_refusal_and_the_next_photograph_is_answered(bundle_dir, photograph):
    async def scenario() -> None:
        async with started(bundle_dir) as pool:
            pids = pool.processes()
            refusal = await ended_at_work(pool, photograph, signal.SIGSEGV)
            assert (refusal.status, refusal.reason) == (422, "decoder crashed")
            await working_again(pool, pids)
            assert (await pool.predict(photograph, None, False))[0] == "answered"

    asyncio.run(scenario())


def test_a_worker_that_hangs_is_replaced_and_one_that_is_waited_for_is_busy(bundle_dir, photograph):
    async def scenario() -> None:
        async with started(bundle_dir, wall_seconds=2.0, wait_seconds=0.3) as pool:
            pids = pool.processes()
            os.kill(pids[0], signal.SIGSTOP)
            hanging = asyncio.create_task(pool.predict(photograph, None, False))
            await asyncio.sleep(0.1)
            with pytest.raises(Busy, match="No worker became free"):
                await pool.predict(photograph, None, False)
            with pytest.raises(Busy, match="in time") as caught:
                await hanging
            assert caught.value.headers["Retry-After"].isdigit()
            await working_again(pool, pids)
            assert (await pool.predict(photograph, None, False))[0] == "answered"

    asyncio.run(scenario())


def test_a_cancelled_request_does_not_hand_its_answer_to_the_next(bundle_dir, photograph):
    import cv2

    from tfrecord_tools.synthetic.draw import draw_fundus

    other = cv2.imencode(".png", draw_fundus(77, size=512).image[..., ::-1])[1].tobytes()

    async def scenario() -> None:
        async with started(bundle_dir) as pool:
            asked = asyncio.create_task(pool.predict(photograph, None, False))
            await asyncio.sleep(0.005)
            asked.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asked
            import hashlib

            _, answer = await pool.predict(other, None, False)
            assert hashlib.sha256(other).hexdigest() in answer

    asyncio.run(scenario())


def test_workers_end_with_the_pool(bundle_dir):
    async def scenario() -> list[int]:
        async with started(bundle_dir, workers=2) as pool:
            return pool.processes()

    for pid in asyncio.run(scenario()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@LINUX
def test_a_worker_may_write_no_file_and_has_bounded_memory(bundle_dir):
    async def scenario() -> None:
        async with started(bundle_dir) as pool:
            limits = Path(f"/proc/{pool.processes()[0]}/limits").read_text()
            rows = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
            assert rows["Max file size"] == ["0", "0"] and rows["Max core file size"] == ["0", "0"]
            assert int(rows["Max address space"][1]) < 6 << 30

    asyncio.run(scenario())


def broken_bundle(bundle_dir: Path):
    """A bundle with which `interpret` fails with a KeyError: a bug of ours, in the worker."""
    bundle = open_bundle(bundle_dir)
    return dataclasses.replace(
        bundle, manifest={**bundle.manifest, "task": {**bundle.manifest["task"], "kind": "nonsense"}}
    )


def test_a_fault_of_ours_in_a_worker_is_not_blamed_on_the_photograph(bundle_dir, photograph, caplog):
    app = create_app(broken_bundle(bundle_dir), Settings(workers=1))

    async def scenario() -> tuple[httpx.Response, str, list[int]]:
        pool = app.state.server.pool
        await pool.start()
        try:
            pids = pool.processes()
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
                response = await client.post("/v1/predict", files={"image": photograph})
                assert pool.processes() == pids  # it lives: nothing was wrong with its memory
                return response, (await client.get("/metrics")).text, pids
        finally:
            await pool.close()

    with caplog.at_level(logging.ERROR, "dr_edge.serve"):
        response, metrics, pids = asyncio.run(scenario())
    assert response.status_code == 500 and response.json()["error"]["reason"] == "internal error"
    assert "nonsense" not in response.text and "Traceback" not in response.text and "damaged" not in response.text
    assert f"worker {pids[0]} failed with KeyError" in caplog.text and "answer.py" in caplog.text
    assert 'dr_edge_answers_total{status="internal error"} 1.0' in metrics


def test_a_replacement_is_logged_and_counted_with_its_reason(bundle_dir, photograph, caplog):
    """Killed while idle, a worker costs no photograph; killed at work, as for want of memory, it is not the
    photograph's fault.
    """
    app = create_app(open_bundle(bundle_dir), Settings(workers=1))

    async def scenario() -> tuple[RequestError, str]:
        pool = app.state.server.pool
        await pool.start()
        try:
            pids = pool.processes()
            os.kill(pids[0], signal.SIGKILL)
            await working_again(pool, pids)  # before anybody asks for it
            assert (await pool.predict(photograph, None, False))[0] == "answered"
            pids = pool.processes()
            refusal = await ended_at_work(pool, photograph, signal.SIGKILL)
            await working_again(pool, pids)
            assert (await pool.predict(photograph, None, False))[0] == "answered"
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
                return refusal, (await client.get("/metrics")).text
        finally:
            await pool.close()

    with caplog.at_level(logging.WARNING, "dr_edge.serve"):
        refusal, metrics = asyncio.run(scenario())
    assert (refusal.status, refusal.reason, refusal.headers) == (503, "busy", {"Retry-After": "10"})
    assert "damaged" not in str(refusal) and "want of memory" in str(refusal)
    assert "is replaced: ended while idle (exit status -9)" in caplog.text
    assert "is replaced: killed (exit status -9)" in caplog.text
    for reason, count in (("ended while idle", 1), ("killed", 1), ("decoder crashed", 0), ("too slow", 0)):
        assert f'dr_edge_workers_replaced_total{{reason="{reason}"}} {count}.0' in metrics


@LINUX
def test_a_photograph_is_given_to_workers_that_live(start_server, bundle_dir, photograph):
    with start_server(bundle_dir, "--workers=2") as running:
        first, _ = children_of(running.process.pid)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{first}").exists())
        responses = [httpx.post(f"{running.url}/v1/predict", files={"image": photograph}, timeout=30) for _ in range(4)]
        assert [response.status_code for response in responses] == [200] * 4, [response.text for response in responses]
        wait_until(lambda: httpx.get(f"{running.url}/healthz").json()["workers"] == 2)
        for pid in children_of(running.process.pid):
            os.kill(pid, signal.SIGKILL)
        # While none lives, /healthz says so; nobody needs to send a photograph for the next to be started.
        wait_until(
            lambda: (
                httpx.get(f"{running.url}/healthz").json() == {"status": "no worker", "workers": 0, "workers_wanted": 2}
            )
        )
        wait_until(lambda: httpx.get(f"{running.url}/healthz").status_code == 200)
        assert httpx.post(f"{running.url}/v1/predict", files={"image": photograph}, timeout=30).status_code == 200


@LINUX
def test_a_photograph_that_exceeds_the_memory_of_a_worker_is_refused(bundle_dir, photograph):
    import resource

    async def scenario() -> None:
        async with started(bundle_dir) as pool:
            (pid,) = pool.processes()
            used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
            resource.prlimit(pid, resource.RLIMIT_AS, (used + (32 << 20),) * 2)
            with pytest.raises(RequestError) as caught:
                await pool.predict(large_png(5000, 5000), None, False)
            assert 400 <= caught.value.status < 500
            assert pool.processes() == [pid] and not pool.counts.replaced

    asyncio.run(scenario())
