"""Bundle and running servers for tests of the API (test_api, test_fuzz, test_load) and of the page (test_page)."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import httpx
import numpy as np
import pytest
from resealed import reseal

if TYPE_CHECKING:
    from page_browser import Browser

sys.path.insert(0, str(Path(__file__).parent))  # mutations.py, for test_fuzz
# For the page's tests: the helpers in page/ (some installed packages bring a top-level `tests` of their own).
sys.path.insert(0, str(Path(__file__).parent / "page"))

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 90.0


@dataclasses.dataclass(frozen=True)
class Running:
    """A server that runs: its address, the process, and where its standard error goes."""

    url: str
    process: subprocess.Popen
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_server(
    bundle: Path, log: Path, *arguments: str, port: int | None = None, program: Path | None = None
) -> Iterator[Running]:
    """Runs `python -m dr_edge.serve`, or `program`, on a free port of loopback, or on `port`, until the block ends."""
    port = port or free_port()
    called = ["-m", "dr_edge.serve"] if program is None else [str(program)]
    command = [sys.executable, *called, f"--bundle={bundle}", f"--port={port}", *arguments]
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=REPOSITORY, env=dict(os.environ))
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/healthz").status_code == 200:
                    break
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"The server did not start: {log.read_text(errors='replace')}")
            time.sleep(0.1)
        yield Running(url, process, log)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def bundle_dir(stand_in_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle (float32, float16) for which no photograph is too unlike the stand-in's training discs."""
    out = shutil.copytree(stand_in_bundle, tmp_path_factory.mktemp("served") / "bundle")
    content = json.loads((out / "metadata.json").read_text())
    for entry in content["artifacts"].values():
        entry["ood"]["threshold"] = 1e6
    return reseal(out, content)


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., contextlib.AbstractContextManager[Running]]:
    """start_server(bundle, "--flag=value", ...): a context manager of a server of its own."""

    def start(
        bundle: Path, *arguments: str, port: int | None = None, program: Path | None = None
    ) -> contextlib.AbstractContextManager[Running]:
        return running_server(
            bundle, tmp_path_factory.mktemp("server") / "log.txt", *arguments, port=port, program=program
        )

    return start


@pytest.fixture(scope="session")
def fetched() -> str:
    """Why LiteRT.js for the page could not be fetched; "" where it is. A server lists its files when it starts."""
    from dr_edge.serve import vendor

    try:
        vendor.vendor()
    except RuntimeError as err:
        return str(err)
    return ""


@pytest.fixture(scope="session")
def server(start_server, bundle_dir, fetched) -> Iterator[Running]:
    """One server for all tests that leave it as it was."""
    with start_server(bundle_dir, "--workers=2") as running:
        yield running


@pytest.fixture(scope="session")
def photograph() -> bytes:
    """A drawn photograph of 512 px as JPEG."""
    from tfrecord_tools.synthetic.draw import draw_fundus

    return cv2.imencode(".jpg", draw_fundus(31, size=512).image[..., ::-1])[1].tobytes()


# For the page (test_page*.py).


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium; the test is skipped without it."""
    from page_browser import find_chromium

    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium (apt install chromium)")
    return program


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser for the tests of a file."""
    from page_browser import Browser

    with Browser(chromium) as running:
        yield running


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Drawn photographs as files."""
    from photographs import write_photographs

    return write_photographs(tmp_path_factory.mktemp("page") / "photographs")


@pytest.fixture(scope="session")
def vendored(fetched: str) -> Path:
    """The directory of LiteRT.js for the page, fetched where it is missing; skipped where npm cannot fetch it."""
    from dr_edge.serve import vendor

    if fetched:
        pytest.skip(f"python -m dr_edge.serve.vendor: {fetched}")
    return vendor.TARGET


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node.js; the test is skipped without it."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("no Node.js (apt install nodejs)")
    return program


@pytest.fixture(scope="session")
def page_mask_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of masks with weights set by hand: `optic disc` and `optic cup` where the mean green is high, and for
    `fovea`, which is a point, a heat map of where it is highest.
    """
    import keras
    import tensorflow as tf
    from keras import layers

    from dr_edge import metadata
    from dr_edge.data import tasks
    from dr_edge.fundus.quality_layer import NAMES, PhotographQuality

    side = 96
    image = keras.Input(batch_shape=(1, side, side, 3), dtype="uint8", name="image")
    layer = layers.Conv2D(3, 5, padding="same")
    masks = layers.Activation("sigmoid", name="masks")(layer(layers.Rescaling(1 / 255)(image)))
    weights = np.zeros((5, 5, 3, 3), np.float32)
    gain = np.array([60, 60, 9], np.float32)
    weights[:, :, 1] = gain / 25  # the mean green of the neighbourhood, above 0.45, 0.6 and 0.7 of full brightness
    layer.set_weights([weights, -gain * np.array([0.45, 0.6, 0.7], np.float32)])
    quality = layers.Identity(name="quality")(PhotographQuality()(image))
    model = keras.Model(image, {"masks": masks, "quality": quality})
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    out = tmp_path_factory.mktemp("page_masks")
    (out / "model.float32.tflite").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    artifact = {
        "file": "model.float32.tflite", "sha256": sha256, "bytes": len(content), "variant": "float32",
        "format": "tflite",
    }  # fmt: skip
    manifest = {
        "task": tasks.optic_disc_cup_and_fovea().to_json(),
        "image_size": side,
        "preprocess": {"method": "crop"},
        "inputs": [{"name": "image", "shape": [1, side, side, 3], "dtype": "uint8"}],
        "outputs": [
            {"name": "masks", "shape": [1, side, side, 3], "dtype": "float32"},
            {"name": "quality", "shape": [1, len(NAMES)], "dtype": "float32"},
        ],
        "quality": {"minimum": 0.2, "names": list(NAMES)},
        "artifacts": {"float32.tflite": artifact},
        "files": {artifact["file"]: sha256},
        "operating_points": [],
        "ood": {},
    }
    metadata.write_manifest(out, "bundle", manifest)
    return out
