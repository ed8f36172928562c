"""Handshakes with the server itself: who fails one holds no place, and what comes right behind one is not lost."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
import struct
from pathlib import Path

import httpx
import pytest
from serving import QUICK, served

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
NO_HANDSHAKE = (b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\x16\x03\x01", b"")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    pytest.importorskip("cryptography")
    from certificates import write_certificate

    return write_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def trust(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate[0])


@pytest.mark.parametrize("reset", [False, True])
def test_failed_handshakes_hold_no_place(bundle_dir, certificate, trust, reset):
    """Neither while they are open, whatever came or did not come, nor when they ended, politely or not."""
    with served(bundle_dir, dataclasses.replace(QUICK, max_connections=4), certificate=certificate) as port:
        with contextlib.ExitStack() as stack:
            for piece in NO_HANDSHAKE * 4:
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                client.sendall(piece)
                if reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert are_answered(port, trust, 3)
        assert are_answered(port, trust, 3)
        assert not are_answered(port, trust, 4)  # the limit is there


def are_answered(port: int, trust: ssl.SSLContext, count: int) -> bool:
    """Tells whether so many connections at the same time are answered."""
    url = f"https://127.0.0.1:{port}/healthz"
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(verify=trust)) for _ in range(count)]
        return {client.get(url).status_code for client in clients} == {200}


def test_a_request_in_one_piece_with_the_end_of_the_handshake_is_answered(bundle_dir, certificate, trust):
    with served(bundle_dir, QUICK, certificate=certificate) as port:
        for _ in range(5):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            secure = trust.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                with contextlib.suppress(ssl.SSLWantReadError):
                    secure.do_handshake()
                client.sendall(outgoing.read())
                while outgoing.pending == 0:
                    incoming.write(client.recv(1 << 16))
                    with contextlib.suppress(ssl.SSLWantReadError):
                        secure.do_handshake()
                secure.write(REQUEST)
                client.sendall(outgoing.read())  # the last message of the handshake, and the request
                answer = b""
                while not answer:
                    received = client.recv(1 << 16)
                    assert received, "closed without an answer"
                    incoming.write(received)
                    with contextlib.suppress(ssl.SSLWantReadError):
                        answer = secure.read(1000)
                assert answer.startswith(b"HTTP/1.1 200 ")
