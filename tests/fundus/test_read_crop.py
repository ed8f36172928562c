"""The crop is the one that records are made of, whatever the file's format, size and turn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.read_crop import read_crop
from tfrecord_tools import process
from tfrecord_tools.items import Item
from tfrecord_tools.synthetic.draw import draw_fundus


def encoded(image: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


def small_in_large_frame() -> np.ndarray:
    synthetic = draw_fundus(21, size=512).image
    small = cv2.resize(synthetic, None, fx=0.55, fy=0.55, interpolation=cv2.INTER_AREA)
    frame = np.zeros((1400, 1900, 3), np.uint8)
    frame[500 : 500 + small.shape[0], 700 : 700 + small.shape[1]] = small
    return frame


@pytest.mark.parametrize("size", [64, 96, 224])
@pytest.mark.parametrize("case", ["jpeg", "large jpeg", "png", "small disc in a large jpeg"])
def test_the_crop_is_byte_for_byte_that_of_the_records(case, size, tmp_path):
    synthetic = draw_fundus(20, size=900 if case == "large jpeg" else 512).image
    data = {
        "jpeg": lambda: encoded(synthetic, ".jpg"),
        "large jpeg": lambda: encoded(cv2.resize(synthetic, None, fx=2, fy=2), ".jpg"),
        "png": lambda: encoded(synthetic),
        "small disc in a large jpeg": lambda: encoded(small_in_large_frame(), ".jpg"),
    }[case]()
    (tmp_path / "eye").write_bytes(data)
    outcome = process.process(Item("eye", "eye", "p"), process.Settings(str(tmp_path), size, "crop"))
    record = outcome.record
    assert record is not None, outcome.reason
    found = read_crop(data, size)
    # The same lossy encoder: equal bytes mean equal pixels.
    options = [
        cv2.IMWRITE_JPEG_QUALITY, process.ENCODED_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]  # fmt: skip
    assert cv2.imencode(".jpg", found.crop[..., ::-1], options)[1].tobytes() == record.encoded
    assert found.fov.box == record.crop_box
    assert found.size == tuple(record.source_size)
    assert found.quality.score == record.quality
    assert found.sha256 == record.sha256


def test_an_exif_turn_changes_the_frame_and_not_the_disc():
    synthetic = cv2.resize(draw_fundus(22, size=900).image, None, fx=1.5, fy=1.5)
    plain = encoded(synthetic, ".jpg")
    turned = np.rot90(synthetic)  # stored lying on its side; orientation 6 says: turn it clockwise
    data = encoded(np.ascontiguousarray(turned), ".jpg")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    upright, rotated = read_crop(plain, 96), read_crop(data, 96)
    assert rotated.size == upright.size == synthetic.shape[:2]
    np.testing.assert_allclose(rotated.fov.box, upright.fov.box, atol=12)
    assert np.abs(rotated.crop.astype(int) - upright.crop).mean() < 3


def test_what_shows_no_fundus_is_a_refusal_and_no_error():
    black = read_crop(encoded(np.full((300, 400, 3), 3, np.uint8)), 64)
    assert black.crop is None and black.refusal.reason == "too dark" and black.size == (300, 400)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"hello, this is no photograph", "unsupported format"),
        (encoded(draw_fundus(1, size=512).image, ".jpg")[:9000], "truncated"),
        (encoded(np.zeros((8, 8, 3), np.uint8)), "too small"),
    ],
)
def test_what_is_no_photograph_is_an_error_with_its_reason(data, reason):
    with pytest.raises(PhotographError) as caught:
        read_crop(data, 64)
    assert caught.value.reason == reason


def test_too_many_pixels_are_refused_before_decoding():
    data = encoded(draw_fundus(1, size=512).image)
    with pytest.raises(PhotographError, match="not decoded") as caught:
        read_crop(data, 64, max_pixels=1000)
    assert caught.value.reason == "too many pixels"
