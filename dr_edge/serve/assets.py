"""The files that the server hands out: the page's, listed when it starts, and the bundle's artifacts. A request names
an entry of a list; it never becomes a path.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dr_edge import metadata
from dr_edge.bundle_files.digests import MANIFEST
from dr_edge.bundle_files.schema import DIGESTS
from dr_edge.bundle_files.signature import SIGNATURE
from dr_edge.serve.errors import RequestError

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
    ".sha256": "text/plain; charset=utf-8",
    ".sig": "application/octet-stream",
    ".tflite": "application/octet-stream",
}
SQUEEZED = (".html", ".css", ".js", ".mjs", ".json", ".wasm", ".webmanifest", ".svg", ".txt")
SQUEEZE_FROM = 1024  # bytes; below it the header costs more than it saves
CHUNK = 64 << 10  # bytes; the next ones are handed over when these were taken
NO_CACHE = "no-cache"  # keep it, but ask each time whether it is still the one: the ETag answers in a line


@dataclasses.dataclass(frozen=True)
class Asset:
    """A file in memory.

    Attributes:
      content: its bytes; squeezed: the same in gzip, or None where that is no shorter.
      media_type: for Content-Type.
      sha256: of `content`, 64 hexadecimal digits; the ETag.
    """

    content: bytes
    squeezed: bytes | None
    media_type: str
    sha256: str


class Assets:
    """The files below a directory, by their path relative to it; read again when they change on disk.

    Args:
      root: the directory; symbolic links and hidden files in it are left out.
    """

    def __init__(self, root: Path = STATIC) -> None:
        files = sorted(root.rglob("*")) if root.is_dir() else []
        self._paths = {
            path.relative_to(root).as_posix(): path
            for path in files
            if path.is_file() and not path.is_symlink() and not path.name.startswith(".") and path.suffix in TYPES
        }
        self._kept: dict[str, tuple[int, Asset]] = {}
        self._loading = threading.Lock()  # many clients at the same time must not each read and squeeze the file

    def names(self) -> list[str]:
        """Returns the names of all files."""
        return sorted(self._paths)

    def find(self, name: str) -> Asset | None:
        """Returns the file of that name, or None where none is listed."""
        path = self._paths.get(name)
        if path is None:
            return None
        try:
            with self._loading:
                changed = path.stat().st_mtime_ns
                kept = self._kept.get(name)
                if kept is None or kept[0] != changed:
                    kept = (changed, load_asset(path))
                    self._kept[name] = kept
        except FileNotFoundError:
            return None
        return kept[1]


def load_asset(path: Path) -> Asset:
    """Reads a file."""
    content = path.read_bytes()
    squeezed = None
    if path.suffix in SQUEEZED and len(content) >= SQUEEZE_FROM:
        squeezed = gzip.compress(content, 6, mtime=0)
    if squeezed is not None and len(squeezed) >= len(content):
        squeezed = None
    return Asset(content, squeezed, TYPES[path.suffix], hashlib.sha256(content).hexdigest())


def artifact_assets(directory: Path, manifest: Mapping[str, Any]) -> dict[str, Path]:
    """Returns name -> path of the `.tflite` artifacts that metadata.json lists; each was checked against its SHA-256.

    Raises:
      ManifestError: one is missing or differs.
    """
    listed = {entry["file"]: entry["sha256"] for entry in manifest["artifacts"].values() if entry["format"] == "tflite"}
    metadata.check_files(directory, listed)
    return {name: directory / name for name in listed}


def stated_assets(directory: Path) -> dict[str, Asset]:
    """Returns name -> file of what a bundle says of itself, for those who compare it.

    These are metadata.json, bundle.sha256 and its signature, as far as they are there.
    """
    paths = [directory / MANIFEST, directory / DIGESTS, directory / SIGNATURE]
    return {path.name: load_asset(path) for path in paths if path.is_file()}


class Piecewise(Response):
    """A response whose body leaves in pieces, so that a slow reader holds one in memory and not a copy of it all."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = b"" if scope["method"] == "HEAD" else self.body
        for start in range(0, len(body), CHUNK):
            await send({"type": "http.response.body", "body": bytes(body[start : start + CHUNK]), "more_body": True})
            await asyncio.sleep(0)  # uvicorn learns that the client went away; asyncio would log each further piece
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def respond(request: Request, asset: Asset, headers: Mapping[str, str] | None = None) -> Response:
    """Returns a file as a response: 304 where the browser has it, gzip where it takes it."""
    etag = f'"{asset.sha256}"'
    all_headers = {"ETag": etag, "Cache-Control": NO_CACHE, "Vary": "Accept-Encoding", **(headers or {})}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or "*" in known:
        return Response(status_code=304, headers=all_headers)
    content = asset.content
    if asset.squeezed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        content = asset.squeezed
        all_headers["Content-Encoding"] = "gzip"
    return Piecewise(content, headers=all_headers, media_type=asset.media_type)


def changed_on_disk(name: str) -> RequestError:
    """Returns the error for an artifact that is no longer the one that was checked."""
    return RequestError(
        503,
        "bundle changed",
        f"{name} was changed after the server started. Start the server again.",
        {"Retry-After": "60"},
    )
