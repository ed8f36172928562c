"""How well copies and strangers are told apart, on real photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dr_edge.fundus.crop import crop_square
from dr_edge.fundus.fov import find_fov
from dr_edge.fundus.gradability import NotFundusError
from dr_edge.fundus.photograph import read_photograph
from tfrecord_tools.copy_search import copy_links
from tfrecord_tools.duplicates import COARSE_BYTES, FINE_SIDE, PICTURE_BYTES, describe, near_pairs
from tfrecord_tools.split import components


def picture_of(photograph: np.ndarray) -> bytes:
    """The small pictures of a photograph; zeros, which match nothing, where it is rejected."""
    try:
        return describe(crop_square(photograph, find_fov(photograph), 256))
    except NotFundusError:
        return bytes(PICTURE_BYTES)


def pairs_of(pictures: list[bytes]) -> set[tuple[int, int]]:
    table = np.frombuffer(b"".join(pictures), np.int8).reshape(-1, PICTURE_BYTES)
    fine = table[:, COARSE_BYTES:].reshape(-1, FINE_SIDE, FINE_SIDE)
    return set(near_pairs(table[:, :COARSE_BYTES], lambda index: fine[index], lambda _: None))


def shrunk(photograph: np.ndarray) -> np.ndarray:
    small = cv2.resize(photograph, None, fx=0.55, fy=0.55, interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)


def tinted(photograph: np.ndarray) -> np.ndarray:
    table = np.round((np.arange(256) / 255) ** 0.8 * 255)
    return np.clip(table[photograph] * (1.1, 0.95, 0.9), 0, 255).astype(np.uint8)


COPIES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "55 % at JPEG quality 40": (shrunk, 0.95),
    "other gamma and tint": (tinted, 0.95),
    "mirrored": (lambda photograph: photograph[:, ::-1].copy(), 0.95),
    "turned": (lambda photograph: np.rot90(photograph).copy(), 0.95),
}


@pytest.fixture(scope="module")
def photographs(real_data: Path) -> list[np.ndarray]:
    """60 photographs of different eyes: EyePACS (both geometries) and IDRiD."""
    eyepacs = sorted((real_data / "eyepacs" / "train").glob("*_left.jpeg"))[::18][:40]
    idrid = sorted((real_data / "idrid").glob("**/a. Training Set/*.jpg"))[5::18][:20]
    return [read_photograph(path, min_side=300) for path in (*eyepacs, *idrid)]


def test_strangers_are_not_taken_for_copies(photographs: list[np.ndarray]):
    assert pairs_of([picture_of(photograph) for photograph in photographs]) == set()


@pytest.mark.parametrize("kind", ["turned", *(pytest.param(kind, marks=pytest.mark.slow) for kind in list(COPIES)[:3])])
def test_copies_are_found(photographs: list[np.ndarray], kind: str):
    change, least = COPIES[kind]
    count = len(photographs)
    found = pairs_of([picture_of(each) for each in (*photographs, *map(change, photographs))])
    right = {(index, index + count) for index in range(count)}
    assert len(found & right) >= least * count
    assert found <= right


@pytest.mark.slow
def test_the_fast_search_finds_the_same_groups(photographs: list[np.ndarray]):
    changes = [lambda photograph: photograph, *(change for change, _ in COPIES.values())]
    pictures = [picture_of(change(photograph)) for change in changes for photograph in photographs]
    table = np.frombuffer(b"".join(pictures), np.int8).reshape(-1, PICTURE_BYTES)
    fine = table[:, COARSE_BYTES:].reshape(-1, FINE_SIDE, FINE_SIDE)
    count = len(pictures)
    expected = components(range(count), pairs_of(pictures))
    assert len(expected) < count / 3
    for way in ((count, count), (0, count), (0, 0)):  # whole pictures, short coordinates, filters
        coarse, sides = np.ascontiguousarray(table[:, :COARSE_BYTES]), np.zeros(count, int)
        links = copy_links(coarse, lambda index: fine[index], sides, lambda _: None, *way)
        assert components(range(count), links) == expected


def test_copies_that_were_mirrored_and_turned_on_disk_are_found(real_data: Path):
    """Seen by eye in eye4class: the same photograph again, turned by half, mirrored, or re-encoded."""
    pairs = (
        ("1102_left.jpg", "_4_7491150.jpg"),  # turned by half
        ("2247_left.jpg", "_227_1163752.jpg"),  # mirrored
        ("625_left.jpg", "_300_7433746.jpg"),  # mirrored, in another class
        ("1084_right.jpg", "_3_4674992.jpg"),  # re-encoded
    )
    folder = real_data / "eye4class" / "dataset"
    paths = [sorted(folder.glob(f"*/{name}"))[0] for pair in pairs for name in pair]
    found = pairs_of([picture_of(read_photograph(path)) for path in paths])
    assert found == {(2 * index, 2 * index + 1) for index in range(len(pairs))}
