"""Says whether a picture shows more than one fundus: both eyes side by side, one above the other, a montage.

Only one of them would be graded, and nobody would learn of the other. What stands out of the background is divided into
parts, where two discs touch at their waist; a part is a fundus when it is convex, not too small, and what lies in it
looks like a retina. A label or a bar is none; a logo or a colour chart has few colours, each of them flat.
"""

from __future__ import annotations

import cv2
import numpy as np

from dr_edge.fundus.crop import border_of, brightest, halved

_STEPS = (5, 12, 25)  # thresholds above the border's brightness, grey levels
_LEAST_AREA = 0.05  # of the largest part: a disc of 0.22 times its radius
_LEAST_OF_FRAME = 0.01
_CORES = (0.85, 0.7, 0.55, 0.4)  # of the greatest distance from the outline: where parts that touch fall apart
_MOST_PARTS = 12
_CONVEX = 0.93  # of its hull is the part; less in one that was divided, whose cut is not straight
_CONVEX_DIVIDED = 0.9
_LONGEST, _LONGEST_DIVIDED = 2.6, 2.18  # longer side / shorter side
_RETINA_COLOUR = 0.5  # of a part is not green or blue ...
_COLD = 20  # ... by so many grey levels
_FLAT = 0.45  # of a part has one of its 24 commonest colours: a logo, a chart
_COMMONEST, _COMMONEST_GREY = 24, 6  # a part without colour has 256 at most
_GREY = 12  # grey levels between the channels on average
# Of its box is a part at most: without colour a panel, a ramp or an OCT scan looks like a retina otherwise.
_ROUND = 0.93
_GREY_SIDE = 0.35  # of the frame's shorter side are its sides at least: a layer of an OCT scan falls into round pieces
_EVEN = 10  # grey levels around a border's colour
_BAR, _BAR_LIT = 16, 25  # grey levels between the extremes of a bar, also after JPEG; and its least
_BORDER = 0.6  # of a border has one colour


def shows_several(small: np.ndarray, brightness: np.ndarray) -> bool:
    """Returns whether a picture shows two or more parts that look like a fundus.

    Args:
      small: [h, w, 3] uint8 RGB.
      brightness: [h, w] uint8, the brightest channel, black where the picture has a white margin.
    """
    away = _against_border(small)
    standing_out = _without_bars(small, brightness if away is None else cv2.min(brightness, away))
    if max(small.shape[:2]) > 240:
        small, standing_out = halved(small), halved(standing_out)
    floor = float(np.percentile(standing_out[::2, ::2], 1))
    scale = max(1.0, (float(np.percentile(standing_out[::2, ::2], 90)) - floor) / 100)
    for step in _STEPS:
        parts = _parts(standing_out > floor + step * scale)
        if len(parts) > 1 and sum(_like_a_fundus(part, small) for part in parts) > 1:
            return True
    return False


def _without_bars(small: np.ndarray, standing_out: np.ndarray) -> np.ndarray:
    """Returns `standing_out` without lit lines of one colour from edge to edge, which stand between pictures."""
    kept = standing_out
    for axis in (0, 1):
        lit = cv2.reduce(standing_out, axis, cv2.REDUCE_MIN).ravel() > _BAR_LIT
        if not lit.any():
            continue
        extent = cv2.subtract(cv2.reduce(small, axis, cv2.REDUCE_MAX), cv2.reduce(small, axis, cv2.REDUCE_MIN))
        bars = lit & (brightest(extent).ravel() <= _BAR)
        if bars.any() and not bars.all():
            kept = np.where(bars[None, :] if axis == 0 else bars[:, None], 0, kept).astype(np.uint8)
    return kept


def _against_border(small: np.ndarray) -> np.ndarray | None:
    """Returns [h, w] uint8, how far each pixel lies from the colour of an even lit border; None where there is none."""
    border = border_of(small).astype(np.int16)
    colour = np.median(border, axis=0)
    even = (np.abs(border - colour) <= _EVEN).all(axis=1).mean() >= _BORDER
    if not even or colour.max() < 25:
        return None
    away = np.abs(small - np.rint(colour).astype(np.int16)).max(axis=2).astype(np.uint8)
    return cv2.GaussianBlur(away, (0, 0), 1.0)


