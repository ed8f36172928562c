"""From the bytes of a photograph to its field of view: the one path of records, heat maps and answers.

A model must be shown what it was trained on. A JPEG is decoded at a part of its size where that keeps all that the crop needs; a
decoder's own reduction and OpenCV's area filter differ by a grey level or two, which Graham's gain enlarges.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dr_edge.fundus.fov import FieldOfView, NotFundusError, find_fov
from dr_edge.fundus.image_header import MAX_PIXELS
from dr_edge.fundus.photograph import decode

MIN_SIDE_MARGIN = 1.1  # scaled decoding keeps a little more than the crop needs, for the area filter to work on


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a picture is no fundus photograph: a short, stable reason, and the detail in words.

    Not the exception itself, whose traceback would keep the decoded photograph in memory.
    """

    reason: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Located:
    """A decoded photograph and where its fundus is.

    Attributes:
      image: [H, W, 3] uint8 RGB, upright; a JPEG may be reduced.
      denominator: pixel edge x of `image` is x * denominator in the photograph.
      size: (height, width) of the upright photograph in pixels.
      fov: the field of view in pixels of `image`, or why there is none.
    """

    image: np.ndarray
    denominator: int
    size: tuple[int, int]
    fov: FieldOfView | Refusal


def locate(data: bytes, image_size: int, max_pixels: int = MAX_PIXELS) -> Located:
    """Decodes a photograph and finds its field of view.

    Args:
      data: the whole file: JPEG, PNG, TIFF, BMP, WebP, HEIC or DICOM.
      image_size: side in pixels of the crop that will be cut out.
      max_pixels: larger photographs are refused before they are decoded.

    Raises:
      PhotographError: the bytes are no readable photograph; `.reason` says why.
      cv2.error, MemoryError: OpenCV cannot work on it.
    """
    decoded = decode(data, max_pixels=max_pixels, min_side=round(image_size * MIN_SIDE_MARGIN))
    fov: FieldOfView | Refusal
    try:
        fov = find_fov(decoded.image)
        if decoded.denominator > 1 and 2 * fov.radius < image_size:  # a small disc in a large frame
            decoded = decode(data, max_pixels=max_pixels)
            fov = find_fov(decoded.image)
    except NotFundusError as err:
        fov = Refusal(err.reason, str(err)[len(err.reason) + 2 :])
    return Located(decoded.image, decoded.denominator, decoded.size, fov)
