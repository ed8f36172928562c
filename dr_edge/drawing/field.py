"""Where a crop shows retina: what a heat map may be drawn on. numpy and OpenCV only."""

from __future__ import annotations

import numpy as np

from dr_edge.fundus.crop import brightest, disc_mask

LIT = 10  # of 255; outside the field of view a camera leaves less,
RETINA = 30  # and surely less than this


def field_of_view(crop: np.ndarray) -> np.ndarray:
    """Finds the field of view in a crop, so that no heat is drawn on the black around it.

    Inside lies what has something lit on either side, along its row and along its column: dark vessels and a shadow are
    inside, corners and the part that the frame cut off are not. Where the corners are dark, the disc bounds it, too; in
    a crop around the optic disc they are retina.

    Args:
      crop: [S, S, 3] uint8 RGB, before normalisation.

    Returns:
      [S, S] bool; everywhere False where nothing is lit.
    """
    lit = brightest(crop) > LIT
    inside = _between(lit, 0) & _between(lit, 1)
    disc = disc_mask(len(crop))
    corners_are_retina = (brightest(crop)[~disc] > RETINA).mean() > 0.5
    return inside if corners_are_retina else inside & disc


def _between(lit: np.ndarray, axis: int) -> np.ndarray:
    """Returns where something is lit before and behind a pixel (or at it) along an axis."""
    behind = np.flip(np.logical_or.accumulate(np.flip(lit, axis), axis), axis)
    return np.logical_or.accumulate(lit, axis) & behind
