"""A copy of a bundle that a test may change, and what reads it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

import android_bench.bundle
import dr_edge
from dr_edge.prediction.bundle import open_bundle


@pytest.fixture
def bundle(stand_in_bundle: Path, tmp_path: Path) -> Path:
    """A copy of `stand_in_bundle`."""
    return Path(shutil.copytree(stand_in_bundle, tmp_path / "bundle"))


READERS: dict[str, Callable[[Path], object]] = {
    "predict and serve": open_bundle,
    "Python": dr_edge.open_bundle,
    "bench": android_bench.bundle.read_bundle,
}


@pytest.fixture(params=READERS)
def read(request: pytest.FixtureRequest) -> Callable[[Path], object]:
    """Each of those that open a bundle."""
    return READERS[request.param]


@pytest.fixture(scope="session")
def photograph() -> bytes:
    """A drawn photograph of 512 px as JPEG."""
    from tfrecord_tools.synthetic.draw import draw_fundus

    return cv2.imencode(".jpg", draw_fundus(11, size=512).image[..., ::-1])[1].tobytes()
