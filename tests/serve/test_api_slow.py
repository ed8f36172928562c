"""Clients that dawdle, with headers, bodies or reading; and crowds. The limits are of a second, which the command does not offer."""

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
from serving import PROMPTLY, QUICK, closed_after, ended, memory, served

from dr_edge.serve.settings import Settings

LARGE = 12 << 20  # bytes; no artifact of a stand-in is that large, but those of real bundles are


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
    client.sendall(b"GET /static/large.png HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return client


def rest(client: socket.socket) -> int:
    """Returns how many bytes come until the connection ends."""
    count = 0
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(1 << 20):
            count += len(data)
    return count


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
def test_those_who_ask_and_never_read_cost_little_and_are_dropped(bundle_dir, large):
    with served(bundle_dir, QUICK, large) as port:
        assert len(httpx.get(f"http://127.0.0.1:{port}/static/large.png").content) == LARGE
        before = memory()
        crowd = [asked(port) for _ in range(30)]
        time.sleep(0.6)
        assert memory() - before < 3 * LARGE  # not thirty copies
        time.sleep(2.5)
        for client in crowd:
            assert rest(client) < LARGE // 2
            client.close()
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


def test_a_slow_reader_who_does_read_gets_all(bundle_dir, large):
    with served(bundle_dir, dataclasses.replace(QUICK, write_seconds=0.5), large) as port, asked(port) as client:
        count, until = 0, time.monotonic() + 2.5
        while time.monotonic() < until:  # five periods, at 600 kB/s
            count += len(client.recv(30_000))
            time.sleep(0.05)
        assert count + rest_of_body(client, count) == LARGE + header_length(port)


def rest_of_body(client: socket.socket, count: int) -> int:
    total = 0
    while count + total < LARGE:
        total += len(client.recv(1 << 20))
    client.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while data := client.recv(1 << 20):
            total += len(data)
    return total


def header_length(port: int) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"HEAD /static/large.png HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b""
        while data := client.recv(4096):
            received += data
    return len(received) - len(b"Connection: close\r\n")


def test_a_drip_reader_is_dropped_too(bundle_dir, large):
    with served(bundle_dir, QUICK, large) as port, asked(port) as client:
        until = time.monotonic() + 4
        while time.monotonic() < until:
            client.recv(1)
            time.sleep(0.1)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):  # what had arrived can still be read, but nobody listens
            client.sendall(b"x")


def test_dawdlers_are_sent_away(bundle_dir):
    settings = Settings(workers=1, upload_seconds=1.0, header_seconds=1.0, max_connections=8)
    with served(bundle_dir, settings) as port:
        seconds, _ = closed_after(port, b"")
        assert seconds < PROMPTLY
        seconds, received = closed_after(port, b"GET /healthz HT", b"TP/1.1\r\n", b"Host: x\r\n")  # a header in drops
        assert seconds < PROMPTLY and b"200" not in received
        seconds, received = closed_after(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /h")  # on the second request
        assert received.count(b"HTTP/1.1 200") == 1 and seconds < PROMPTLY
        seconds, received = closed_after(port, POST, b"--b\r\n")
        assert seconds < PROMPTLY and b" 408 " in received.split(b"\r\n")[0]
        assert ended(port, 12) >= 12 - settings.max_connections


POST = (
    b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
)


def test_one_address_cannot_take_all_connections(bundle_dir):
    with served(bundle_dir, dataclasses.replace(QUICK, max_per_address=5)) as port:
        assert ended(port, 12) == 12 - 5


def test_a_body_in_drops_is_given_up_and_one_that_keeps_coming_is_not(bundle_dir):
    settings = dataclasses.replace(QUICK, upload_grace_seconds=1.0, min_upload_rate=10_000.0)
    part = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
    with served(bundle_dir, settings) as port:
        seconds, received = closed_after(port, POST + part, b"x")
        assert seconds < PROMPTLY and b" 408 " in received.split(b"\r\n")[0] and b"bytes a second" in received
        assert closed_after(port, POST + part, *[b"x"] * 40)[0] < 12  # not the 60 s of a body that keeps coming
        body = part + bytes(99_990 - len(part)) + b"\r\n--b--\r\n"
        head = POST.replace(b"100000", str(len(body)).encode() + b"\r\nConnection: close")
        pieces = [body[start : start + 12_000] for start in range(0, len(body), 12_000)]
        seconds, received = closed_after(port, head + pieces[0], *pieces[1:])
        assert b"HTTP/1.1 415" in received, received  # it arrived, 3.2 s long, and is no picture


def test_through_tls_a_large_file_arrives_whole_and_who_does_not_read_is_dropped(bundle_dir, large, tmp_path):
    pytest.importorskip("cryptography")
    from certificates import write_certificate

    certificate, key = write_certificate(tmp_path)
    with served(bundle_dir, QUICK, large, (certificate, key)) as port:
        trust = ssl.create_default_context(cafile=certificate)
        response = httpx.get(f"https://127.0.0.1:{port}/static/large.png", verify=trust)
        assert response.content == (large / "large.png").read_bytes()
        with trust.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1") as client:
            client.sendall(b"GET /static/large.png HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(3)  # it does not read
            with pytest.raises((ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)):
                client.sendall(b"x")
