"""From the bytes of a photograph to its field of view: the one path of records, heat maps and answers.

A model must be shown what it was trained on. A JPEG is decoded at a part of its size where that keeps all that the crop
needs; a decoder's own reduction and OpenCV's area filter differ by a grey level or two, which Graham's gain enlarges.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dr_edge.fundus.appearance import COLOUR, check_kind
from dr_edge.fundus.crop import FieldOfView
from dr_edge.fundus.fov import find
from dr_edge.fundus.gradability import NotFundusError
from dr_edge.fundus.header_types import MAX_PIXELS
from dr_edge.fundus.photograph import Decoded, decode, from_array

LEAST_SPAN = 1 / 3  # of the crop's side must the disc span in the photograph: what is enlarged further shows no lesion
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
      image: [H, W, 3] uint8 RGB, upright, a white margin painted black; a JPEG may be reduced.
      denominator: pixel edge x of `image` is x * denominator in the photograph.
      size: (height, width) of the upright photograph in pixels.
      fov: the field of view in pixels of `image`, or why there is none.
      kind: of picture, one of `appearance.KINDS`; "" where there is no field of view.
      covered: whether something lies over the retina, see `covered.py`.
      pages: of a TIFF; the largest was decoded.
    """

    image: np.ndarray
    denominator: int
    size: tuple[int, int]
    fov: FieldOfView | Refusal
    kind: str = ""
    covered: bool = False
    pages: int = 1


def locate(
    data: bytes | np.ndarray, image_size: int, max_pixels: int = MAX_PIXELS, pictures: tuple[str, ...] = (COLOUR,)
) -> Located:
    """Decodes a photograph and finds its field of view.

    Args:
      data: the whole file: JPEG, PNG, TIFF, BMP, WebP, HEIC or DICOM; or the photograph, [H, W, 3] uint8 RGB.
      image_size: side in pixels of the crop that will be cut out.
      max_pixels: larger photographs are refused before they are decoded.
      pictures: the kinds that are taken, see `appearance.wanted`; another is refused.

    Raises:
      PhotographError: the bytes are no readable photograph; `.reason` says why.
      ValueError: an array of another shape or dtype.
      cv2.error, MemoryError: OpenCV cannot work on it.
    """
    decoded = _decoded(data, max_pixels, round(image_size * MIN_SIDE_MARGIN))
    try:
        _check_span(max(decoded.size), image_size)
        found = find(decoded.image)
        if decoded.denominator > 1 and 2 * found.fov.radius < image_size:  # a small disc in a large frame
            decoded = _decoded(data, max_pixels)
            found = find(decoded.image)
        _check_span(2 * found.fov.radius * decoded.denominator, image_size)
        check_kind(found.kind, pictures)
    except NotFundusError as err:
        refusal = Refusal(err.reason, err.detail)
        return Located(decoded.image, decoded.denominator, decoded.size, refusal, pages=decoded.pages)
    image, pages = found.shown(decoded.image), decoded.pages
    return Located(image, decoded.denominator, decoded.size, found.fov, found.kind, found.covered, pages)


def _decoded(data: bytes | np.ndarray, max_pixels: int, min_side: int | None = None) -> Decoded:
    if isinstance(data, np.ndarray):
        return from_array(data, max_pixels)
    return decode(data, max_pixels=max_pixels, min_side=min_side)


def _check_span(span: float, image_size: int) -> None:
    if span < LEAST_SPAN * image_size:
        raise NotFundusError(
            "too small",
            f"the field of view spans {span:.0f} px at most, and the model sees {image_size} px: at least "
            f"{LEAST_SPAN * image_size:.0f} px are needed. Use the original photograph.",
        )
