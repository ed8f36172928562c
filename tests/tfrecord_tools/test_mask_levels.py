"""A mask file is read as it is stored, in every form."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from mask_pictures import DISC, GREY, LABELS, MOST, PIXELS, SIDE, as_pillow, disc, encoded, inside
from PIL import Image

from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.jpeg import upright
from tfrecord_tools.mask_files import half
from tfrecord_tools.mask_levels import read_levels

COLOUR = np.dstack([np.zeros_like(GREY), np.zeros_like(GREY), GREY])


def one_pixel_of(level: int, picture: np.ndarray) -> np.ndarray:
    changed = picture.copy()
    changed[0, 7] = level
    return changed


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("png", encoded(GREY)),
        ("0 and 1", encoded(DISC.astype(np.uint8))),
        ("16 bit", encoded(DISC.astype(np.uint16) * 65535)),
        ("16 bit of 0 and 1", encoded(DISC.astype(np.uint16))),
        ("1 bit", as_pillow(GREY, "1")),
        ("bmp", encoded(GREY, ".bmp")),
        ("tiff", encoded(GREY, ".tif")),
        ("jpeg 95", encoded(GREY, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 95)),
        ("jpeg 60", encoded(GREY, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 60)),
        ("colour jpeg", encoded(np.dstack([GREY] * 3), ".jpg")),
        ("red", encoded(COLOUR)),
        ("dark grey", encoded(GREY // 3)),
        ("blurred", encoded(cv2.GaussianBlur(GREY, (0, 0), 2))),
        ("very soft", encoded(cv2.GaussianBlur(GREY, (0, 0), 4))),
        ("antialiased", encoded(cv2.resize(cv2.resize(GREY, (960, 960)), (SIDE, SIDE), interpolation=cv2.INTER_AREA))),
        ("palette", as_pillow(DISC.astype(np.uint8), "P", palette=[0, 0, 0, 128, 0, 0])),
        ("grey palette", as_pillow(DISC.astype(np.uint8), "P", palette=[0, 0, 0, 255, 255, 255])),
        ("opacity", encoded(np.dstack([np.full_like(GREY, 255)] * 3 + [GREY]))),
        ("black with opacity", encoded(np.dstack([np.zeros_like(GREY)] * 3 + [GREY]))),
        ("opaque", encoded(np.dstack([GREY] * 3 + [np.full_like(GREY, 255)]))),
        ("four experts", encoded(np.sum([disc(r) for r in (19, 20, 20, 21)], axis=0, dtype=np.uint8) * 63)),
        ("a stray third level", encoded(one_pixel_of(128, GREY))),
    ],
)
def test_about_the_same_pixels_in_every_form(name: str, data: bytes):
    assert inside(data) == pytest.approx(PIXELS, rel=0.05), name


def in_corner() -> np.ndarray:
    """A mask that no turn leaves as it is."""
    mask = np.zeros((40, 60), np.uint8)
    mask[3:15, 5:25] = 1
    return mask


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_mask_lies_as_its_exif_turns_it_in_every_form(turn: int):
    """Opacity and palettes were read as they are stored."""
    exif = Image.Exif()
    exif[0x0112] = turn
    grey = Image.fromarray(in_corner() * 255)
    indexed = Image.frombytes("P", (60, 40), in_corner().tobytes())
    indexed.putpalette([0, 0, 0, 128, 0, 0])
    for picture in (grey, indexed, Image.merge("LA", (Image.new("L", (60, 40), 255), grey))):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", exif=exif)
        found = half(*read_levels(buffer.getvalue(), MOST), "optic_disc")
        assert (found == upright(in_corner(), turn).astype(bool)).all(), picture.mode


def test_of_a_tiff_the_photographs_page_is_the_mask_and_a_damaged_one_is_refused():
    pages = [Image.fromarray(cv2.resize(GREY, (60, 60))), Image.fromarray(GREY)]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    # The thumbnail came first, and was taken.
    assert (half(*read_levels(buffer.getvalue(), MOST), "optic_disc") == DISC).all()
    data = bytearray(as_tiff_lzw(GREY))
    data[60:80] = bytes(20)
    with pytest.raises(PhotographError, match="damaged TIFF data"):
        read_levels(bytes(data), MOST)


def as_tiff_lzw(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "TIFF", compression="tiff_lzw")
    return buffer.getvalue()


def test_packed_texts_of_a_mask_are_not_unpacked():
    """Pillow gave a palette's mask up for one; of a grey one OpenCV unpacked all, 35 ms each."""
    packed = b"k\0\0" + zlib.compress(bytes(80 << 20), 9)
    chunk = struct.pack(">I", len(packed)) + b"zTXt" + packed + struct.pack(">I", zlib.crc32(b"zTXt" + packed))
    files = [encoded(GREY), as_pillow(LABELS, "P", palette=[0, 0, 0, 200, 10, 10, 10, 200, 10])]
    for data in files:
        levels, lossy = read_levels(data[:33] + chunk * 20 + data[33:], MOST)
        np.testing.assert_array_equal(levels, read_levels(data, MOST)[0])
        assert not lossy
