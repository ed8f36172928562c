"""Says whether something lies over the retina: a label, text, an arrow, a bar, glare.

Four things are looked for on a 256-pixel copy of the crop, away from the rim and from what is black around; none of
them is a retina's:

- steep edges, which no lens draws: white and coloured labels, text and bars, glare;
- a black place inside the retina: a black label in a dark photograph, whose edges are faint;
- thin strokes that are far darker in red than what is around them, however dark that is: black and green text, arrows.
  Vessels and haemorrhages take little of the red light;
- a patch of even colour that what surrounds it does not have: one without colour, of any shape, or a rectangle of any
  colour. A burnt-out optic disc is even and colourless, too, but bright.

Of 3,186 real photographs they name six: two with annotations, one with glare, a film frame, one of many exudates and
one of pathologic myopia.
"""

from __future__ import annotations

import cv2
import numpy as np

from dr_edge.fundus.crop import brightest, disc_mask

COVER_SIDE = 256
_EDGE = 130  # grey levels of any channel within 3 x 3 pixels
_LEAST = 80  # pixels
_UNLIT, _LEAST_UNLIT = 10, 250  # grey levels; pixels
# Red of a stroke, of what surrounds it, which is brighter than so many grey levels; pixels. Most of a real one: 4.
_STROKE, _STROKE_ON, _LEAST_STROKE = 0.4, 40, 24
_INSIDE = 0.93  # of the radius
_REACH = 13  # side of the square that is kept clear of the surroundings, pixels

_COLOURED = 10.0  # grey levels between the channels, median of a retina: else colourless says nothing
_PATCH_LIT = 20  # grey levels of a patch's brightest channel, at least
# Grey levels between the extremes of 5 x 5 pixels, of all channels together (no colour) and of each (even).
_COLOURLESS, _EVEN = 16, 10
# At least so many pixels, in such a part of the rectangle around them; such a part of the ring around them differs by
# more than so many grey levels; their brightest channel, at most. Of a real ring 0.40 and 0.26 differ at most.
_GREY_PATCH = 30, 0.0, 0.45, 40, 235
_RECTANGLE = 100, 0.9, 0.4, 30, 255
_RING = 9, 11  # sides of the squares by which a patch grows to the inner and the outer edge of its ring


def is_covered(crop: np.ndarray) -> bool:
    """Returns whether a part of the retina is covered.

    Args:
      crop: [256, 256, 3] uint8 RGB, the crop around the field of view.
    """
    if crop.shape != (COVER_SIDE, COVER_SIDE, 3) or crop.dtype != np.uint8:
        raise ValueError(f"is_covered needs [{COVER_SIDE}, {COVER_SIDE}, 3] uint8. Received: {crop.shape}.")
    unlit = brightest(crop) <= _UNLIT
    clear = _clear(unlit)
    if np.count_nonzero(_opened(unlit & clear)) > _LEAST_UNLIT:
        return True
    steep = brightest(_spread(crop, 3)) > _EDGE
    if np.count_nonzero(steep & clear) > _LEAST:
        return True
    return _has_dark_strokes(crop[..., 0], clear) or _has_patch(crop, clear)


def _has_dark_strokes(red: np.ndarray, clear: np.ndarray) -> bool:
    """Returns whether strokes of at most six pixels are far darker than what is around them, in red [256, 256]."""
    around = cv2.morphologyEx(red, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    stroke = (red < _STROKE * around) & (around > _STROKE_ON) & clear
    return int(np.count_nonzero(stroke)) > _LEAST_STROKE


def _has_patch(crop: np.ndarray, clear: np.ndarray) -> bool:
    """Returns whether an even patch stands out of what surrounds it."""
    high, low = brightest(crop), 255 - brightest(255 - crop)
    if not clear.any() or np.median((high - low)[clear]) < _COLOURED:
        return False
    kernel = np.ones((5, 5), np.uint8)
    colourless = cv2.subtract(cv2.dilate(high, kernel), cv2.erode(low, kernel)) <= _COLOURLESS
    even = brightest(_spread(crop, 5)) <= _EVEN
    lit = clear & (high > _PATCH_LIT)
    return _stands_out(crop, _opened(colourless & lit), *_GREY_PATCH) or _stands_out(
        crop, _opened(even & lit), *_RECTANGLE
    )


def _stands_out(
    crop: np.ndarray, even: np.ndarray, least: int, filled: float, differing: float, levels: int, brightest_of: int
) -> bool:
    """Returns whether one region of `even` [256, 256] uint8 is a patch: large, of a shape, with an edge."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(even, connectivity=8)
    inner, outer = (np.ones((side, side), np.uint8) for side in _RING)
    margin = _RING[1] // 2 + 1
    for label in range(1, count):
        x, y, width, height, area = (int(each) for each in statistics[label])
        if area < least or area < filled * width * height:
            continue
        window = np.s_[max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin]
        patch, pixels = labels[window] == label, crop[window]
        colour = pixels[patch].mean(axis=0)
        if colour.max() > brightest_of:
            continue
        grown = patch.astype(np.uint8)
        ring = cv2.dilate(grown, outer) > cv2.dilate(grown, inner)
        away = np.abs(pixels[ring] - colour).max(axis=1)
        if np.count_nonzero(away > levels) > differing * len(away):
            return True
    return False


def _spread(crop: np.ndarray, side: int) -> np.ndarray:
    """Returns the highest minus the lowest level around each pixel, of each channel: [256, 256, 3] uint8."""
    kernel = np.ones((side, side), np.uint8)
    return cv2.subtract(cv2.dilate(crop, kernel), cv2.erode(crop, kernel))


def _opened(mask: np.ndarray) -> np.ndarray:
    """Returns [256, 256] uint8: what of a mask holds a square of 5 pixels."""
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))


def _clear(unlit: np.ndarray) -> np.ndarray:
    """Returns [256, 256] bool: the disc without its rim and without what lies near the black that surrounds it."""
    unlit = unlit | ~disc_mask(COVER_SIDE, 0.99)
    framed = cv2.copyMakeBorder(unlit.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    cv2.floodFill(framed, None, (0, 0), 2)
    around = (framed[1:-1, 1:-1] == 2).astype(np.uint8)
    return disc_mask(COVER_SIDE, _INSIDE) & (cv2.dilate(around, np.ones((_REACH, _REACH), np.uint8)) == 0)
