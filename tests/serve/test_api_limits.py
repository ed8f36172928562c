"""What a server holds when it is crowded, and what is left of it when it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from serving import children_of, metric, wait_until

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="process limits are set on Linux only")


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
        client.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6000000\r\n"
            + kind
            + part
            + bytes(5 << 20)
        )
        until = time.monotonic() + 10
        while "dr_edge_buffered_bytes 0.0" in httpx.get(f"{server.url}/metrics").text and time.monotonic() < until:
            time.sleep(0.05)
        files = [os.readlink(link) for link in Path(f"/proc/{server.process.pid}/fd").iterdir()]
        held = [
            name for name in files if "(deleted)" in name or (name.startswith("/") and not name.startswith("/dev/"))
        ]
        assert held == [str(server.log)] * len(held), held
        assert "dr_edge_buffered_bytes 0.0" not in httpx.get(f"{server.url}/metrics").text


@LINUX
def test_uploads_that_wait_take_what_is_counted_of_them(start_server, bundle_dir):
    size, count = 16 << 20, 6
    body = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + os.urandom(size) + b"\r\n--b--\r\n"
    head = (
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: "
    )
    with start_server(bundle_dir, "--workers=1") as running, contextlib.ExitStack() as connections:
        statm = Path(f"/proc/{running.process.pid}/statm")
        (worker,) = children_of(running.process.pid)
        os.kill(worker, signal.SIGSTOP)
        before = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        clients = [
            connections.enter_context(socket.create_connection(("127.0.0.1", running.port), 30)) for _ in range(count)
        ]
        for client in clients:
            client.sendall(head + str(len(body)).encode() + b"\r\n\r\n" + body)
        wait_until(lambda: metric(running.url, "dr_edge_uploads") == count)
        assert metric(running.url, "dr_edge_buffered_bytes") == count * len(body)
        grown = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") - before
        assert grown < 1.3 * count * size, f"{grown >> 20} MiB are held for {count * size >> 20} MiB of uploads"
        os.kill(worker, signal.SIGCONT)
        for client in clients:
            assert client.recv(1000).startswith(b"HTTP/1.1 415 ")  # all of it came to the worker, and is no picture


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
