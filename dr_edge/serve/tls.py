"""TLS in front of the HTTP connections, bounded from accept on.

With a certificate of its own, uvicorn leaves the handshake to asyncio, which allows 60 s for it and makes the HTTP
connection only when it is done: until then nobody counts, and sockets that say nothing are all kept. So uvicorn listens for
plain TCP here and makes a `Handshake` of each connection, which counts it, gives it as long as a header gets, and then hands
it over to the HTTP connection. By public means of asyncio only: `loop.start_tls`, `Transport.set_protocol`.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from dr_edge.serve.protocol import crowded
from dr_edge.serve.settings import Settings


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """Returns what speaks TLS with a certificate.

    Args:
      certificate, key: PEM files.

    Raises:
      OSError: one cannot be read, or they do not belong together; says what to do.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as err:  # ssl.SSLError is one
        raise OSError(
            f"--tls_certificate={certificate} and --tls_key={key} cannot be used: {err.strerror or err}. "
            "Give the PEM files of a certificate and of its private key."
        ) from err
    return context


def behind_tls(http: type[asyncio.Protocol], settings: Settings, context: ssl.SSLContext) -> type[asyncio.Protocol]:
    """Returns the class of connections that uvicorn is to use, without a certificate of its own.

    Args:
      http: from `limited_protocol`, for what comes through the handshake.
      settings: `header_seconds`: a handshake, and a farewell, must be done by then. `max_connections`, `max_per_address`:
        handshakes count.
      context: from `tls_context`.
    """
    shaking: set[Any] = set()

    class Handshake(asyncio.Protocol):
        def __init__(self, **given: Any) -> None:
            self._given = given
            self._early = bytearray()
            self._task: asyncio.Task[None] | None = None
            self.client: tuple[Any, ...] | None = None

        def connection_made(self, transport: Any) -> None:
            self.client = transport.get_extra_info("peername")
            if crowded(self, [self, *shaking, *self._given["server_state"].connections], settings):
                transport.abort()
                return
            shaking.add(self)
            self._task = asyncio.get_running_loop().create_task(self._shake(transport))

        def data_received(self, data: bytes) -> None:
            """Keeps what came in one piece with the end of the handshake, before `_shake` goes on."""
            self._early += data

        async def _shake(self, plain: Any) -> None:
            loop, seconds = asyncio.get_running_loop(), settings.header_seconds
            try:
                secure = await loop.start_tls(
                    plain, self, context, server_side=True, ssl_handshake_timeout=seconds, ssl_shutdown_timeout=seconds
                )
            except OSError:  # no TLS, or not in time
                plain.abort()
                return
            finally:
                shaking.discard(self)
            if secure is None or plain.is_closing():  # it went away in the same moment
                plain.abort()
                return
            connection = http(**self._given)
            secure.set_protocol(connection)
            connection.connection_made(secure)
            if self._early and not secure.is_closing():
                connection.data_received(bytes(self._early))

    return Handshake
