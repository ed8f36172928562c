"""Outermost middleware: security headers on every response, error pages too; no POST that another site's page makes a
browser send; requests counted by route and status.
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dr_edge.serve.errors import error_response
from dr_edge.serve.metrics import Metrics

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "img-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
NO_STORE = {"Cache-Control": "no-store"}
UNMATCHED = "other"
READING = ("GET", "HEAD", "OPTIONS")
SAME = ("same-origin", "none")  # none: the user's own doing, such as an address that was typed
ANOTHER_SITE = (
    "A page of another site asked for this. Open this server's own page instead (a proxy in front must pass Host on)."
)


class SecurityMiddleware:
    """ASGI middleware.

    Args:
      app: what it surrounds.
      metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                for name, value in NO_STORE.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            if from_own_page(scope["method"], Headers(scope=scope)):
                await self._app(scope, receive, send_with_headers)
            else:
                response = error_response(403, "another site", ANOTHER_SITE)
                await response(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", UNMATCHED)  # the template: a path would count by the thousand
            self._metrics.request(route, status, time.perf_counter() - start)


def from_own_page(method: str, headers: Headers) -> bool:
    """Returns whether a request only reads, or comes from this server's page or from no page at all.

    The host check (TrustedHostMiddleware) keeps strangers' pages from reading answers through a name of their own; this
    check keeps them from posting a form here unread. Browsers state the origin, and pages cannot change it.
    """
    if method in READING:
        return True
    if headers.get("sec-fetch-site", "none") not in SAME:
        return False
    origin = headers.get("origin")
    return origin is None or _origin_host(origin) == headers.get("host", "").lower()


def _origin_host(origin: str) -> str | None:
    """Returns what Host would say for an origin; None for "null" and nonsense."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
