"""What a server does when it is crowded, when clients dawdle, and when a photograph kills its worker."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import socket
import struct
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

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


def test_a_crash_is_a_refusal_and_the_next_photograph_is_answered(bundle_dir, photograph):
    async def scenario() -> None:
        async with started(bundle_dir) as pool:
            pids = pool.processes()
            os.kill(pids[0], signal.SIGSTOP)  # so that it dies with the photograph in its hands
            asked = asyncio.create_task(pool.predict(photograph, None, False))
            await asyncio.sleep(0.2)
            os.kill(pids[0], signal.SIGKILL)
            with pytest.raises(RequestError) as caught:
                await asked
            assert (caught.value.status, caught.value.reason) == (422, "decoder crashed")
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


def children_of(parent: int) -> list[int]:
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if path.read_text().rsplit(")", 1)[1].split()[1] == str(parent)
    ]


@LINUX
def test_a_server_that_was_killed_leaves_no_worker(start_server, bundle_dir):
    with start_server(bundle_dir, "--workers=2") as running:
        children = children_of(running.process.pid)
        assert len(children) == 2
        running.process.kill()
        until = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < until:
            time.sleep(0.05)
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_ctrl_c_ends_it_quietly(start_server, bundle_dir):
    with start_server(bundle_dir, "--workers=1") as running:
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(timeout=30) == 0
        assert "Traceback" not in running.log.read_text()


@LINUX
def test_an_upload_on_its_way_lies_in_no_file(server):
    kind = b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="eye.jpg"\r\n\r\n'
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6000000\r\n" + kind + part + bytes(5 << 20))
        until = time.monotonic() + 10
        while "dr_edge_buffered_bytes 0.0" in httpx.get(f"{server.url}/metrics").text and time.monotonic() < until:
            time.sleep(0.05)
        files = [os.readlink(link) for link in Path(f"/proc/{server.process.pid}/fd").iterdir()]
        held = [name for name in files if "(deleted)" in name or (name.startswith("/") and not name.startswith("/dev/"))]
        assert held == [str(server.log)] * len(held), held
        assert "dr_edge_buffered_bytes 0.0" not in httpx.get(f"{server.url}/metrics").text


def broken_bundle(bundle_dir: Path):
    """A bundle with which `interpret` fails with a KeyError: a bug of ours, in the worker."""
    bundle = open_bundle(bundle_dir)
    return dataclasses.replace(bundle, manifest={**bundle.manifest, "task": {**bundle.manifest["task"], "kind": "nonsense"}})


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
    app = create_app(open_bundle(bundle_dir), Settings(workers=1))

    async def scenario() -> str:
        pool = app.state.server.pool
        await pool.start()
        try:
            pids = pool.processes()
            os.kill(pids[0], signal.SIGKILL)
            with pytest.raises(RequestError, match="given up"):
                await pool.predict(photograph, None, False)
            await working_again(pool, pids)
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
                return (await client.get("/metrics")).text
        finally:
            await pool.close()

    with caplog.at_level(logging.WARNING, "dr_edge.serve"):
        metrics = asyncio.run(scenario())
    assert "is replaced: decoder crashed (exit status -9)" in caplog.text
    assert 'dr_edge_workers_replaced_total{reason="decoder crashed"} 1.0' in metrics
    assert 'dr_edge_workers_replaced_total{reason="too slow"} 0.0' in metrics


@LINUX
def test_beyond_its_places_the_server_says_when_to_come_again(start_server, bundle_dir, photograph):
    with start_server(bundle_dir, "--workers=1", "--queue=0") as small:
        slow = socket.create_connection(("127.0.0.1", small.port))
        slow.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        )
        time.sleep(0.3)  # it dawdles, and takes no place
        assert httpx.post(f"{small.url}/v1/predict", files={"image": photograph}).status_code == 200
        slow.close()
        (worker,) = children_of(small.process.pid)
        os.kill(worker, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(httpx.post, f"{small.url}/v1/predict", files={"image": photograph}, timeout=60)
            try:
                until = time.monotonic() + 20
                while "dr_edge_uploads 1.0" not in httpx.get(f"{small.url}/metrics").text and time.monotonic() < until:
                    time.sleep(0.05)
                response = httpx.post(f"{small.url}/v1/predict", files={"image": photograph})
            finally:
                os.kill(worker, signal.SIGCONT)
            assert waiting.result().status_code == 200
        assert response.status_code == 503 and response.headers["retry-after"].isdigit()
        assert response.json()["error"]["reason"] == "busy"
        assert httpx.get(f"{small.url}/healthz").status_code == 200  # what costs nothing is still answered
        assert httpx.post(f"{small.url}/v1/predict", files={"image": photograph}).status_code == 200
