"""What the server says where it cannot listen, and what its log leaves out."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dr_edge.serve import startup

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def taken() -> int:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(1)
        yield busy.getsockname()[1]


def test_a_taken_port_is_named_with_what_to_do(taken: int, bundle_dir: Path) -> None:
    command = [sys.executable, "-m", "dr_edge.serve", f"--bundle={bundle_dir}", f"--port={taken}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY)
    assert result.returncode == 1
    assert f"127.0.0.1:{taken} is taken" in result.stderr and f"--port={taken + 1}" in result.stderr
    assert "Errno" not in result.stderr and "Traceback" not in result.stderr


def test_other_addresses_that_cannot_be_listened_on_are_told_apart(taken: int) -> None:
    with pytest.raises(OSError, match=r"203\.0\.113\.7:8000 is no address of this computer"):
        startup.listen("203.0.113.7", 8000)  # reserved for documentation
    with pytest.raises(OSError, match="no address of that name"):
        startup.listen("no.such.host.invalid", 8000)
    with pytest.raises(OSError, match="is taken"):
        startup.listen("localhost", taken)


def test_what_it_listens_at_is_told_and_reached() -> None:
    listening = startup.listen("localhost", 0)
    try:
        ports = {one.getsockname()[1] for one in listening}
        assert len(ports) == 1 and 0 not in ports  # one port, at 127.0.0.1 and ::1
        assert startup.url("localhost", listening, secure=True) == f"https://localhost:{ports.pop()}/"
        assert startup.url("::1", listening, secure=False).startswith("http://[::1]:")
        for one in listening:
            with socket.create_connection(one.getsockname()[:2], timeout=5):
                pass
            with pytest.raises(OSError, match="is taken"):
                startup.listen(*one.getsockname()[:2])
    finally:
        for one in listening:
            one.close()


def test_a_name_that_stands_for_an_address_twice_is_listened_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    once = socket.getaddrinfo("127.0.0.1", 0, type=socket.SOCK_STREAM)
    monkeypatch.setattr(startup.socket, "getaddrinfo", lambda *_, **__: once * 2)
    (one,) = startup.listen("localhost", 0)
    one.close()


def test_a_browser_that_goes_away_is_not_logged_piece_by_piece(caplog: pytest.LogCaptureFixture) -> None:
    async def write_to_nobody() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            client.close()
            for _ in range(40):
                writer.write(bytes(1 << 16))
                await asyncio.sleep(0.002)
            logging.getLogger("asyncio").warning("something else")
            writer.transport.abort()
            done.set()

        done = asyncio.Event()
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname()[:2])
        client.send(b"x")
        await asyncio.wait_for(done.wait(), 20)
        server.close()

    asyncio.run(write_to_nobody())
    assert startup.GONE in caplog.messages  # asyncio still words it so
    caplog.clear()
    startup.quiet_asyncio()
    try:
        asyncio.run(write_to_nobody())
    finally:
        logging.getLogger("asyncio").removeFilter(startup._of_use)
    assert caplog.messages == ["something else"]
