"""Fixtures of the record builder's tests: drawn photographs on disk, small builds."""

from __future__ import annotations

import functools
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # mask_pictures.py
SIDE = 128


@functools.cache
def synthetic(seed: int, side: int = SIDE) -> Any:
    """A drawn fundus image with its truth; the same seed gives the same image."""
    from tfrecord_tools.synthetic.draw import draw_fundus

    return draw_fundus(seed, size=side)


@pytest.fixture(scope="session")
def draw() -> Callable[..., Any]:
    """draw(seed, side=128): a drawn fundus image with its truth, cached."""
    return synthetic


@pytest.fixture(scope="session")
def save_photo() -> Callable[..., Path]:
    """save_photo(path, seed, side=128): writes a drawn photograph, its folders too; the suffix gives the format."""

    def save(path: Path, seed: int, side: int = SIDE) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), cv2.cvtColor(synthetic(seed, side).image, cv2.COLOR_RGB2BGR)):
            raise OSError(f"OpenCV cannot write {path}.")
        return path

    return save


@pytest.fixture(scope="session")
def save_grey() -> Callable[[Path, np.ndarray], Path]:
    """save_grey(path, picture): writes [H, W] uint8 or bool as a grey image, its folders too."""

    def save(path: Path, picture: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
        if not cv2.imwrite(str(path), grey):
            raise OSError(f"OpenCV cannot write {path}.")
        return path

    return save


@pytest.fixture(scope="session")
def run_build() -> Callable[..., Path]:
    """run_build(dataset, data_dir, out, **options): builds with small defaults (64 px, plain crop, 1 worker)."""
    from tfrecord_tools.assembly import build
    from tfrecord_tools.plan import BuildOptions

    def run(dataset: str, data_dir: Path | None, out: Path, **options: Any) -> Path:
        settings = {"image_size": 64, "preprocess": "crop", "workers": 1, **options}
        build(BuildOptions(dataset=dataset, data_dir=data_dir, out=out, **settings))
        return out

    return run


@pytest.fixture(scope="session")
def small_records(tmp_path_factory: pytest.TempPathFactory, run_build: Callable[..., Path]) -> Path:
    """Records of 40 drawn images, 96 px, Graham, several shards; do not change them."""
    out = tmp_path_factory.mktemp("built") / "small"
    return run_build("synthetic", None, out, limit=40, image_size=96, preprocess="graham", shard_examples=8, workers=2)


@pytest.fixture(scope="session")
def grading_folder(tmp_path_factory: pytest.TempPathFactory, save_photo: Callable[..., Path]) -> Path:
    """An APTOS directory of 24 drawn photographs with good rows only."""
    root = tmp_path_factory.mktemp("aptos_small")
    rows = ["id_code,diagnosis"]
    for seed in range(24):
        save_photo(root / "train_images" / f"eye{seed:02d}.png", seed)
        rows.append(f"eye{seed:02d},{seed % 5}")
    (root / "train.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def write_xls() -> Callable[[Path, list[list[str | float]]], Path]:
    """write_xls(path, rows): writes an old Excel file."""

    def write(path: Path, rows: list[list[str | float]]) -> Path:
        """Writes an Excel 2.1 file (BIFF2), which xlrd reads: the oldest .xls there is, in a few lines."""
        records = [struct.pack("<HHHH", 0x0009, 4, 2, 0x10)]
        for y, row in enumerate(rows):
            for x, value in enumerate(row):
                place = struct.pack("<HH3x", y, x)
                if isinstance(value, str):
                    text = value.encode("latin-1")
                    body = place + struct.pack("<B", len(text)) + text
                    records.append(struct.pack("<HH", 0x0004, len(body)) + body)
                else:
                    body = place + struct.pack("<d", value)
                    records.append(struct.pack("<HH", 0x0003, len(body)) + body)
        path.write_bytes(b"".join(records) + struct.pack("<HH", 0x000A, 0))
        return path

    return write
