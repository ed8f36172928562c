"""How a picture is stored: as JPEG of some quality, as PNG, or turned, with an EXIF entry that turns it back."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from dr_edge.fundus.exif import PREFIX

QUALITY = 95
_FULL = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
_HALF = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
# EXIF orientation -> how a picture is turned for storage, so that the entry turns it back.
_STORED_TURNED = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_CLOCKWISE}


def jpeg(image: np.ndarray, quality: int = QUALITY, half_colour: bool = False) -> bytes:
    """Returns [H, W, 3] uint8 RGB, or [H, W] uint8, as JPEG.

    Args:
      image: the picture.
      quality: 1..100.
      half_colour: 4:2:0, as phones and messengers store colour; else 4:4:4.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _HALF if half_colour else _FULL]
    return _encoded(".jpg", image, options)


def png(image: np.ndarray) -> bytes:
    """Returns [H, W, 3] uint8 RGB, or [H, W] uint8, as PNG."""
    return _encoded(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])


def turned_by_exif(image: np.ndarray, orientation: int) -> bytes:
    """Returns [H, W, 3] uint8 RGB as JPEG whose pixels lie turned, and whose EXIF says so: it is shown as it was.

    Args:
      image: the upright picture.
      orientation: 3, 6 or 8, as a phone that is held otherwise writes it.
    """
    data = jpeg(cv2.rotate(image, _STORED_TURNED[orientation]))
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)  # tag, SHORT, one value, padded to four bytes
    segment = PREFIX + b"MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def _encoded(suffix: str, image: np.ndarray, options: list[int]) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, data = cv2.imencode(suffix, bgr, options)
    if not done:
        raise ValueError(f"OpenCV cannot store {list(image.shape)} {image.dtype} as {suffix}.")
    return data.tobytes()
