"""Every error of the application as JSON: {"error": {"status", "reason", "message"}}; never a trace, never a path.

Plain text are the 400s of what is no HTTP (uvicorn) and of a foreign Host (Starlette), and uvicorn's 503 for too many
connections.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

LOGGER = logging.getLogger("dr_edge.serve")
# PhotographError.reason -> status; every other reason is 422: the type is right, the content is not.
PHOTOGRAPH_STATUS = {
    "too many pixels": 413,
    "file too large": 413,
    "unsupported format": 415,
    "unsupported DICOM": 415,
    "pydicom is missing": 415,
    "pi-heif is missing": 415,
}
UNPROCESSABLE = 422
INTERNAL = "The server failed on this request; its log says where."
REASONS = {404: "not found", 405: "method not allowed"}


class RequestError(Exception):
    """A request that is not answered.

    Attributes:
      status: HTTP status, 4xx, 500 or 503.
      reason: short and stable.
      message: one sentence for people, with what to do.
      headers: further response headers.
    """

    def __init__(self, status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message
        self.headers = dict(headers or {})


class Busy(RequestError):
    """More is asked than can be done now: 503 with Retry-After."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(503, "busy", f"{message} Try again in {retry_after} s.", {"Retry-After": str(retry_after)})


def error_response(status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Returns an error as JSON."""
    content = {"error": {"status": status, "reason": reason, "message": message}}
    return Response(json.dumps(content), status, dict(headers or {}), media_type="application/json")


def install(app: FastAPI) -> None:
    """Makes `app` answer every error, expected or not, in this form."""
    app.add_exception_handler(RequestError, _request_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)


async def _request_error(_: Request, err: Exception) -> Response:
    if not isinstance(err, RequestError):
        raise err
    return error_response(err.status, err.reason, err.message, err.headers)


async def _http_error(_: Request, err: Exception) -> Response:
    if not isinstance(err, HTTPException):
        raise err
    reason = REASONS.get(err.status_code, "refused")
    message = f"{err.detail}. GET /docs lists what there is."
    return error_response(err.status_code, reason, message, err.headers)


async def _invalid(_: Request, err: Exception) -> Response:
    if not isinstance(err, RequestValidationError):
        raise err
    wrong = "; ".join(f"{'.'.join(map(str, row['loc']))}: {row['msg']}" for row in err.errors())
    return error_response(UNPROCESSABLE, "invalid request", f"{wrong}. GET /docs shows the request.")


async def _unexpected(_: Request, err: Exception) -> Response:
    LOGGER.error("unexpected %s", type(err).__name__, exc_info=err)
    return error_response(500, "internal error", INTERNAL)
