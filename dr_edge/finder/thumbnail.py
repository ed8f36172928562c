"""What the finder is given of a photograph. numpy and OpenCV only."""

from __future__ import annotations

import cv2
import numpy as np

THUMBNAIL_SIDE = 256


def thumbnail_of(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squeezes an upright photograph to a square by area averaging; what is smaller is enlarged linearly.

    Args:
      image: [H, W, 3] uint8 RGB.

    Returns:
      The thumbnail [1, 256, 256, 3] uint8 and the size [1, 2] float32 (height, width).

    Raises:
      ValueError: an array of another shape or dtype.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"A thumbnail needs [H, W, 3] uint8. Received: {image.shape} {image.dtype}.")
    height, width = image.shape[:2]
    small = image
    for axis, side in ((1, height), (0, width)):  # one axis after the other: one may shrink and one grow
        size = (THUMBNAIL_SIDE, small.shape[0]) if axis == 0 else (small.shape[1], THUMBNAIL_SIDE)
        how = cv2.INTER_AREA if side >= THUMBNAIL_SIDE else cv2.INTER_LINEAR
        small = cv2.resize(small, size, interpolation=how)
    return small[None], np.array([[height, width]], np.float32)