def _parts(lit: np.ndarray) -> list[np.ndarray]:
    """Returns the parts of what is lit, [h, w] bool each; discs that touch are two parts."""
    opened = cv2.morphologyEx(lit.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contours = sorted(contours, key=cv2.contourArea, reverse=True)[:_MOST_PARTS]
    if not contours or cv2.contourArea(contours[0]) < 0.02 * lit.size:
        return []
    least = max(_LEAST_AREA * cv2.contourArea(contours[0]), _LEAST_OF_FRAME * lit.size)
    parts = []
    for contour in contours:
        if cv2.contourArea(contour) < least:
            break
        filled = np.zeros(lit.shape, np.uint8)
        cv2.drawContours(filled, [contour], -1, 1, cv2.FILLED)
        solid = cv2.contourArea(contour) / max(cv2.contourArea(cv2.convexHull(contour)), 1.0)
        divided = _divided(filled) if solid < 0.985 else [filled.astype(bool)]
        limits = (_CONVEX, _LONGEST) if len(divided) == 1 else (_CONVEX_DIVIDED, _LONGEST_DIVIDED)
        parts += [part for part in divided if part.sum() >= least and _is_compact(part, *limits)]
    return parts


def _divided(mask: np.ndarray) -> list[np.ndarray]:
    """Divides a region at its waists; a region without one is returned whole."""
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
    peak = float(depth.max())
    best: list[tuple[float, float, float]] = []
    for share in _CORES:
        count, labels = cv2.connectedComponents((depth > share * peak).astype(np.uint8))
        cores = []
        for label in range(1, min(count, _MOST_PARTS)):
            inside = np.where(labels == label, depth, 0)
            y, x = divmod(int(inside.argmax()), mask.shape[1])
            if inside[y, x] > (share + 0.05) * peak:
                cores.append((float(x), float(y), float(inside[y, x])))
        if len(cores) > len(best):
            best = cores
    if len(best) < 2:
        return [mask.astype(bool)]
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    nearest = np.argmin([np.hypot(columns - x, rows - y) - radius for x, y, radius in best], axis=0)
    return [(mask != 0) & (nearest == index) for index in range(len(best))]


def _is_compact(part: np.ndarray, convex: float, longest: float) -> bool:
    contours, _ = cv2.findContours(part.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=cv2.contourArea)
    _, _, width, height = cv2.boundingRect(contour)
    hull = cv2.contourArea(cv2.convexHull(contour))
    return max(width, height) <= longest * min(width, height) and cv2.contourArea(contour) >= convex * hull


def _like_a_fundus(part: np.ndarray, small: np.ndarray) -> bool:
    """Returns whether what lies in a part has a retina's colours, or is grey and round, and not few flat ones."""
    inner = cv2.erode(part.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1).astype(bool)
    pixels = small[inner].astype(np.int32)
    if not len(pixels):
        return False
    grey = float((pixels.max(axis=1) - pixels.min(axis=1)).mean()) <= _GREY
    if _commonest(pixels, _COMMONEST_GREY if grey else _COMMONEST) > _FLAT or (grey and not _is_large_and_round(part)):
        return False
    red, green, blue = pixels.T
    return float((red > np.maximum(green, blue) - _COLD).mean()) >= _RETINA_COLOUR


def _is_large_and_round(part: np.ndarray) -> bool:
    _, _, width, height = cv2.boundingRect(part.astype(np.uint8))
    large = min(width, height) >= _GREY_SIDE * min(part.shape)
    return large and int(np.count_nonzero(part)) <= _ROUND * width * height


def _commonest(pixels: np.ndarray, most: int) -> float:
    """Returns how much of the pixels has one of the `most` commonest colours; burnt-out white does not count."""
    clear = pixels.max(axis=1) < 250
    codes = pixels[clear] @ np.array([65536, 256, 1])
    return float(np.sort(np.unique(codes, return_counts=True)[1])[-most:].sum() / len(pixels)) if len(codes) else 1.0
