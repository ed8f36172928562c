"""A server on this computer that hands out bundles, and an empty cache for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # remote_site.py
from remote_site import Site, start

from dr_edge.remote import download


@pytest.fixture
def site() -> Iterator[Site]:
    """A server on http://127.0.0.1."""
    server, site = start()
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture
def bundle_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no waiting between two tries; returns where bundles are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE", 0.0)
    return tmp_path / "cache" / "dr_edge" / "bundles"
