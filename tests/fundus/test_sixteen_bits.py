"""Fewer bits stored in 16 are never answered as a nearly black picture."""

import cv2
import numpy as np
import pytest

from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.photograph import decode_photograph

Y, X = np.mgrid[:60, :80]
PICTURE = np.stack([X * 255 / 80, Y * 255 / 60, 128 - X / 2 + 0 * Y], axis=2).astype(np.uint8)


def deep(bits: int, suffix: str, image: np.ndarray = PICTURE) -> bytes:
    scaled = (image.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    return cv2.imencode(suffix, scaled[..., ::-1] if image.ndim == 3 else scaled)[1].tobytes()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(
    "image", [PICTURE, PICTURE[..., 0], np.dstack([PICTURE, np.full((60, 80), 255)])], ids=["rgb", "grey", "alpha"]
)
@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14])
def test_fewer_bits_in_sixteen_are_refused(bits, image, suffix):
    if image.ndim == 3 and image.shape[2] == 4:
        scaled = np.dstack([(PICTURE.astype(np.uint32) * (2**bits - 1) // 255)[..., ::-1], np.full((60, 80), 65535)])
        data = cv2.imencode(suffix, scaled.astype(np.uint16))[1].tobytes()
    else:
        data = deep(bits, suffix, image)
    with pytest.raises(PhotographError, match=f"{bits} bits stored in 16") as caught:
        decode_photograph(data)
    assert caught.value.reason == "unsupported format" and f"0..{2**bits - 1}" in caught.value.detail


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_and_black_pictures_are_taken(suffix):
    np.testing.assert_array_equal(decode_photograph(deep(16, suffix)), PICTURE)
    half = decode_photograph(deep(16, suffix, PICTURE // 3))  # a dark photograph, not black
    assert half.max() == PICTURE.max() // 3
    assert decode_photograph(deep(16, suffix, PICTURE * 0)).max() == 0


def test_a_white_caption_does_not_hide_twelve_bits():
    large = cv2.resize(PICTURE, (800, 600)).astype(np.uint16) * 16
    large[10:14, 10:60] = 65535
    with pytest.raises(PhotographError, match="12 bits stored in 16"):
        decode_photograph(cv2.imencode(".png", large)[1].tobytes())


def test_a_small_structure_on_black_is_a_mask_and_taken():
    mask = np.zeros((600, 800), np.uint16)
    mask[300:304, 400:404] = 65535
    assert (decode_photograph(cv2.imencode(".png", mask)[1].tobytes()) == 255).sum() == 3 * 16
