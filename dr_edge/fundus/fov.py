"""Finds the field of view: the lit disc of a fundus photograph, whole or cut off by the frame.

Several brightness thresholds are tried on a small copy, because no single one suits a dark photograph, a
noisy border and an over-exposed disc. For each the largest lit region gives rim points; the circle on which
most of them agree, over the largest part of what the frame shows of it, wins. Straight cuts, notches, text
and bars do not lie on that circle.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from dr_edge.fundus.appearance import KINDS, NORMALISED, PROBE_SIDE, appearance, check_kind
from dr_edge.fundus.circle_fit import Rim, fit_rim, sharpen_rim
from dr_edge.fundus.covered import COVER_SIDE, is_covered
from dr_edge.fundus.crop import FieldOfView, brightest, crop_square, disc_mask, halved
from dr_edge.fundus.gradability import NotFundusError, check_fundus, check_whole
from dr_edge.fundus.margins import blackened, neutral_margin, white_margin
from dr_edge.fundus.several import shows_several

_WORK_SIDE = 480  # longest side of the copy that is searched
_STEPS = (15, 9, 25, 5, 40)  # thresholds above the border's brightness, grey levels; the likeliest first
_LIT = 10  # a pixel of a crop whose brightest channel is above this is lit
_LIT_LIKE = 100.0  # grey levels above the border for which the thresholds hold; they grow with brighter discs
_CLEAR_EDGE = 15.0  # grey levels across the outline of a region that stands out of a dark frame
_NO_RIM_RADIUS = 0.6  # of the longer side: loses < 3 % of a square frame, nothing of a 3:2 frame


@dataclasses.dataclass(frozen=True)
class Found:
    """Where a picture's fundus is.

    Attributes:
      fov: in pixels of the picture.
      kind: of picture, one of `appearance.KINDS`.
      margin: [h, w] bool, what lies around the photograph and shows black to a network; None where there is none.
      factor: how many pixels of the picture one of `margin` spans.
      covered: whether something lies over the retina, a label or text.
    """

    fov: FieldOfView
    kind: str
    margin: np.ndarray | None = None
    factor: int = 1
    covered: bool = False

    def shown(self, image: np.ndarray) -> np.ndarray:
        """Returns the picture [H, W, 3] uint8 that this was found in, as a network is to see it."""
        return blackened(image, self.margin, self.factor)


def find_fov(image: np.ndarray) -> FieldOfView:
    """Finds the disc of a fundus photograph, of any kind; see `find`."""
    return find(image).fov


def find(image: np.ndarray) -> Found:
    """Finds the disc of a fundus photograph and says what kind of picture it is.

    Args:
      image: [H, W, 3] uint8 RGB; any size, at least 16 pixels a side.

    Returns:
      The field of view in pixels of `image`; its box has whole-pixel edges and may exceed the frame. When the
      retina fills the frame and no rim is seen, the disc around the frame's middle with 0.6 of its longer
      side as radius.

    Raises:
      NotFundusError: with `.reason` and `.detail`; the picture shows no fundus, more than one, or a part of one, is too
        dark to show one, or its colours are no retina's.
      ValueError: not [H, W, 3] uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape[:2]) < 16:
        raise ValueError(f"find_fov needs [H, W, 3] uint8, 16 pixels a side. Received: {image.shape} {image.dtype}.")
    small, factor = image, 1
    while max(small.shape[:2]) > _WORK_SIDE and min(small.shape[:2]) >= 32:
        small, factor = halved(small), 2 * factor
    if max(small.shape[:2]) > _WORK_SIDE:
        raise NotFundusError("no field of view", f"{image.shape[1]}x{image.shape[0]} is a strip, no photograph.")
    neutral = neutral_margin(small)
    small = blackened(small, neutral)
    white = white_margin(small)
    inner = blackened(small, white)
    brightness = brightest(inner)
    rim, region = _search(brightness)
    if shows_several(small, brightness):
        raise NotFundusError(
            "more than one eye", "two or more discs are seen, and one alone would be graded. Cut them apart."
        )
    if neutral is not None and (rim is None or rim.support + rim.explained <= 1.2):
        raise NotFundusError(
            "already normalised",
            "the even grey around it is what normalisation leaves, and its disc is not clear enough to be cut out. Use "
            "the original photograph, or one that is black around.",
        )
    check_fundus(small, rim, region)
    check_whole(inner, rim, region)
    found = _to_fov(rim, region)
    box = FieldOfView.from_box(*(round(edge) for edge in found.box))
    kind = appearance(crop_square(inner, box, PROBE_SIDE))
    check_kind(kind, KINDS)
    top, left, bottom, right = (edge * factor for edge in found.box)
    height = round(bottom - top)
    width = height if found.aspect == 1 else round(right - left)
    top, left = round(top), round(left)
    fov = FieldOfView.from_box(top, left, top + height, left + width)
    return Found(fov, kind, _margin(white, neutral, kind), factor, is_covered(crop_square(inner, box, COVER_SIDE)))


