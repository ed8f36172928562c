"""uvicorn's HTTP connection with two limits that it lacks, time for a header to arrive and number of connections, and with
JSON for what is no HTTP.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


def limited_protocol(header_seconds: float, max_connections: int) -> type[asyncio.Protocol]:
    """Returns the class of connections that uvicorn is to use.

    Args:
      header_seconds: a connection that has not sent a whole request header by then is closed (slow loris).
      max_connections: connections beyond it are closed at once.
    """

    class LimitedProtocol(H11Protocol):
        _header_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > max_connections:
                transport.abort()
                return
            self._watch_header()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_header()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_watching()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """Answers what is no HTTP in the form of every other error."""
            body = json.dumps({"error": {"status": 400, "reason": "no HTTP", "message": msg}}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"connection", b"close"),
            ]
            events = (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage())
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
            self.transport.close()

        def _watch_header(self) -> None:
            """Starts the timer where a header is awaited, and stops it where a request is under way."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_watching()
            elif self._header_timer is None and not self.transport.is_closing():
                self._header_timer = self.loop.call_later(header_seconds, self._header_late)

        def _header_late(self) -> None:
            self._header_timer = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.abort()

        def _stop_watching(self) -> None:
            if self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None

    return LimitedProtocol
