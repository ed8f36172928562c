"""Says whether what was found can be a retina: no document, no scan, no flower, no black frame."""

from __future__ import annotations

import cv2
import numpy as np

from dr_edge.fundus.circle_fit import Rim
from dr_edge.fundus.crop import brightest
from dr_edge.fundus.header_types import RefusedError


class NotFundusError(RefusedError):
    """The picture shows no fundus that could be graded.

    Its reason is 'too dark', 'no field of view', 'blank', 'more than one eye', 'a part of the retina', 'colours',
    'already normalised', 'greyscale', 'another kind' or 'too small'.
    """


_DARK_MEDIAN, _DARK_BRIGHT = 20.0, 36.0  # grey levels of the brightest channel: median, 90th percentile
_RETINA_COLOUR = 0.7  # fraction of the picture
# What surrounds a fundus is dark: in grey levels, or against the fundus itself (highest of 588 real ones: 17 %).
_DARK_AROUND, _DARK_AGAINST = 25.0, 0.22
# Of the disc must be in the picture and lit: 0.69 is the least of 3,163 photographs (square centre crops of EyePACS
# among them).
_LEAST_SEEN = 0.6
# Longer side / shorter side of what is lit: 1.51 at most of those photographs. A frame without a rim may be 16:9.
_LONGEST, _LONGEST_WITHOUT_RIM = 1.85, 1.52
# Without a rim: of the circle over the longest line through it must be lit. Of 270 photographs turned in their
# frame 0.66 is the least, a square has 0.64; half a disc or half a square has 0.53 at most.
_LEAST_FILLED = 0.56
_FAINT = 8  # grey levels: in a dark photograph the retina hardly stands out
_BLANK = 0.004  # standard deviation of detail / local brightness


def check_fundus(small: np.ndarray, rim: Rim | None, region: np.ndarray) -> None:
    """Raises NotFundusError unless the lit region can be a fundus.

    A clear disc is enough; where the retina fills the frame, or little of the rim is seen, the picture must
    have a retina's colour and some structure.

    Args:
      small: [h, w, 3] uint8 RGB.
      rim: the fitted rim, or None when none was found.
      region: [h, w] bool, the lit region.
    """
    if not region.any():
        raise NotFundusError("too dark", "nothing is lit above the border's brightness.")
    median, bright = np.percentile(brightest(small)[::2, ::2][region[::2, ::2]], (50, 90))
    if median < _DARK_MEDIAN and bright < _DARK_BRIGHT:
        raise NotFundusError(
            "too dark",
            f"brightness {median:.0f} (median) and {bright:.0f} (90th percentile) of 255; "
            f"{_DARK_MEDIAN:.0f} or {_DARK_BRIGHT:.0f} is needed.",
        )
    _check_surroundings(small, rim, region, float(median))
    if rim is not None and rim.support + rim.explained > 1.2:
        return
    colour = cv2.blur(small, (5, 5))[region].astype(np.int16)
    red, green, blue = colour[:, 0], colour[:, 1], colour[:, 2]
    retina_like = float(((red >= green) & (green >= blue - 25) & (red > blue + 8)).mean())
    if retina_like < _RETINA_COLOUR:
        raise NotFundusError(
            "no field of view",
            f"no clear disc, and {retina_like:.0%} of the picture has a retina's colour; "
            f"{_RETINA_COLOUR:.0%} is needed.",
        )
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    around = cv2.GaussianBlur(grey, (0, 0), 0.03 * max(grey.shape))
    detail = float(((grey - around) / (around + 20))[region].std())
    if detail < _BLANK:
        raise NotFundusError("blank", f"no disc and no structure (detail {detail:.4f}; {_BLANK} is needed).")


def _check_surroundings(small: np.ndarray, rim: Rim | None, region: np.ndarray, inside: float) -> None:
    """Raises NotFundusError when a good part of the frame lies outside the region and is not dark (or a page)."""
    reach = max(3, round(0.03 * max(region.shape))) | 1
    outside = ~cv2.dilate(region.astype(np.uint8), np.ones((reach, reach), np.uint8)).astype(bool)
    if rim is not None:
        rows, columns = np.ogrid[: region.shape[0], : region.shape[1]]
        away = ((columns - rim.x) / rim.aspect) ** 2 + (rows - rim.y) ** 2
        outside &= away > (1.05 * rim.radius) ** 2
    around = brightest(small)[outside]
    around = around[around < 245]  # the white of a page
    if around.size < 0.03 * region.size:
        return
    brightness = float(np.median(around))
    if brightness > max(_DARK_AROUND, _DARK_AGAINST * inside):
        raise NotFundusError(
            "no field of view",
            f"the surroundings reach {brightness:.0f} of 255, what they surround {inside:.0f}; "
            "a fundus camera's frame is dark.",
        )


def check_whole(small: np.ndarray, rim: Rim | None, region: np.ndarray) -> None:
    """Raises NotFundusError when much of the disc lies outside the picture or is black: what is there is not seen.

    Args:
      small: [h, w, 3] uint8 RGB.
      rim: the fitted rim, or None, where nothing more is known of the retina outside the picture.
      region: [h, w] bool, the lit region.
    """
    high, wide = int(region.any(axis=1).sum()), int(region.any(axis=0).sum())
    longer = max(high, wide) / max(min(high, wide), 1)
    if longer > (_LONGEST if rim is not None or region.mean() > 0.97 else _LONGEST_WITHOUT_RIM):
        raise NotFundusError(
            "a part of the retina",
            f"what is lit is {longer:.1f} times as long as wide, and no whole disc is. Use the whole photograph, in "
            "its own shape where it was squashed.",
        )
    if rim is None:
        filled = float(region.sum()) / (np.pi / 4 * _longest_line(region) ** 2)
        if filled < _LEAST_FILLED:
            raise NotFundusError(
                "a part of the retina",
                f"no whole disc is seen, and what is lit fills {filled:.0%} of the circle around it; "
                f"{_LEAST_FILLED:.0%} is needed. Use the whole photograph.",
            )
        return
    rows, columns = np.ogrid[: region.shape[0], : region.shape[1]]
    disc = ((columns - rim.x) / rim.aspect) ** 2 + (rows - rim.y) ** 2 <= rim.radius**2
    seen = float((disc & (region | (brightest(small) > _FAINT))).sum() / (np.pi * rim.radius**2 * rim.aspect))
    if seen < _LEAST_SEEN:
        raise NotFundusError(
            "a part of the retina",
            f"{seen:.0%} of the disc is in the picture and lit; {_LEAST_SEEN:.0%} is needed. Use the whole photograph.",
        )


def _longest_line(region: np.ndarray) -> float:
    """Returns the largest distance between two pixels of a region [h, w] bool, edge to edge, in pixels."""
    hull = cv2.convexHull(cv2.findNonZero(region.astype(np.uint8)))[:, 0].astype(np.int64)
    return float(np.sqrt(((hull[:, None] - hull[None]) ** 2).sum(axis=2).max())) + 1
