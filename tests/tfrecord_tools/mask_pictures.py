"""Masks of a disc and its cup, and files of them."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

from tfrecord_tools.mask_files import half
from tfrecord_tools.mask_levels import read_levels

SIDE = 240


def disc(radius: float) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.hypot(x - 120, y - 110) < radius


DISC, CUP = disc(20), disc(11)
PIXELS = int(DISC.sum())
MOST = 10**6


def encoded(picture: np.ndarray, suffix: str = ".png", *options: int) -> bytes:
    done, data = cv2.imencode(suffix, picture, list(options))
    assert done
    return data.tobytes()


GREY = DISC.astype(np.uint8) * 255
LABELS = DISC.astype(np.uint8) + CUP
REFUGE = np.where(CUP, 0, np.where(DISC, 128, 255)).astype(np.uint8)


def as_pillow(picture: np.ndarray, mode: str, form: str = "PNG", palette: list[int] | None = None) -> bytes:
    image = (
        Image.fromarray(picture)
        if palette is None
        else Image.frombytes("P", picture.shape[::-1], picture.astype(np.uint8).tobytes())
    )
    if palette is not None:
        image.putpalette(palette)
    buffer = io.BytesIO()
    (image.convert(mode) if palette is None else image).save(buffer, form)
    return buffer.getvalue()


def inside(data: bytes) -> int:
    return int(half(*read_levels(data, MOST), "optic_disc").sum())
