"""Who may call: requests for a name that is this server's, and no POST that another site's page makes a browser send.

A page of a stranger can have its own name point at 127.0.0.1 (DNS rebinding) and would then read the answers; it can also
post a form here without reading the answer. Browsers name the host and the origin, and pages cannot change either.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers

from dr_edge.serve.errors import RequestError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
ANY = "*"
READING = ("GET", "HEAD", "OPTIONS")
SAME = ("same-origin", "none")  # none: the user's own doing, such as an address that was typed


def hosts_for(host: str, loopback: bool, named: tuple[str, ...]) -> tuple[str, ...] | None:
    """Returns the names that a server answers to; None for any.

    Args:
      host: the address that it listens on.
      loopback: whether only this computer reaches it. On another address people use names that are not known here: any
        is taken, unless some are named.
      named: further names; "*" for any.
    """
    if ANY in named or (not loopback and not named):
        return None
    return tuple(dict.fromkeys(name.strip("[]").lower() for name in (*LOOPBACK_NAMES, host, *named)))


def refusal(method: str, headers: Headers, allowed: tuple[str, ...] | None) -> RequestError | None:
    """Returns why a request is refused, 403, or None.

    Args:
      method: of the request.
      headers: of the request.
      allowed: from `hosts_for`.
    """
    host = headers.get("host", "").lower()
    if allowed is not None and _name(host) not in allowed:
        return RequestError(
            403,
            "unknown host",
            f"This server does not answer to the name {host[:100]!r}. If that is its name, start it with "
            "--allowed_hosts=NAME.",
        )
    if method in READING:
        return None
    origin = headers.get("origin")
    if headers.get("sec-fetch-site", "none") in SAME and (origin is None or _origin_host(origin) == host):
        return None
    return RequestError(
        403,
        "another site",
        "A page of another site asked for this. Open this server's own page instead (a proxy in front must pass Host on).",
    )


def _name(host: str) -> str:
    """Returns a Host header's value without port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _origin_host(origin: str) -> str | None:
    """Returns what Host would say for an origin; None for "null" and nonsense."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
