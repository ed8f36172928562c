"""What the server sees to before it serves: an address to listen on, and a log that holds what is of use."""

from __future__ import annotations

import errno
import logging
import os
import socket
from typing import Any

GONE = "socket.send() raised exception."  # asyncio's words, once per piece, where a browser went away while loading
BACKLOG = 2048  # connections that wait to be accepted, as uvicorn has it


def listen(host: str, port: int) -> list[socket.socket]:
    """Listens at every address that a name stands for; what connects waits until the server takes it.

    Args:
      host: address or name.
      port: 0 for any free one, the same for all addresses.

    Raises:
      OSError: one cannot be listened on; says what to do.
    """
    listening: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(_found(host, port)):  # a name may stand for one twice
            listening.append(_listening(family, kind, protocol, (address[0], port, *address[2:])))
            port = listening[0].getsockname()[1]
    except OSError:
        for one in listening:
            one.close()
        raise
    return listening


def _listening(family: int, kind: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    try:
        one = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # of a closed server too; elsewhere it would share the port with another program
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen(BACKLOG)
        except OSError:
            one.close()
            raise
    except OSError as err:
        raise OSError(_words(err, address[0], address[1])) from err
    return one


def url(host: str, listening: list[socket.socket], secure: bool) -> str:
    """Returns the address of the page, for people."""
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{name}:{listening[0].getsockname()[1]}/"


def _found(host: str, port: int) -> list[tuple[int, int, int, str, tuple[Any, ...]]]:
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
    except socket.gaierror as err:
        raise OSError(f"--host={host}: no address of that name ({err.strerror}). Leave it out for this computer only.") from err


def _words(err: OSError, host: object, port: int) -> str:
    place = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    if err.errno == errno.EADDRINUSE:
        return (
            f"{place} is taken: another program listens there, perhaps this server, started before. End it, or choose "
            f"another with --port={port + 1 if port < 65535 else 8000} (--port=0 for any free one)."
        )
    if err.errno == errno.EACCES:
        return f"{place}: this user may not listen there. Choose one from 1024 on, for example --port=8000."
    if err.errno == errno.EADDRNOTAVAIL:
        return f"{place} is no address of this computer. Give one with --host, or leave it out for this computer only."
    return f"{place} cannot be listened on: {err.strerror}. Choose another with --host or --port."


def quiet_asyncio() -> None:
    """Keeps asyncio from logging a line for each piece of an answer that a browser did not wait for."""
    logging.getLogger("asyncio").addFilter(_of_use)


def _of_use(record: logging.LogRecord) -> bool:
    return record.getMessage() != GONE
