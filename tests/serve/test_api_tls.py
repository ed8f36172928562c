"""Through TLS: who says nothing, or what is no handshake, is counted from accept on and sent away in time."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
import struct
from pathlib import Path

import httpx
import pytest
from serving import PROMPTLY, QUICK, closed_after, ended, served, wait_until

from dr_edge.serve import tls

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    pytest.importorskip("cryptography")
    from certificates import write_certificate

    return write_certificate(tmp_path_factory.mktemp("certificate"))


def trust(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate[0])


def connected(port: int, certificate: tuple[Path, Path]) -> ssl.SSLSocket:
    """Returns a connection whose handshake is done."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    return trust(certificate).wrap_socket(plain, server_hostname="127.0.0.1")


@pytest.mark.parametrize("limit", ["max_connections", "max_per_address"])
def test_silent_connections_are_counted_from_accept_on(bundle_dir, certificate, limit):
    settings = dataclasses.replace(QUICK, header_seconds=5.0, **{limit: 6})
    with served(bundle_dir, settings, certificate=certificate) as port, connected(port, certificate) as client:
        client.sendall(REQUEST)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert ended(port, 60) == 55  # all but the five that may be besides the one that is at home


def test_a_handshake_has_as_long_as_a_header(bundle_dir, certificate):
    with served(bundle_dir, QUICK, certificate=certificate) as port:
        for pieces in ((b"",), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0", b"\0", b"\0")):  # a hello in drops
            seconds, received = closed_after(port, *pieces)
            assert 0.9 < seconds < PROMPTLY and received == b""
        with connected(port, certificate) as client:  # the header's own time begins after it
            wait_until(lambda: is_closed_secure(client), PROMPTLY)


def is_closed_secure(client: ssl.SSLSocket) -> bool:
    client.settimeout(0.1)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except (ConnectionResetError, ssl.SSLEOFError):
        return True


def test_failed_handshakes_give_their_places_back(bundle_dir, certificate):
    settings = dataclasses.replace(QUICK, max_per_address=4)
    with served(bundle_dir, settings, certificate=certificate) as port:
        for piece in (b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\x16\x03\x01", b""):
            for reset in (False, True):
                for _ in range(4):
                    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                        client.sendall(piece)
                        if reset:
                            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                wait_until(lambda: all_can_talk(port, certificate, 4))
        assert not all_can_talk(port, certificate, 5)


def all_can_talk(port: int, certificate: tuple[Path, Path], count: int) -> bool:
    """Returns whether so many connections at the same time are answered."""
    with contextlib.ExitStack() as stack:
        try:
            clients = [stack.enter_context(connected(port, certificate)) for _ in range(count)]
            for client in clients:
                client.sendall(REQUEST)
            return all(client.recv(1000).startswith(b"HTTP/1.1 200 ") for client in clients)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            return False


def test_a_request_in_one_piece_with_the_end_of_the_handshake_is_answered(bundle_dir, certificate):
    with served(bundle_dir, QUICK, certificate=certificate) as port:
        for _ in range(5):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            secure = trust(certificate).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
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


def test_connections_that_stay_open_are_used_again(bundle_dir, certificate):
    with served(bundle_dir, QUICK, certificate=certificate) as port, httpx.Client(verify=trust(certificate)) as client:
        for _ in range(3):
            assert client.get(f"https://127.0.0.1:{port}/healthz").json()["status"] == "ok"
        assert client.post(f"https://127.0.0.1:{port}/v1/predict", files={"image": bytes(3 << 20)}).status_code == 415


def test_files_that_are_no_certificate_are_named(certificate, tmp_path):
    _, key = certificate
    with pytest.raises(OSError, match=r"nowhere\.pem and --tls_key=.*key\.pem cannot be used: No such file.*PEM files"):
        tls.tls_context("nowhere.pem", str(key))
    (tmp_path / "cert.pem").write_text("no certificate")
    with pytest.raises(OSError, match=r"cert\.pem and --tls_key=.* cannot be used.*PEM files"):
        tls.tls_context(str(tmp_path / "cert.pem"), str(key))
