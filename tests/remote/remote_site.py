"""A bundle of a few small files, and a server on this computer that hands it out, also badly."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import io
import json
import ssl
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

FILES = {
    "model.float32.tflite": bytes(range(256)) * 4000,
    "parity.json": b'{"split": "test"}',
    "MODEL_CARD.md": b"# Model card\n",
    "README.md": b"# Model card\n",
    "triton/dr_edge_onnx/1/model.onnx": b"onnx",
}
KEPT = ["MODEL_CARD.md", "metadata.json", "model.float32.tflite", "parity.json"]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def manifest(held: dict[str, bytes], **changed: object) -> bytes:
    """Returns the metadata.json of a bundle that holds these files."""
    name = "model.float32.tflite"
    entry = {"file": name, "sha256": digest(held[name]), "bytes": len(held[name]), "variant": "float32"}
    content = {
        "schema": "dr_edge.bundle", "version": 1, "image_size": 64, "preprocess": {"method": "crop"},
        "task": {"name": "referable_dr", "kind": "classification", "class_names": ["no", "yes"]},
        "inputs": [{"name": "image", "shape": [1, 64, 64, 3], "dtype": "uint8"}],
        "outputs": [{"name": "probabilities", "shape": [1, 2], "dtype": "float32"}],
        "artifacts": {"float32.tflite": entry | {"format": "tflite"}},
        "files": {name: digest(data) for name, data in held.items()},
    }  # fmt: skip
    return json.dumps(content | changed).encode()


def kept(directory: Path) -> list[str]:
    """Returns the names below a kept bundle, after every byte was compared."""
    names = sorted(path.name for path in directory.iterdir())
    assert all((directory / name).read_bytes() == FILES[name] for name in names if name != "metadata.json")
    return names


def left(bundle_cache: Path) -> list[str]:
    """Returns what stands in the cache under a bundle's name."""
    return (
        [path.name for path in bundle_cache.iterdir() if not path.name.startswith(".")] if bundle_cache.exists() else []
    )


@dataclasses.dataclass
class Site:
    """What the server has: path -> bytes, or a function that answers by itself; and what was asked for."""

    url: str
    files: dict[str, bytes | Callable[[http.server.BaseHTTPRequestHandler], None]]
    asked: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)

    def put(self, folder: str, files: dict[str, bytes], listed: bytes | None = None) -> str:
        """Puts a bundle below `folder`; returns the digest of its metadata.json."""
        listed = manifest(files) if listed is None else listed
        self.files |= {f"/{folder}/{name}": data for name, data in (files | {"metadata.json": listed}).items()}
        return digest(listed)

    def names(self) -> list[str]:
        """Returns the paths that were asked for."""
        return [path for path, _ in self.asked]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        path, span = self.path.partition("?")[0], self.headers.get("Range")
        site.asked.append((self.path, span))
        found = site.files.get(path)
        if callable(found):
            found(self)
        elif found is None:
            self.send_error(404)
        else:
            start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
            self.send(found[start:], 206 if span else 200, {"Content-Range": f"bytes {start}-/*"} if span else {})

    def send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None, cut: int | None = None):
        """Answers; `cut`: ends the connection after that many bytes."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection = cut is not None or "Content-Length" in (headers or {})

    def log_message(self, *_: object) -> None:
        return


def start(certificate: tuple[Path, Path] | None = None) -> tuple[http.server.ThreadingHTTPServer, Site]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    site = Site(f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}", {})
    server.site = site  # type: ignore[attr-defined]
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server, site


def zipped(files: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Returns a .zip of `files`, their names as they are."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz", links: dict[str, str] | None = None) -> bytes:
    """Returns a .tar.gz of `files`, with symbolic links name -> target."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return out.getvalue()
