"""The web application: the page and its files, the bundle, and `POST /v1/predict`."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Query, Request
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from dr_edge.bundle_files.schema import DIGESTS
from dr_edge.prediction.answer import check_label
from dr_edge.prediction.bundle import Bundle
from dr_edge.prediction.schema import SCHEMA, SCHEMA_VERSION, Answer
from dr_edge.serve import assets, docs, errors
from dr_edge.serve.assets import Asset, Assets
from dr_edge.serve.errors import RequestError
from dr_edge.serve.metrics import CONTENT_TYPE_LATEST, Metrics
from dr_edge.serve.middleware import SecurityMiddleware
from dr_edge.serve.pool import Pool
from dr_edge.serve.settings import Settings
from dr_edge.serve.upload import Gate, Upload

DESCRIPTION = (
    "Answers fundus photographs with one exported bundle. A photograph is held in memory while it is graded, and "
    "nowhere else. No medical device."
)
READ = ["GET", "HEAD"]
FORM = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {
                    "image": {
                        "type": "string",
                        "format": "binary",
                        "description": "JPEG, PNG, TIFF, BMP, WebP, HEIC or DICOM.",
                    },
                    "label": {"type": "string", "description": "A class name to set the answer beside."},
                },
            }
        }
    },
}
REFUSALS = {
    400: "the form cannot be read, or Host is not a name of this server (--allowed_hosts)",
    408: "the body did not arrive in time",
    413: "too many bytes or pixels",
    415: "no form, or no picture format that is read",
    403: "another site's page asked",
    422: "truncated, corrupt, too small, an unknown label or field",
    500: "a fault of the server, which its log tells",
    503: "busy; Retry-After says when to come again",
}


@dataclasses.dataclass(frozen=True)
class UploadAnswer(Answer):
    """The answer to an upload: that of `python -m dr_edge.predict`, and with `?pictures=1` name -> PNG as data URL."""

    schema: str = SCHEMA
    schema_version: int = SCHEMA_VERSION
    bundle: dict[str, Any] = dataclasses.field(default_factory=dict)
    pictures: dict[str, str] | None = None


class Server:
    """What the routes share.

    Args:
      bundle: from `open_bundle`.
      settings: limits.
      static: the page's files.

    Raises:
      ManifestError: an artifact of the bundle is missing or differs from metadata.json.
    """

    def __init__(self, bundle: Bundle, settings: Settings, static: Assets) -> None:
        self.bundle, self.settings, self.static = bundle, settings, static
        self.pool, self.gate, self.metrics = Pool(bundle, settings), Gate(settings), Metrics()
        self._artifacts = assets.artifact_assets(bundle.directory, bundle.manifest)
        self._loaded: dict[str, Asset] = {}
        self._loading = asyncio.Lock()  # forty clients at the same time must not each read the file
        self.stated = assets.stated_assets(bundle.directory)
        self.manifest = self._manifest()
        self.metrics.watch("workers", "Workers that are alive.", lambda: self.pool.ready)
        self.metrics.watch("uploads", "Uploads that wait or are graded.", lambda: self.gate.admitted)
        self.metrics.watch("buffered_bytes", "Bytes of uploads in memory.", lambda: self.gate.buffered)
        self.metrics.watch_reasons("workers_replaced", "Workers ended and started anew.", self.pool.counts.by_reason)

    def _manifest(self) -> Asset:
        """Returns metadata.json with what this server does with it under "serve"."""
        point = self.bundle.operating_point
        serve = {
            "artifact": self.bundle.artifact,
            "min_quality": self.bundle.min_quality,
            "operating_point": None if point is None else point.name,
            "max_upload_bytes": self.settings.max_upload_bytes,
            "max_pixels": self.settings.max_pixels,
            "digests": DIGESTS in self.stated,
        }
        content = json.dumps(
            {**self.bundle.manifest, "verdict": dict(self.bundle.verdict), "serve": serve}, allow_nan=False
        ).encode()
        return Asset(content, None, "application/json", hashlib.sha256(content).hexdigest())

    async def artifact(self, name: str) -> Asset:
        """Returns an artifact's file; raises RequestError where none of that name is listed, or it was changed."""
        path = self._artifacts.get(name)
        if path is None:
            known = ", ".join(sorted(self._artifacts))
            raise RequestError(404, "not found", f"The bundle lists no such model. It has: {known}.")
        async with self._loading:
            if name not in self._loaded:
                asset = await asyncio.to_thread(assets.load_asset, path)
                stated = {entry["file"]: entry["sha256"] for entry in self.bundle.manifest["artifacts"].values()}
                if asset.sha256 != stated[name]:
                    raise assets.changed_on_disk(name)
                self._loaded[name] = asset
            return self._loaded[name]

    async def predict(self, request: Request, pictures: bool) -> Response:
        """Receives a photograph and has it answered. It takes a place when it is whole: slow senders take none."""
        try:
            self.gate.check()
            async with self.gate.receive(request) as upload:
                self._check(upload)
                with self.gate.admit():
                    status, answer = await self.pool.predict(upload.image, upload.label, pictures)
        except RequestError as err:
            self.metrics.answer(err.reason)
            raise
        self.metrics.answer(status)
        return assets.Piecewise(answer, media_type="application/json")

    def _check(self, upload: Upload) -> None:
        if upload.label is None:
            return
        try:
            check_label(self.bundle, upload.label)
        except ValueError as err:
            raise RequestError(422, "unknown label", str(err)) from err


