"""From the bytes of a photograph to the crop that a model takes, and what an answer says of it."""

from __future__ import annotations

import dataclasses
import hashlib

import cv2
import numpy as np

from dr_edge.fundus.appearance import COLOUR
from dr_edge.fundus.crop import FieldOfView, crop_square
from dr_edge.fundus.header_types import MAX_PIXELS, PhotographError
from dr_edge.fundus.locate import Refusal, locate
from dr_edge.fundus.quality import Quality, quality


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A decoded photograph and, where it shows a fundus, its crop.

    Attributes:
      sha256: of the file's bytes, 64 hexadecimal digits; None of an array.
      size: (height, width) of the upright photograph in pixels.
      refusal: why it is no fundus photograph; None where it is one, and then the others are there.
      fov: the field of view in pixels of the upright photograph.
      crop: [S, S, 3] uint8 RGB.
      quality: of the crop; None where it was not to be measured.
      kind: of picture, one of `appearance.KINDS`; "" where it was refused.
      covered: whether something lies over the retina, a label or text.
      pages: of a TIFF; the largest is the photograph.
    """

    sha256: str | None
    size: tuple[int, int]
    refusal: Refusal | None = None
    fov: FieldOfView | None = None
    crop: np.ndarray | None = None
    quality: Quality | None = None
    kind: str = ""
    covered: bool = False
    pages: int = 1


def read_crop(
    data: bytes | np.ndarray,
    image_size: int,
    max_pixels: int = MAX_PIXELS,
    pictures: tuple[str, ...] = (COLOUR,),
    measure_quality: bool = True,
) -> Photograph:
    """Decodes a photograph, finds its field of view and cuts it out.

    Args:
      data: the whole file: JPEG, PNG, TIFF, BMP, WebP, HEIC or DICOM; or the photograph, [H, W, 3] uint8 RGB.
      image_size: S, side of the crop in pixels.
      max_pixels: larger photographs are refused before they are decoded.
      pictures: the kinds that the model takes, see `appearance.wanted`.
      measure_quality: False where the model's graph does it.

    Raises:
      PhotographError: the bytes are no readable photograph; `.reason` says why.
      ValueError: an array of another shape or dtype.
    """
    try:
        return _read_crop(data, image_size, max_pixels, pictures, measure_quality)
    except cv2.error as err:
        raise PhotographError("corrupt", f"OpenCV cannot work on it: {err.err}.") from err
    except MemoryError as err:
        raise PhotographError("too many pixels", "it needs more memory than there is. Reduce it.") from err


def _read_crop(
    data: bytes | np.ndarray, image_size: int, max_pixels: int, pictures: tuple[str, ...], measure_quality: bool
) -> Photograph:
    found = locate(data, image_size, max_pixels, pictures)
    digest = None if isinstance(data, np.ndarray) else hashlib.sha256(data).hexdigest()
    if isinstance(found.fov, Refusal):
        return Photograph(digest, found.size, found.fov, pages=found.pages)
    crop = crop_square(found.image, found.fov, image_size)
    fov = found.fov.scaled(found.denominator)
    judged = quality(crop) if measure_quality else None
    return Photograph(digest, found.size, None, fov, crop, judged, found.kind, found.covered, found.pages)
