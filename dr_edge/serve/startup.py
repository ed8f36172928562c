"""Set up before the server serves: the names and the address that it answers to, and uvicorn with its limits."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dr_edge.serve.settings import Settings

if TYPE_CHECKING:
    import uvicorn

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
ANY = "*"
NGINX = Path(__file__).parent / "nginx.conf"
NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")  # *.example.org: every name below it
BACKLOG = 2048  # connections that wait to be accepted, as uvicorn has it
LISTEN_HINTS = {
    errno.EADDRINUSE: (
        "is taken: another program listens there, perhaps this server, started before. End it, or choose "
        "another port with --port (--port=0 for any free one)."
    ),
    errno.EACCES: "may not be listened on by this user. Choose a port from 1024 on, for example --port=8000.",
    errno.EADDRNOTAVAIL: "is no address of this computer. Give one with --host, or leave it out for this one only.",
}


def is_loopback(host: str) -> bool:
    """Returns whether an address to listen on is reached from this computer only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_hosts(host: str, named: list[str]) -> tuple[str, ...]:
    """Returns the names in a request's Host that are answered, for TrustedHostMiddleware; ("*",) for any.

    A page of a stranger can have its own name point at 127.0.0.1 (DNS rebinding) and would then read the answers.

    Args:
      host: the address to listen on. On another than loopback people use names that are not known here: any is
        answered, unless some are named.
      named: further names, "*.NAME" for all below one; "*" for any.

    Raises:
      ValueError: one is no name.
    """
    further = [f"[{name}]" if ":" in name and "[" not in name and _is_address(name) else name for name in named]
    for name in further:
        if name != ANY and NAME.fullmatch(name.lower()) is None:
            raise ValueError(
                f"--allowed_hosts={name}: no name of a host. Give names alone, such as clinic.example.org or "
                "*.example.org, without https:// and without a port."
            )
    if ANY in further or (not is_loopback(host) and not further):
        return (ANY,)
    own = f"[{host}]" if ":" in host else host
    return tuple(dict.fromkeys(name.lower() for name in (*LOOPBACK_NAMES, own, *further)))


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def listen(host: str, port: int) -> list[socket.socket]:
    """Listens at every address that a name stands for; what connects waits until the server takes it.

    uvicorn itself would do so after the workers have started, and end with a bare errno.

    Args:
      host: address or name.
      port: 0 for any free one, the same for all addresses.

    Raises:
      OSError: one cannot be listened on; says what to do.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as err:
        hint = f"no address of that name ({err.strerror}). Leave it out for this computer only."
        raise OSError(f"--host={host}: {hint}") from err
    listening: list[socket.socket] = []
    for family, address in dict.fromkeys((family, address) for family, *_, address in found):
        place = f"[{address[0]}]:{port}" if family == socket.AF_INET6 else f"{address[0]}:{port}"
        try:
            one = socket.create_server((address[0], port, *address[2:]), family=family, backlog=BACKLOG)
        except OSError as err:
            for other in listening:
                other.close()
            other_hint = "cannot be listened on. Choose another with --host or --port."
            raise OSError(f"{place} {LISTEN_HINTS.get(err.errno or 0, other_hint)}") from err
        listening.append(one)
        port = listening[0].getsockname()[1]
    return listening


def exposed(host: str, secure: bool) -> str:
    """Returns what to say where other computers reach the server itself."""
    plain = "" if secure else " and photographs travel unencrypted"
    return (
        f"Listening on {host}: whoever reaches this address can use it. There is no password{plain}, and clients that "
        f"keep connections open can shut others out. Put nginx in front instead, as in {NGINX}."
    )


def url(host: str, port: int, secure: bool) -> str:
    """Returns the address of the page, for people."""
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{name}:{port}/"


def uvicorn_config(
    application: Any, settings: Settings, certificate: str | None = None, key: str | None = None
) -> uvicorn.Config:
    """Returns uvicorn's configuration, loaded.

    Args:
      application: from `create_app`.
      settings: `max_connections`, `keep_alive_seconds`.
      certificate, key: PEM files, for https.

    Raises:
      OSError: one of the files cannot be read, or they do not belong together; says what to do.
    """
    import uvicorn

    config = uvicorn.Config(
        application,
        http="h11",  # bounds an unfinished header to 64 KiB; httptools, which "auto" would prefer, does not
        ws="none",
        server_header=False,
        access_log=False,
        log_level="info",
        log_config=None,  # its lines in the format of the command's own
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=10,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    try:
        config.load()
    except OSError as err:  # ssl.SSLError is one
        raise OSError(
            f"--tls_certificate={certificate} and --tls_key={key} cannot be used: {err.strerror or err}. "
            "Give the PEM files of a certificate and of its private key."
        ) from err
    return config
