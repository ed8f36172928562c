"""Drawn photographs for the page's tests: whole, cut off, off the middle, turned by EXIF, and such as get no answer."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np

from tfrecord_tools.synthetic.draw import draw_fundus


def write_photographs(directory: Path) -> list[Path]:
    """Writes the photographs into `directory` and returns their paths, in a fixed order."""
    directory.mkdir(parents=True)
    eye = draw_fundus(78, grade=4, size=560).image
    height, width = eye.shape[:2]
    pictures = {
        "healthy.png": draw_fundus(300, grade=0, size=420).image,
        "severe.png": draw_fundus(301, grade=4, size=640).image,
        "moderate.jpg": draw_fundus(302, grade=2, size=512).image,
        "large.jpg": draw_fundus(303, grade=3, size=1500).image,  # is decoded at a fraction of its size
        "tiny.png": draw_fundus(304, grade=0, size=96).image,  # is enlarged
        "off_the_middle.png": np.pad(eye, ((10, 260), (380, 20), (0, 0))),
        "cut_above.png": eye[height // 6 :],
        "cut_left.jpg": eye[:, width // 5 :],
        "squashed.png": cv2.resize(np.pad(eye, ((0, 0), (160, 160), (0, 0))), (480, 480), interpolation=cv2.INTER_AREA),
        "on_a_page.png": np.pad(eye, ((40, 40), (40, 40), (0, 0)), constant_values=255),
        "blurred.png": cv2.GaussianBlur(eye, (0, 0), 22),
        "black.png": np.full((300, 400, 3), 3, np.uint8),
        "noise.png": np.random.default_rng(1).integers(0, 256, (240, 320, 3), dtype=np.uint8),
    }
    paths = []
    for name, picture in pictures.items():
        quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if name.endswith(".jpg") else []
        cv2.imwrite(str(directory / name), picture[..., ::-1], quality)
        paths.append(directory / name)
    turned = directory / "turned_by_exif.jpg"
    turned.write_bytes(with_orientation((directory / "cut_left.jpg").read_bytes(), 6))
    cut_off = directory / "cut_off.jpg"
    cut_off.write_bytes((directory / "moderate.jpg").read_bytes()[:-4000])
    letter = directory / "letter.png"
    letter.write_bytes(b"Dear colleague, this is no photograph.")
    return [*paths, turned, cut_off, letter]


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Returns a JPEG with an EXIF segment that says how it is turned (1..8)."""
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]
