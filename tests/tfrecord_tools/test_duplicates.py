"""Near-duplicates among drawn photographs; the real ones are in tests/real/test_records_duplicates.py."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dr_edge.fundus.crop import crop_square
from dr_edge.fundus.fov import find_fov
from tfrecord_tools.duplicates import (
    COARSE_BYTES,
    FINE_SIDE,
    PICTURE_BYTES,
    describe,
    fine_correlation,
    near_pairs,
    positions,
)

SIDE = 300


def picture_of(photograph: np.ndarray) -> bytes:
    return describe(crop_square(photograph, find_fov(photograph), 256))


def pairs_of(pictures: list[bytes]) -> list[tuple[int, int]]:
    table = np.frombuffer(b"".join(pictures), np.int8).reshape(-1, PICTURE_BYTES)
    seen: list[int] = []
    found = list(
        near_pairs(
            table[:, :COARSE_BYTES],
            lambda index: table[index, COARSE_BYTES:].reshape(FINE_SIDE, FINE_SIDE),
            seen.append,
        )
    )
    assert sum(seen) == len(pictures)
    return found


def recompressed(photograph: np.ndarray) -> np.ndarray:
    small = cv2.resize(photograph, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)


COPIES = {
    "recompressed": recompressed,
    "brighter": lambda photograph: cv2.convertScaleAbs(photograph, alpha=1.2, beta=5),
    "mirrored": lambda photograph: photograph[:, ::-1].copy(),
    "turned": lambda photograph: np.rot90(photograph).copy(),
    "upside down": lambda photograph: photograph[::-1, ::-1].copy(),
    "padded": lambda photograph: cv2.copyMakeBorder(photograph, 40, 10, 60, 0, cv2.BORDER_CONSTANT),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_strangers_are_not(draw, kind: str):
    originals = [draw(seed, SIDE).image for seed in range(12)]
    pictures = [picture_of(photograph) for photograph in originals]
    assert pairs_of(pictures) == []
    copies = [picture_of(COPIES[kind](photograph)) for photograph in originals]
    found = pairs_of(pictures + copies)
    assert set(found) <= {(index, index + 12) for index in range(12)}
    assert len(found) >= 11


def test_pictures_of_nothing_match_nothing():
    empty = bytes(PICTURE_BYTES)
    black = describe(np.zeros((64, 64, 3), np.uint8))
    assert black == empty
    assert pairs_of([empty, black, empty]) == []


def test_every_pair_is_reported_once_over_block_borders(monkeypatch, draw):
    monkeypatch.setattr("tfrecord_tools.duplicates._ROWS", 2)
    monkeypatch.setattr("tfrecord_tools.duplicates._COLUMNS", 3)
    pictures = [picture_of(draw(seed, SIDE).image) for seed in (0, 1, 0, 2, 1, 3, 0)]
    found = pairs_of(pictures)
    assert sorted(set(found)) == [(0, 2), (0, 6), (1, 4), (2, 6)]


def test_eight_positions_are_the_symmetries_of_the_square():
    picture = np.arange(16).reshape(1, 4, 4)
    views = {view.tobytes() for view in positions(picture)}
    assert len(views) == 8
    assert picture[:, ::-1].tobytes() in views and np.swapaxes(picture, 1, 2).copy().tobytes() in views


def test_fine_correlation_allows_a_small_shift():
    rng = np.random.default_rng(0)
    picture = rng.integers(-100, 100, (FINE_SIDE, FINE_SIDE)).astype(np.int8)
    assert fine_correlation(picture, np.roll(picture, (2, -3), (0, 1))) == pytest.approx(1.0)
    assert fine_correlation(picture, np.roll(picture, (0, 5), (0, 1))) < 0.2
    assert fine_correlation(picture, np.zeros_like(picture)) == 0.0
