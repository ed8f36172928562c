"""What a JPEG does to the two levels of a mask: its noise blurs each, and may hide a third one that lies close."""

from __future__ import annotations

import cv2
import numpy as np

NOISE = 16  # grey levels by which a JPEG moves those of a plain region
APART = 40  # from a region's level: beyond its noise, and not yet within that of the next one
# Grey levels between the extremes of 5 x 5 pixels of a plain region; soft edges, and the ringing at sharp ones, vary
# more.
PLAIN = 6
# Grey levels between a faint region and the level it is taken for; beyond, it counts as a third level.
BESIDE = (8, 36)
PLATEAU = 0.05  # of the structure's area


def close_levels(levels: np.ndarray, inside: np.ndarray) -> tuple[int, int] | None:
    """Returns two levels of plain regions so near to each other that a JPEG's noise may mix them; else None.

    A faint third level (0, 20, 255) is such a one; edges, soft or sharp, and experts' steps of a quarter are not.

    Args:
      levels: [H, W] uint8 of a file whose compression changes levels.
      inside: [H, W] bool, the brighter half of their range.
    """
    smooth = cv2.medianBlur(levels, 3)
    kernel = np.ones((5, 5), np.uint8)
    plain = cv2.subtract(cv2.dilate(smooth, kernel), cv2.erode(smooth, kernel)) <= PLAIN
    smaller = min(np.count_nonzero(inside), np.count_nonzero(~inside))
    for side in (plain & ~inside, plain & inside):
        if not side.any():
            continue
        commonest = int(np.bincount(smooth[side]).argmax())
        away = np.abs(smooth.astype(np.int32) - commonest)
        beside = smooth[side & (away >= BESIDE[0]) & (away <= BESIDE[1])]
        if len(beside) <= max(9.0, PLATEAU * smaller):
            continue
        level = int(np.median(beside))
        # Of one level; a very soft edge has all of them.
        if (np.abs(beside.astype(np.int32) - level) <= PLAIN).mean() > 0.8:
            return commonest, level
    return None


def too_close(one: int, other: int) -> str:
    """Returns what is said of two levels that `close_levels` found."""
    return (
        f"its compression changes levels, and those near {one} and near {other} cannot be told apart. Save it as PNG "
        "from the original"
    )


def cut_region(levels: np.ndarray, inside: np.ndarray, bound: int) -> int | None:
    """Returns the level of a region whose noise lies on both sides of a bound; None where only edges cross it."""
    level = levels.astype(np.int32)
    near = np.abs(level - bound) <= NOISE
    inner = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8))
    edge = int(np.count_nonzero(inside)) - int(np.count_nonzero(inner))
    wide = 2 * NOISE + 1
    low, high = int(level.min()), int(level.max())
    sides = [
        int(np.count_nonzero(np.abs(level - centre) <= NOISE))
        for centre in (bound - wide, bound + wide)
        if low <= centre <= high
    ]
    crossing = int(np.count_nonzero(near))
    if crossing <= max(8, edge // 2) or (sides and crossing <= 2 * min(sides)):
        return None
    return int(np.median(level[near]))
