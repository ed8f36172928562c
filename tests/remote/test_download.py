"""Connections that break, stall or send too much: gone on with, or left with what helps."""

from __future__ import annotations

import contextlib
import time

import pytest
from remote_site import FILES, KEPT, kept, left

from dr_edge.remote import bundles, download
from dr_edge.remote.download import DownloadError


def test_a_connection_that_breaks_is_gone_on_with(site, bundle_cache):
    sha256, name = site.put("b", FILES), "/b/model.float32.tflite"
    body, sent = FILES["model.float32.tflite"], []

    def breaks(handler):
        span = handler.headers.get("Range")
        first = int(span[6:-1]) if span else 0
        sent.append(first)
        headers = {"Content-Range": f"bytes {first}-{len(body) - 1}/{len(body)}"} if span else {}
        handler.send(body[first:], 206 if span else 200, headers, cut=400_000)

    site.files[name] = breaks
    assert kept(bundles.local_directory(f"{site.url}/b/", sha256)) == KEPT
    assert sent == [0, 400_000, 800_000]


def test_of_a_connection_that_breaks_too_often_the_part_is_kept_for_the_next_command(site, bundle_cache):
    sha256, name = site.put("b", FILES), "/b/model.float32.tflite"
    body = FILES["model.float32.tflite"]
    site.files[name] = lambda handler: handler.send(body, cut=300_000)  # knows no Range
    with pytest.raises(DownloadError, match="ended after 300000 of 1024000 bytes"):
        bundles.local_directory(f"{site.url}/b/", sha256)
    assert left(bundle_cache) == []
    site.files[name], site.asked = body, []
    assert kept(bundles.local_directory(f"{site.url}/b/", sha256)) == KEPT
    assert (name, "bytes=300000-") in site.asked


def test_a_part_of_another_file_is_begun_again(site, bundle_cache):
    sha256 = site.put("b", FILES)
    parts = bundle_cache / f".{sha256}.part"
    parts.mkdir(parents=True)
    (parts / "model.float32.tflite").write_bytes(b"x" * 5000)
    (parts / "parity.json").write_bytes(b"longer than the file itself is")
    (parts / "stray").write_bytes(b"")
    site.files["/b/parity.json"] = _range_checked(FILES["parity.json"])
    assert kept(bundles.local_directory(f"{site.url}/b/", sha256)) == KEPT


def _range_checked(body: bytes):
    def answer(handler):
        if handler.headers.get("Range"):
            handler.send(b"", 416)
        else:
            handler.send(body)

    return answer


def test_a_server_that_falls_silent_is_left(site, bundle_cache, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    sha256 = site.put("b", FILES)

    def silent(handler):
        handler.send(b"", headers={"Content-Length": "17"})
        time.sleep(0.6)

    site.files["/b/parity.json"] = silent
    with pytest.raises(DownloadError, match=r"no byte came for 0\.2 seconds.*by hand"):
        bundles.local_directory(f"{site.url}/b/", sha256)


def test_a_server_that_sends_a_byte_now_and_then_is_left(site, bundle_cache, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.4)
    sha256, body = site.put("b", FILES), FILES["parity.json"]

    def drips(handler):
        handler.send(b"", headers={"Content-Length": "10000"})
        with contextlib.suppress(OSError):
            for _ in range(100):
                time.sleep(0.1)
                handler.wfile.write(b"x")

    site.files["/b/parity.json"] = drips
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"less than 1024 bytes a second came.*by hand"):
        bundles.local_directory(f"{site.url}/b/", sha256)
    assert time.monotonic() - start < 8  # three tries; all of it would be 30 s
    site.files["/b/parity.json"] = body
    assert kept(bundles.local_directory(f"{site.url}/b/", sha256)) == KEPT


@pytest.mark.parametrize("stated", [True, False])
def test_more_than_permitted_is_not_fetched(site, bundle_cache, monkeypatch, stated):
    monkeypatch.setattr(bundles, "LIMIT", 900_000)
    sha256 = site.put("b", FILES)
    body = FILES["model.float32.tflite"]

    def chunked(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        handler.wfile.write(body)

    if not stated:
        site.files["/b/model.float32.tflite"] = chunked
    with pytest.raises(DownloadError, match="larger than the 1 MB that are permitted"):
        bundles.local_directory(f"{site.url}/b/", sha256)
    assert left(bundle_cache) == []
    part = bundle_cache / f".{sha256}.part" / "model.float32.tflite"
    assert part.exists() == (not stated)  # of a size that is stated nothing is fetched
    assert stated or part.stat().st_size <= 900_000
