"""From the bytes of a photograph to the crop that a model takes, along the same steps as a record is built."""

from __future__ import annotations

import dataclasses
import hashlib

import cv2
import numpy as np

from dr_edge.fundus.fov import FieldOfView, NotFundusError, crop_square, find_fov
from dr_edge.fundus.image_header import MAX_PIXELS, PhotographError, read_header
from dr_edge.fundus.photograph import decode_photograph, decode_scaled
from dr_edge.fundus.quality import Quality, quality

# As tfrecord_tools.process: scaled decoding keeps a little more than the crop needs, for the area filter to work on.
MIN_SIDE_MARGIN = 1.1


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a picture is no fundus photograph: a short, stable reason, and the detail in words.

    Not the exception itself, whose traceback would keep the decoded photograph in memory.
    """

    reason: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A decoded photograph and, where it shows a fundus, its crop.

    Attributes:
      sha256: of the file's bytes, 64 hexadecimal digits.
      size: (height, width) of the upright photograph in pixels.
      refusal: why it is no fundus photograph; None where it is one, and then the others are there.
      fov: the field of view in pixels of the upright photograph.
      crop: [S, S, 3] uint8 RGB.
      quality: of the crop.
    """

    sha256: str
    size: tuple[int, int]
    refusal: Refusal | None = None
    fov: FieldOfView | None = None
    crop: np.ndarray | None = None
    quality: Quality | None = None


def read_crop(data: bytes, image_size: int, max_pixels: int = MAX_PIXELS) -> Photograph:
    """Decodes a photograph, finds its field of view and cuts it out.

    Args:
      data: the whole file: JPEG, PNG, TIFF, BMP or DICOM.
      image_size: S, side of the crop in pixels.
      max_pixels: larger photographs are refused before they are decoded.

    Raises:
      PhotographError: the bytes are no readable photograph; `.reason` says why.
    """
    try:
        return _read_crop(data, image_size, max_pixels)
    except cv2.error as err:
        raise PhotographError("corrupt", f"OpenCV cannot work on it: {err.err}.") from err
    except MemoryError as err:
        raise PhotographError("too many pixels", "it needs more memory than there is. Reduce it.") from err


def _read_crop(data: bytes, image_size: int, max_pixels: int) -> Photograph:
    header = read_header(data)
    image, denominator = decode_scaled(data, max_pixels=max_pixels, min_side=round(image_size * MIN_SIDE_MARGIN))
    digest = hashlib.sha256(data).hexdigest()
    try:
        fov = find_fov(image)
        if denominator > 1 and 2 * fov.radius < image_size:  # a small disc in a large frame
            image, denominator = decode_photograph(data, max_pixels=max_pixels), 1
            fov = find_fov(image)
    except NotFundusError as err:
        refusal = Refusal(err.reason, str(err)[len(err.reason) + 2 :])
        return Photograph(digest, _upright_size(image, denominator, header.height, header.width), refusal)
    crop = crop_square(image, fov, image_size)
    size = _upright_size(image, denominator, header.height, header.width)
    return Photograph(digest, size, None, fov.scaled(denominator), crop, quality(crop))


def _upright_size(image: np.ndarray, denominator: int, height: int, width: int) -> tuple[int, int]:
    """Returns (height, width) of the upright photograph; EXIF may have swapped what the header states."""
    rows, columns = image.shape[:2]
    if denominator == 1:
        return int(rows), int(columns)
    stored = [(height, width), (width, height)]
    return min(stored, key=lambda size: abs(size[0] / denominator - rows))
