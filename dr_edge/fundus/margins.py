"""What a picture has around the photograph: the white of a page or a screen, the even grey that normalisation leaves.

The search for the field of view paints it black, and so does whoever cuts the crop: a network must see what the search
saw, and no photograph that it was trained on has white corners.
"""

from __future__ import annotations

import cv2
import numpy as np

from dr_edge.fundus.crop import border_of, brightest

_WHITE = 245  # grey levels
_WHITE_BORDER, _WHITE_SIDE = 0.6, 0.5  # of the whole border, or of one side, is white where there is a margin
_SHARP = 200  # grey levels of the darkest channel close to a margin; burnt-out retina fades slowly
_NEUTRAL_BORDER = 0.25  # of the border is the grey that normalisation leaves
_CALM = 16  # grey levels between the extremes of 5 x 5 pixels of such a frame, also after JPEG


def white_margin(small: np.ndarray) -> np.ndarray | None:
    """Returns the white margin of a scan, a figure or a screenshot.

    Args:
      small: [h, w, 3] uint8 RGB.

    Returns:
      [h, w] bool, with two pixels more where the photograph begins; None where there is no such margin.
    """
    # The border first: of most photographs it says that there is none.
    if (border_of(small).max(axis=1) >= _WHITE).mean() >= _WHITE_BORDER:
        return _reached_from_outside(brightest(small) >= _WHITE)
    sides = (small[0], small[-1], small[:, 0], small[:, -1])
    if max((side.min(axis=1) >= _WHITE).mean() for side in sides) < _WHITE_SIDE:
        return None
    darkest = 255 - brightest(255 - small)
    white = darkest >= _WHITE
    margin = _reached_from_outside(white)
    close = cv2.dilate(margin.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~margin
    return margin if close.any() and np.median(darkest[close]) <= _SHARP else None


def neutral_margin(small: np.ndarray) -> np.ndarray | None:
    """Returns the even grey 128 that normalisation leaves around a picture [h, w, 3] uint8; as `white_margin`."""
    border = border_of(small)
    if ((border.max(axis=1) <= 136) & (border.min(axis=1) >= 120)).mean() < _NEUTRAL_BORDER:
        return None
    high, low = brightest(small), 255 - brightest(255 - small)
    kernel = np.ones((5, 5), np.uint8)
    # Detail is not calm, though its average is the same grey.
    calm = cv2.subtract(cv2.dilate(high, kernel), cv2.erode(low, kernel)) <= _CALM
    return _reached_from_outside(calm & (high <= 144) & (low >= 112))


def blackened(image: np.ndarray, margin: np.ndarray | None, factor: int = 1) -> np.ndarray:
    """Returns a picture with its margin painted black.

    Args:
      image: [H, W] or [H, W, 3] uint8.
      margin: [h, w] bool, found in `image` or in a copy of it that was halved; None for none.
      factor: how many pixels of `image` one of the copy spans.

    Returns:
      A painted copy, or `image` itself where there is no margin.
    """
    if margin is None:
        return image
    large = np.repeat(np.repeat(margin, factor, axis=0), factor, axis=1)
    rows, columns = (max(0, image.shape[axis] - large.shape[axis]) for axis in (0, 1))
    # Halving leaves an odd last line out: it goes on as the one before it.
    large = np.pad(large, ((0, rows), (0, columns)), mode="edge")
    image = image.copy()
    image[large] = 0
    return image


def _reached_from_outside(even: np.ndarray) -> np.ndarray:
    framed = cv2.copyMakeBorder(even.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    cv2.floodFill(framed, None, (0, 0), 2)
    outside = (framed[1:-1, 1:-1] == 2).astype(np.uint8)
    return cv2.dilate(outside, np.ones((5, 5), np.uint8)).astype(bool)
