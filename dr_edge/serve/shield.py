"""Around everything, its error pages too: security headers on every response, strangers' callers refused, and counts of
requests by route and status.
"""

from __future__ import annotations

import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dr_edge.serve import callers
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


class Shield:
    """ASGI middleware.

    Args:
      app: what it surrounds.
      metrics: where requests are counted.
      allowed_hosts: names that are answered to; None for any.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, allowed_hosts: tuple[str, ...] | None = None) -> None:
        self._app, self._metrics, self._allowed = app, metrics, allowed_hosts

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
            refused = callers.refusal(scope["method"], Headers(scope=scope), self._allowed)
            if refused is None:
                await self._app(scope, receive, send_with_headers)
            else:
                response = error_response(refused.status, refused.reason, refused.message, {"Connection": "close"})
                await response(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", UNMATCHED)  # the template: a path would count by the thousand
            self._metrics.request(route, status, time.perf_counter() - start)