def _margin(white: np.ndarray | None, neutral: np.ndarray | None, kind: str) -> np.ndarray | None:
    """Returns what is to show black: the grey around a normalised picture belongs to it, as records of such hold it."""
    parts = [part for part in (white, neutral if kind != NORMALISED else None) if part is not None]
    return np.logical_or.reduce(parts) if parts else None


def fov_mask(size_or_crop: int | np.ndarray) -> np.ndarray:
    """Returns [S, S] bool: the disc of a crop of that size; given a crop [S, S, 3] uint8, its lit part only."""
    if not isinstance(size_or_crop, np.ndarray):
        return disc_mask(size_or_crop)
    crop = size_or_crop
    if crop.ndim != 3 or crop.shape[0] != crop.shape[1] or crop.dtype != np.uint8:
        raise ValueError(f"fov_mask needs a size or [S, S, 3] uint8. Received: {crop.shape} {crop.dtype}.")
    return disc_mask(crop.shape[0]) & (brightest(crop) > _LIT)


def _search(brightest_channel: np.ndarray) -> tuple[Rim | None, np.ndarray]:
    """Returns the best rim (None when there is none worth the name) and the lit region, [h, w] bool."""
    height, width = brightest_channel.shape
    brightness = cv2.GaussianBlur(brightest_channel, (0, 0), 1.0)
    floor = float(np.percentile(brightness[::2, ::2], 1))
    scale = max(1.0, (float(np.percentile(brightness[::2, ::2], 90)) - floor) / _LIT_LIKE)
    tolerance = 0.006 * max(height, width)
    best, best_merit = None, 0.0
    region, region_edge = np.ones((height, width), bool), _CLEAR_EDGE
    for step in _STEPS:
        lit = _lit_region(brightness > floor + step * scale)
        if lit is None:
            continue
        points = _rim_points(lit)
        extent = float(max(lit.any(axis=0).sum(), lit.any(axis=1).sum()))
        edge = _edge_height(lit, brightness)
        if edge > region_edge and best is None:
            region, region_edge = lit, edge
        rims = [fit_rim(points, (height, width), radius_range=(0.4 * extent, 0.8 * extent), tolerance=tolerance)]
        if rims[0] is None or rims[0].explained < 0.8:
            limits = (0.25 * extent, 1.1 * extent)
            ellipse = fit_rim(points, (height, width), radius_range=limits, tolerance=tolerance, squashed=True)
            # A frame is seldom square unless the photograph was squashed into it; elsewhere, and where it is wide, it
            # must be clear.
            square = 0.97 < width / height < 1.03 and ellipse is not None and ellipse.aspect < 1
            if square or (ellipse is not None and _is_clear(ellipse)):
                rims.append(ellipse)
        for rim in rims:
            if rim is None or not _is_evident(rim) or not _contains(rim, lit):
                continue
            merit = rim.support + rim.explained + 0.3 * rim.arc / 360 + 0.5 * min(edge / 30, 1)
            merit -= 0.1 * (rim.aspect != 1)
            if merit > best_merit + 0.02:
                best, best_merit, region = rim, merit, lit
        if best is not None and min(best.support, best.explained) > 0.94 and edge > 30:
            break
    if best is not None:
        best = sharpen_rim(best, brightness, reach=0.06, tolerance=tolerance)
    return best, region