class _Application(FastAPI):
    """FastAPI with the headers outermost: Starlette answers an unexpected error from outside all other middleware."""

    def build_middleware_stack(self) -> ASGIApp:
        """Returns the application in its layers."""
        return SecurityMiddleware(super().build_middleware_stack(), self.state.server.metrics)


def create_app(bundle: Bundle, settings: Settings | None = None, static: Assets | None = None) -> FastAPI:
    """Builds the application.

    Args:
      bundle: from `open_bundle`.
      settings: limits; None for the default ones.
      static: the page's files; None for the package's own.
    """
    server = Server(bundle, settings or Settings(), static or Assets())

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await server.pool.start()
            yield
        finally:
            await server.pool.close()

    app = _Application(
        title="dr_edge", description=DESCRIPTION, version="1", lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=server.settings.allowed_hosts, www_redirect=False)
    errors.install(app)
    _add_api(app, server)
    _add_files(app, server)
    app.state.server = server
    return app


def _add_api(app: FastAPI, server: Server) -> None:
    problems: dict[int | str, dict[str, Any]] = {code: {"description": text} for code, text in REFUSALS.items()}

    @app.post(
        "/v1/predict",
        summary="Answer a photograph",
        response_class=Response,
        responses={200: {"model": UploadAnswer, "description": "the answer"}, **problems},
        openapi_extra={"requestBody": FORM},
    )
    async def predict(
        request: Request, pictures: bool = Query(False, description="Also return crop and overlay as data URLs.")
    ) -> Response:
        return await server.predict(request, pictures)

    @app.head("/v1/bundle", include_in_schema=False)
    @app.get("/v1/bundle", summary="metadata.json of the bundle", operation_id="bundle")
    async def bundle(request: Request) -> Response:
        return assets.respond(request, server.manifest)

    @app.head("/v1/bundle/{name}", include_in_schema=False)
    @app.get(
        "/v1/bundle/{name}",
        summary="metadata.json, bundle.sha256 and its signature, bundle.sha256.sig, byte for byte",
        operation_id="bundle_file",
        responses={404: {"description": "no such file, as the signature of a bundle that is not signed"}},
    )
    async def bundle_file(request: Request, name: str) -> Response:
        if name not in server.stated:
            raise RequestError(404, "not found", f"It hands out: {', '.join(server.stated)}.")
        return assets.respond(request, server.stated[name])

    @app.head("/v1/model/{name}", include_in_schema=False)
    @app.get(
        "/v1/model/{name}",
        summary="A .tflite that metadata.json lists",
        operation_id="model",
        responses={404: {"description": "metadata.json lists no such file"}},
    )
    async def model(request: Request, name: str) -> Response:
        return assets.respond(request, await server.artifact(name))

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", summary="Whether it works", operation_id="healthz")
    async def healthz() -> Response:
        ready, wanted = server.pool.ready, server.settings.workers
        content = {"status": "ok" if ready else "no worker", "workers": ready, "workers_wanted": wanted}
        headers = {} if ready else {"Retry-After": "5"}
        return Response(json.dumps(content), 200 if ready else 503, headers, media_type="application/json")

    @app.get("/metrics", summary="For Prometheus")
    async def metrics() -> Response:
        return Response(server.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _add_files(app: FastAPI, server: Server) -> None:
    def file(request: Request, name: str, headers: dict[str, str] | None = None) -> Response:
        found = server.static.find(name)
        if found is None:
            raise RequestError(404, "not found", "No such file. GET /docs lists what there is.")
        return assets.respond(request, found, headers)

    @app.api_route("/", methods=READ, include_in_schema=False)
    def page(request: Request) -> Response:
        return file(request, "index.html")

    # At the root, since a service worker reaches no further up than where it lies.
    @app.api_route("/sw.js", methods=READ, include_in_schema=False)
    def service_worker(request: Request) -> Response:
        return file(request, "sw.js", {"Service-Worker-Allowed": "/"})

    @app.api_route("/manifest.webmanifest", methods=READ, include_in_schema=False)
    def web_manifest(request: Request) -> Response:
        return file(request, "manifest.webmanifest")

    @app.api_route("/static/{name:path}", methods=READ, include_in_schema=False)
    def static_file(request: Request, name: str) -> Response:
        return file(request, name)

    @app.api_route("/docs", methods=READ, include_in_schema=False)
    def documentation() -> Response:
        return HTMLResponse(docs.page(app.openapi(), server.bundle))

    @app.api_route("/docs/style.css", methods=READ, include_in_schema=False)
    def documentation_style(request: Request) -> Response:
        return assets.respond(request, docs.style())
