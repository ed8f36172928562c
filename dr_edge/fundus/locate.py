"""From the bytes of a photograph to its field of view: the one path of records, heat maps and answers.

A model must be shown what it was trained on. A JPEG is decoded at a part of its size where that keeps all that the crop needs; a
decoder's own reduction and OpenCV's area filter differ by a grey level or two, which Graham's gain enlarges.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dr_edge.fundus.fov import FieldOfView, NotFundusError, find_fov
from dr_edge.fundus.image_header import MAX_PIXELS, read_header
from dr_edge.fundus.photograph import decode_photograph, decode_scaled

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
      data: the whole file: JPEG, PNG, TIFF, BMP or DICOM.
      image_size: side in pixels of the crop that will be cut out.
      max_pixels: larger photographs are refused before they are decoded.

    Raises:
      PhotographError: the bytes are no readable photograph; `.reason` says why.
      cv2.error, MemoryError: OpenCV cannot work on it.
    """
    header = read_header(data)
    image, denominator = decode_scaled(data, max_pixels=max_pixels, min_side=round(image_size * MIN_SIDE_MARGIN))
    fov: FieldOfView | Refusal
    try:
        fov = find_fov(image)
        if denominator > 1 and 2 * fov.radius < image_size:  # a small disc in a large frame
            image, denominator = decode_photograph(data, max_pixels=max_pixels), 1
            fov = find_fov(image)
    except NotFundusError as err:
        fov = Refusal(err.reason, str(err)[len(err.reason) + 2 :])
    size = _upright_size(image.shape[:2], denominator, (header.height, header.width))
    return Located(image, denominator, size, fov)


def _upright_size(decoded: tuple[int, ...], denominator: int, stored: tuple[int, int]) -> tuple[int, int]:
    """Returns (height, width) of the upright photograph; EXIF may have swapped what the header states."""
    if denominator == 1:
        return int(decoded[0]), int(decoded[1])
    upright = min(stored, stored[::-1], key=lambda size: abs(size[0] / denominator - decoded[0]))
    return int(upright[0]), int(upright[1])
