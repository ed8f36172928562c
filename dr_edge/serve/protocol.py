"""uvicorn's HTTP connection with limits that it lacks: time for a header to arrive and for an answer to be taken, number of
connections in all and per address; and with JSON for what is no HTTP.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Collection
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from dr_edge.serve.settings import Settings
from dr_edge.serve.shield import HEADERS, NO_STORE

KERNEL_BYTES = 32 << 10  # unsent bytes that the kernel may hold per connection; what was taken is then seen early


def limited_protocol(settings: Settings) -> type[asyncio.Protocol]:
    """Returns the class of connections that uvicorn is to use.

    Args:
      settings: `header_seconds`: a connection that has not sent a whole request header by then is closed (slow loris).
        `write_seconds`, `min_write_rate`: one that takes less of its answer than that is aborted (slow reader).
        `max_connections`, `max_per_address`: further connections are closed at once. Through TLS a connection is made only
        when its handshake is done: `behind_tls` counts from accept on.
    """

    class LimitedProtocol(H11Protocol):
        _header_timer: asyncio.TimerHandle | None = None
        _write_timer: asyncio.TimerHandle | None = None
        _unsent = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if crowded(self, self.connections, settings):
                transport.abort()
                return
            _bound_buffers(transport)
            self._watch_header()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_header()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_watching()
            self._stop_write_timer()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            """Waits for the other side to take what was written; the transport calls this as soon as anything is left."""
            super().pause_writing()
            self._stop_write_timer()
            self._unsent = self.transport.get_write_buffer_size()
            self._write_timer = self.loop.call_later(settings.write_seconds, self._check_writing)

        def resume_writing(self) -> None:
            """Goes on: all was taken."""
            self._stop_write_timer()
            super().resume_writing()

        def _check_writing(self) -> None:
            left = self.transport.get_write_buffer_size()  # nothing is added to it while writing is paused
            if self._unsent - left < min(self._unsent, settings.min_write_rate * settings.write_seconds):
                _reset(self.transport)
                return
            self._unsent = left
            self._write_timer = self.loop.call_later(settings.write_seconds, self._check_writing)

        def _stop_write_timer(self) -> None:
            if self._write_timer is not None:
                self._write_timer.cancel()
                self._write_timer = None

        def send_400_response(self, msg: str) -> None:
            """Answers what is no HTTP in the form of every other error."""
            body = json.dumps({"error": {"status": 400, "reason": "no HTTP", "message": msg}}).encode()
            about = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
            named = {**about, **HEADERS, **NO_STORE}
            headers = [(name.lower().encode(), value.encode()) for name, value in named.items()]
            events = (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage())
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
            self.transport.close()

        def _watch_header(self) -> None:
            """Starts the timer where a header is awaited, and stops it where a request is under way."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_watching()
            elif self._header_timer is None and not self.transport.is_closing():
                self._header_timer = self.loop.call_later(settings.header_seconds, self._header_late)

        def _header_late(self) -> None:
            self._header_timer = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.abort()

        def _stop_watching(self) -> None:
            if self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None

    return LimitedProtocol


def crowded(one: Any, connections: Collection[Any], settings: Settings) -> bool:
    """Returns whether there are more connections than may be, in all or from the address of `one`, which is among them."""
    here = sum(_address(other) == _address(one) for other in connections)
    return len(connections) > settings.max_connections or here > settings.max_per_address


def _address(connection: Any) -> Any:
    return (getattr(connection, "client", None) or (None,))[0]


def _bound_buffers(transport: asyncio.WriteTransport) -> None:
    """Has the transport report anything that was not taken, and the kernel hold little beyond what is on its way."""
    # Through TLS a mark of 0 would be reached by an empty buffer, and writing would pause for ever.
    high = 0 if transport.get_extra_info("ssl_object") is None else 1
    transport.set_write_buffer_limits(high=high, low=0)
    option, sock = getattr(socket, "TCP_NOTSENT_LOWAT", None), transport.get_extra_info("socket")
    if option is not None and sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, option, KERNEL_BYTES)


def _reset(transport: asyncio.WriteTransport) -> None:
    """Ends a connection, and drops what the kernel holds for it, which it would otherwise go on offering."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
