"""Says whether something lies over the retina: a label, text, an arrow, a bar, glare.

What was laid on a photograph has edges that no lens draws. They are counted on a 256-pixel copy of the crop, away from
the rim and from what is black around. A black label has faint edges in a dark photograph: a black place inside the
retina counts as well. Of 3,186 real photographs the limits name three that have annotations or glare, a film frame, one
of many exudates and one of pathologic myopia.
"""

from __future__ import annotations

import cv2
import numpy as np

from dr_edge.fundus.crop import brightest, disc_mask

COVER_SIDE = 256
_EDGE = 130  # grey levels of any channel within 3 x 3 pixels
_LEAST = 80  # pixels
_UNLIT, _LEAST_UNLIT = 10, 250  # grey levels; pixels
_INSIDE = 0.93  # of the radius
_REACH = 13  # side of the square that is kept clear of the surroundings, pixels


def is_covered(crop: np.ndarray) -> bool:
    """Returns whether a part of the retina is covered.

    Args:
      crop: [256, 256, 3] uint8 RGB, the crop around the field of view.
    """
    if crop.shape != (COVER_SIDE, COVER_SIDE, 3) or crop.dtype != np.uint8:
        raise ValueError(f"is_covered needs [{COVER_SIDE}, {COVER_SIDE}, 3] uint8. Received: {crop.shape}.")
    unlit = brightest(crop) <= _UNLIT
    clear = _clear(unlit)
    black = cv2.morphologyEx((unlit & clear).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    if np.count_nonzero(black) > _LEAST_UNLIT:
        return True
    kernel = np.ones((3, 3), np.uint8)
    steep = brightest(cv2.subtract(cv2.dilate(crop, kernel), cv2.erode(crop, kernel))) > _EDGE
    return int(np.count_nonzero(steep & clear)) > _LEAST


def _clear(unlit: np.ndarray) -> np.ndarray:
    """Returns [256, 256] bool: the disc without its rim and without what lies near the black that surrounds it."""
    unlit = unlit | ~disc_mask(COVER_SIDE, 0.99)
    framed = cv2.copyMakeBorder(unlit.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    cv2.floodFill(framed, None, (0, 0), 2)
    around = (framed[1:-1, 1:-1] == 2).astype(np.uint8)
    return disc_mask(COVER_SIDE, _INSIDE) & (cv2.dilate(around, np.ones((_REACH, _REACH), np.uint8)) == 0)