def _is_evident(rim: Rim) -> bool:
    """Returns whether enough of a rim is seen: a long arc, or the corners of a frame that a larger disc fills."""
    if rim.support < 0.35 or rim.support + rim.explained < 1.0:
        return False
    corners = rim.quarters >= 3 and rim.support > 0.65 and rim.explained > 0.9 and rim.arc >= 12
    return corners or rim.arc >= 40


def _is_clear(ellipse: Rim) -> bool:
    """Returns whether nearly all of an ellipse is seen, and nothing else."""
    return ellipse.support > 0.6 and ellipse.explained > 0.7 and ellipse.arc > 150


def _edge_height(region: np.ndarray, brightness: np.ndarray) -> float:
    """Returns the median fall of brightness across the region's outline inside the frame, in grey levels.

    0 when less than a tenth of the outline lies inside the frame.
    """
    mask = region.astype(np.uint8)
    kernel = np.ones((7, 7), np.uint8)
    outline = region & ~cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=0).astype(bool)
    free = outline.copy()
    free[:4], free[-4:], free[:, :4], free[:, -4:] = False, False, False, False
    if free.sum() < 0.1 * outline.sum():
        return 0.0
    fall = cv2.dilate(brightness, kernel).astype(np.int16) - cv2.erode(brightness, kernel)
    return float(np.median(fall[free]))


def _lit_region(lit: np.ndarray) -> np.ndarray | None:
    """Returns the largest lit region, freed of thin bars and filled, [h, w] bool; None when nothing is lit."""
    opened = cv2.morphologyEx(lit.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    contours, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    largest = max(contours, key=cv2.contourArea)
    if cv2.contourArea(largest) < 0.02 * lit.size:
        return None
    filled = np.zeros(lit.shape, np.uint8)
    cv2.drawContours(filled, [largest], -1, 1, cv2.FILLED)
    return filled.astype(bool)


def _rim_points(region: np.ndarray) -> np.ndarray:
    """Returns [N, 2] float (x, y): outline points on the region's convex hull that the frame did not cut."""
    height, width = region.shape
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=len)
    hull = np.zeros(region.shape, np.uint8)
    cv2.drawContours(hull, [cv2.convexHull(outline)], -1, 1, cv2.FILLED)
    depth = cv2.distanceTransform(cv2.copyMakeBorder(hull, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
    points = outline[:, 0]
    x, y = points[:, 0], points[:, 1]
    on_hull = depth[y + 1, x + 1] <= 2.5  # a dark shadow's edge lies inside the hull, the disc's rim on it
    margin = 2
    free = (x >= margin) & (y >= margin) & (x < width - margin) & (y < height - margin)
    return points[on_hull & free].astype(np.float64)


def _contains(rim: Rim, region: np.ndarray) -> bool:
    some = region[::2, ::2]
    x = (np.arange(some.shape[1]) * 2 - rim.x) / rim.aspect
    y = np.arange(some.shape[0]) * 2 - rim.y
    outside = x[None, :] ** 2 + y[:, None] ** 2 > (1.02 * rim.radius) ** 2
    return bool((outside & some).sum() < 0.03 * some.sum())


def _to_fov(rim: Rim | None, region: np.ndarray) -> FieldOfView:
    if rim is not None:
        return FieldOfView(rim.x, rim.y, rim.radius, rim.aspect)
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    radius = _NO_RIM_RADIUS * max(rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
    return FieldOfView((columns[0] + columns[-1]) / 2, (rows[0] + rows[-1]) / 2, radius)
