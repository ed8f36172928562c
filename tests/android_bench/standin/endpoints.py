"""Stand-in ends of the adb protocol for what the packaged adbd cannot be made to do: distrust, and silence.

The adb program that talks to them is the real one.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

AUTH, TOKEN = 0x48545541, 1


@contextlib.contextmanager
def distrusting() -> Iterator[int]:
    """A phone that shows 'Allow USB debugging?' and is not answered; yields its port on this machine."""
    with _serving(_distrust) as port:
        yield port


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A phone that takes the connection and never says a word; yields its port on this machine."""
    with _serving(lambda connection: connection.recv(1 << 16)) as port:
        yield port


@contextlib.contextmanager
def _serving(speak) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                taken.append(connection)
                threading.Thread(target=_quietly, args=(speak, connection), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        for opened in (listener, *taken):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()


def _quietly(speak, connection: socket.socket) -> None:
    with contextlib.suppress(OSError, struct.error):
        speak(connection)


def _distrust(connection: socket.socket) -> None:
    """Asks for a signature, and again, until adb sends its public key: a real phone asks its user then."""
    while True:
        head = _exactly(connection, 24)
        command, kind, _, length, _, _ = struct.unpack("<6I", head)
        _exactly(connection, length)
        if command == AUTH and kind == 3:  # the public key
            connection.recv(1)
            return
        token = b"\x5a" * 20
        connection.sendall(struct.pack("<6I", AUTH, TOKEN, 0, 20, sum(token), AUTH ^ 0xFFFFFFFF) + token)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise OSError("closed")
        data += piece
    return data
