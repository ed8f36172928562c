"""The page's files: right types, asked for once, squeezed where that helps, and only those that are listed."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from dr_edge.prediction.bundle import open_bundle
from dr_edge.serve import assets
from dr_edge.serve.app import create_app
from dr_edge.serve.assets import Assets
from dr_edge.serve.middleware import HEADERS

CONTENT = {
    "index.html": b"<!doctype html><title>x</title>" + b"<p>eye</p>" * 300,
    "sw.js": b"self.addEventListener('fetch', () => {});",
    "manifest.webmanifest": b'{"name": "x"}',
    "css/page.css": b"body { margin: 0 }" * 100,
    "vendor/deep/run.wasm": b"\0asm" + bytes(5000),
    "icon.png": b"\x89PNG\r\n\x1a\n" + bytes(2000),
}
TYPES = {
    "/": "text/html; charset=utf-8",
    "/sw.js": "text/javascript; charset=utf-8",
    "/manifest.webmanifest": "application/manifest+json",
    "/static/css/page.css": "text/css; charset=utf-8",
    "/static/vendor/deep/run.wasm": "application/wasm",
    "/static/icon.png": "image/png",
}


@pytest.fixture
def static(tmp_path) -> Path:
    root = tmp_path / "static"
    for name, content in CONTENT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def get(bundle_dir, static):
    """get(path, **headers): a response of the application, without a socket."""
    app = create_app(open_bundle(bundle_dir), static=Assets(static))

    def ask(path: str, method: str = "GET", **headers: str) -> httpx.Response:
        async def scenario() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
                named = {name.replace("_", "-"): value for name, value in headers.items()}
                return await client.request(method, path, headers={"accept-encoding": "identity", **named})

        return asyncio.run(scenario())

    return ask


@pytest.mark.parametrize("path", TYPES)
def test_files_have_their_types_and_are_asked_for_once(get, static, path):
    response = get(path)
    name = {"/": "index.html"}.get(path, path.removeprefix("/static").removeprefix("/"))
    assert response.status_code == 200 and response.content == (static / name).read_bytes()
    assert response.headers["content-type"] == TYPES[path]
    assert response.headers["etag"] == f'"{hashlib.sha256(response.content).hexdigest()}"'
    assert response.headers["cache-control"] == "no-cache"
    assert get(path, if_none_match=response.headers["etag"]).status_code == 304
    assert get(path, if_none_match='"another"').status_code == 200
    assert int(get(path, "HEAD").headers["content-length"]) == len(response.content)


def test_the_service_worker_may_reach_the_whole_site(get):
    assert get("/sw.js").headers["service-worker-allowed"] == "/"


@pytest.mark.parametrize(
    ("path", "squeezed"), [("/", True), ("/static/vendor/deep/run.wasm", True), ("/static/icon.png", False)]
)
def test_what_shrinks_is_sent_squeezed_to_whoever_takes_it(bundle_dir, static, path, squeezed):
    asset = Assets(static).find("index.html" if path == "/" else path.removeprefix("/static/"))
    assert (asset.squeezed is not None) == squeezed
    if squeezed:
        assert gzip.decompress(asset.squeezed) == asset.content and len(asset.squeezed) < len(asset.content)


def test_gzip_is_used_only_when_asked_for(get):
    assert get("/").headers.get("content-encoding") is None
    response = get("/", accept_encoding="gzip, br")
    assert response.headers["content-encoding"] == "gzip" and response.text.startswith("<!doctype html>")


def test_an_unexpected_failure_is_answered_in_the_same_form_and_with_the_headers(bundle_dir, monkeypatch):
    app = create_app(open_bundle(bundle_dir))
    monkeypatch.setattr(app.state.server.static, "find", lambda name: {}[name])

    async def scenario() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/")

    response = asyncio.run(scenario())
    assert response.status_code == 500 and response.json()["error"]["reason"] == "internal error"
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS and response.headers[
        "cache-control"
    ] == "no-store"


def test_a_changed_file_is_read_again_and_a_removed_one_is_gone(get, static):
    before = get("/static/css/page.css")
    (static / "css/page.css").write_bytes(b"body { margin: 1px }")
    os.utime(static / "css/page.css", ns=(1, 10**18))
    after = get("/static/css/page.css", if_none_match=before.headers["etag"])
    assert after.status_code == 200 and after.content == b"body { margin: 1px }"
    (static / "css/page.css").unlink()
    assert get("/static/css/page.css").status_code == 404


def test_a_file_that_many_ask_for_at_once_is_read_once(static, monkeypatch):
    read = []

    def slow(path: Path) -> assets.Asset:
        read.append(path.name)
        time.sleep(0.2)
        return load(path)

    load = assets.load_asset
    monkeypatch.setattr(assets, "load_asset", slow)
    listed = Assets(static)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(listed.find, ["css/page.css"] * 8))
    assert read == ["page.css"] and all(one is found[0] for one in found)


def test_links_hidden_files_and_foreign_types_are_not_listed(static, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (static / "link.txt").symlink_to(tmp_path / "secret.txt")
    (static / ".hidden.js").write_text("x")
    (static / "script.py").write_text("x")
    assert Assets(static).names() == sorted(CONTENT)
    assert Assets(static).find("link.txt") is None and Assets(static).find("../secret.txt") is None


def test_without_the_page_the_api_still_works(bundle_dir, tmp_path):
    app = create_app(open_bundle(bundle_dir), static=Assets(tmp_path / "nothing"))

    async def scenario() -> tuple[int, int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return (await client.get("/")).status_code, (await client.get("/v1/bundle")).status_code

    assert asyncio.run(scenario()) == (404, 200)


def test_a_model_that_changed_after_the_start_is_not_handed_out(bundle_dir, tmp_path):
    import shutil

    copy = shutil.copytree(bundle_dir, tmp_path / "bundle")
    app = create_app(open_bundle(copy))
    file = copy / "model.float16.tflite"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)

    async def scenario() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get("/v1/model/model.float16.tflite")

    response = asyncio.run(scenario())
    assert response.status_code == 503 and response.json()["error"]["reason"] == "bundle changed"


def test_https(bundle_dir, tmp_path):
    """Phones give camera and offline use to https only."""
    pytest.importorskip("cryptography")
    from certificates import write_certificate

    certificate, key = write_certificate(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "dr_edge.serve", f"--bundle={bundle_dir}", f"--port={port}", "--workers=1",
        f"--tls_certificate={certificate}", f"--tls_key={key}",
    ]  # fmt: skip
    with open(tmp_path / "log.txt", "wb") as log:
        process = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[2], stderr=log)
    try:
        trust = ssl.create_default_context(cafile=certificate)
        until, response = time.monotonic() + 60, None
        while response is None and time.monotonic() < until:
            try:
                response = httpx.get(f"https://127.0.0.1:{port}/healthz", verify=trust)
            except httpx.TransportError:
                time.sleep(0.2)
        assert response is not None and response.json()["status"] == "ok"
        assert f"The page is at https://127.0.0.1:{port}/" in (tmp_path / "log.txt").read_text()
    finally:
        process.terminate()
        process.wait(timeout=30)
