"""What the server sees to before it listens: an address that is free, and a log that holds what is of use."""

from __future__ import annotations

import errno
import logging
import socket

GONE = "socket.send() raised exception."  # asyncio's words, once per piece, where a browser went away while loading


def check_address(host: str, port: int) -> None:
    """Raises OSError, in words that say what to do, where `host`:`port` cannot be listened on; 0 stands for any free port."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as err:
        raise OSError(f"--host={host}: no address of that name ({err.strerror}). Leave it out for this computer only.") from err
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: of a closed one too
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(address)
                probe.listen(1)
            except OSError as err:
                raise OSError(_words(err, address[0], port)) from err


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
