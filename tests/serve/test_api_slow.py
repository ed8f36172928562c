"""Slow clients and crowds at the server itself. What uvicorn leaves to a proxy is tested through one, in test_nginx."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import ssl
import sys
import time
from pathlib import Path

import httpx
import pytest
from serving import PROMPTLY, QUICK, closed_after, memory, served, wait_until

LARGE = 12 << 20  # bytes; no artifact of a stand-in is that large, but those of real bundles are
POST = (
    b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
)
PART = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n'


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("static")
    (root / "large.png").write_bytes(os.urandom(LARGE))
    return root


def asked(port: int) -> socket.socket:
    """Returns a connection that has asked for the large file, with a small window of its own."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
    client.settimeout(15)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /static/large.png HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    return client


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
def test_those_who_ask_and_never_read_cost_little(bundle_dir, large):
    with served(bundle_dir, QUICK, large) as port, contextlib.ExitStack() as stack:
        assert len(httpx.get(f"http://127.0.0.1:{port}/static/large.png").content) == LARGE
        before = memory()
        for _ in range(30):
            stack.enter_context(asked(port))
        time.sleep(0.6)
        assert memory() - before < 3 * LARGE  # not thirty copies
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


def test_a_slow_reader_gets_all(bundle_dir, large):
    with served(bundle_dir, QUICK, large) as port, asked(port) as client:
        received, until = b"", time.monotonic() + 2.5
        while time.monotonic() < until:  # at 600 kB/s
            received += client.recv(30_000)
            time.sleep(0.05)
        while data := client.recv(1 << 20):
            received += data
        assert received.split(b"\r\n\r\n", 1)[1] == (large / "large.png").read_bytes()


def test_a_client_that_goes_away_is_not_logged_piece_by_piece(bundle_dir, large, caplog):
    with served(bundle_dir, QUICK, large) as port:
        for _ in range(5):
            with asked(port) as client:
                client.recv(1000)
        wait_until(lambda: "dr_edge_requests_total" in httpx.get(f"http://127.0.0.1:{port}/metrics").text)
        time.sleep(0.5)
    assert "socket.send() raised exception." not in caplog.messages


def test_an_idle_connection_is_closed(bundle_dir):
    with served(bundle_dir, dataclasses.replace(QUICK, keep_alive_seconds=1)) as port:
        seconds, received = closed_after(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 200 ") and 0.9 < seconds < PROMPTLY


def test_beyond_its_connections_it_says_so(bundle_dir):
    with served(bundle_dir, dataclasses.replace(QUICK, max_connections=4)) as port, contextlib.ExitStack() as stack:
        url = f"http://127.0.0.1:{port}/healthz"
        for _ in range(2):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        assert httpx.get(url).status_code == 200
        for _ in range(3):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        wait_until(lambda: httpx.get(url).status_code == 503)
        stack.close()
        wait_until(lambda: httpx.get(url).status_code == 200)


def test_a_body_that_stops_or_comes_in_drops_is_given_up_and_one_that_keeps_coming_is_not(bundle_dir):
    settings = dataclasses.replace(QUICK, upload_grace_seconds=1.0, min_upload_rate=10_000.0)
    with served(bundle_dir, settings) as port:
        seconds, received = closed_after(port, POST + PART, b"x")
        assert seconds < PROMPTLY and b" 408 " in received.split(b"\r\n")[0] and b"bytes a second" in received
        assert closed_after(port, POST + PART, *[b"x"] * 40)[0] < 12  # not the 60 s of a body that keeps coming
        body = PART + bytes(99_990 - len(PART)) + b"\r\n--b--\r\n"
        head = POST.replace(b"100000", str(len(body)).encode() + b"\r\nConnection: close")
        pieces = [body[start : start + 12_000] for start in range(0, len(body), 12_000)]
        seconds, received = closed_after(port, head + pieces[0], *pieces[1:])
        assert b"HTTP/1.1 415" in received, received  # it arrived, 3.2 s long, and is no picture


def test_a_body_that_takes_too_long_is_given_up(bundle_dir):
    with served(bundle_dir, dataclasses.replace(QUICK, upload_seconds=1.0)) as port:
        seconds, received = closed_after(port, POST, b"--b\r\n")
        assert seconds < PROMPTLY and b" 408 " in received.split(b"\r\n")[0]


def test_a_refused_upload_is_read_to_its_end(bundle_dir):
    """Else its connection is reset, and whoever still sends, a proxy for one, may not see the refusal."""
    body = PART.replace(b"image", b"photo") + bytes(8 << 20) + b"\r\n--b--\r\n"
    head = POST.replace(b"100000", str(len(body)).encode())
    with served(bundle_dir, QUICK) as port, socket.create_connection(("127.0.0.1", port), timeout=15) as client:
        for _ in range(3):
            client.sendall(head + body)
            time.sleep(0.05)
            assert client.recv(4096).startswith(b"HTTP/1.1 422 ")  # and the connection serves the next one


def test_https_delivers_large_files_and_uses_a_connection_again(bundle_dir, large, tmp_path):
    pytest.importorskip("cryptography")
    from certificates import write_certificate

    certificate = write_certificate(tmp_path)
    with served(bundle_dir, QUICK, large, certificate) as port:
        trust = ssl.create_default_context(cafile=certificate[0])
        with httpx.Client(verify=trust, base_url=f"https://127.0.0.1:{port}") as client:
            for _ in range(2):
                assert client.get("/static/large.png").content == (large / "large.png").read_bytes()
                assert client.post("/v1/predict", files={"image": bytes(3 << 20)}).status_code == 415
        with pytest.raises(httpx.TransportError):  # what is no handshake is not answered, and hurts nobody
            httpx.get(f"http://127.0.0.1:{port}/healthz")
        assert httpx.get(f"https://127.0.0.1:{port}/healthz", verify=trust).json()["status"] == "ok"
