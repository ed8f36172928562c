"""What is inside in a mask that somebody drew: half of the file's own range, or the grey levels that the user names.

A mask has two levels: outside and inside, with soft or compressed edges between. Whatever else a file holds (labels 0,
1, 2; 0, 128, 255; several colours; a photograph) is refused with what to do: a guess would be a wrong mask in silence.
"""

from __future__ import annotations

import re

import cv2
import numpy as np

from tfrecord_tools import lossy_levels
from tfrecord_tools.lossy_levels import APART
from tfrecord_tools.mask_levels import MaskError, describe

NUMBERED = 31  # up to this level three or more levels are numbers of structures, not grey
LEAST_LOSSY_SPAN = 64  # grey levels; below, the noise of a JPEG cannot be told from a mask
EDGE = 1 / 8  # of the range, from each end: what lies between is neither outside nor inside
PLATEAU = 0.02  # of the lit area, after one step of erosion: a region of its own, no edge
MOST_BETWEEN = 0.25  # of the picture
FEW_LEVELS = 12
_VALUE = re.compile(r"(?P<name>.+?)\s*(?:(?P<sign>>=|<=)\s*(?P<bound>\d+)|=\s*(?P<low>\d+)(?:\s*-\s*(?P<high>\d+))?)")


def parse_values(entries: list[str]) -> dict[str, tuple[int, int]]:
    """Reads --mask_values: "optic_cup=2", "optic_disc>=1", "optic_disc<=128", "optic_disc=1-2" -> name -> (low, high).

    Raises:
      MaskError: an entry that is none of these.
    """
    values = {}
    for entry in entries:
        found = _VALUE.fullmatch(entry.strip())
        if found is None:
            raise MaskError(
                f"--mask_values holds {entry!r}. Write the grey levels that are inside: optic_cup=2, optic_disc>=1, "
                "optic_disc<=128 or optic_disc=1-2."
            )
        bound = int(found["bound"] or 0)
        low = int(found["low"]) if found["low"] else bound if found["sign"] == ">=" else 0
        high = int(found["high"] or found["low"]) if found["low"] else bound if found["sign"] == "<=" else 65535
        if low > high:
            raise MaskError(f"--mask_values holds {entry!r}: {low} is above {high}. Write the lower level first.")
        values[found["name"]] = (low, high)
    return values


def half(levels: np.ndarray, lossy: bool, name: str) -> np.ndarray:
    """Returns [H, W] bool, inside: above the middle of the file's own range. A file that is all black is an empty mask.

    Raises:
      MaskError: more than two levels, or no mask at all.
    """
    low, high = float(levels.min()), float(levels.max())
    if high == low:
        if high == 0:
            return np.zeros(levels.shape, bool)
        raise MaskError(f"is of one grey level, {high:g}, everywhere")
    values, counts = np.unique(levels, return_counts=True)
    held = describe(values, counts)
    if lossy and high - low < LEAST_LOSSY_SPAN:
        raise MaskError(f"holds only the levels {low:g} to {high:g}, and its compression changes them. Save it as PNG")
    if not lossy and len(values) > 2 and high <= NUMBERED:
        raise MaskError(f"{held}: which are inside? {_hint(name, numbered=True)}")
    position = (levels.astype(np.float64) - low) / (high - low)
    inside = position >= 0.5
    between = (position > EDGE) & (position < 1 - EDGE)
    if between.mean() > MOST_BETWEEN:
        raise MaskError(f"is no mask: {between.mean():.0%} of its pixels are neither bright nor dark")
    third = _third_level(position, between, inside, low, high)
    if third is None and not lossy and 2 < len(values) <= FEW_LEVELS:
        third = _faint_level(levels, values, inside)
    if third is None and lossy and (close := lossy_levels.close_levels(levels, inside)):
        raise MaskError(f"holds a faint third level: {lossy_levels.too_close(*close)}")
    if third is not None:
        raise MaskError(
            f"{'holds a third level near ' + format(third, '.0f') if lossy else held}: which are inside? "
            f"{_hint(name, numbered=False, lossy=lossy)}"
        )
    return inside


def _third_level(
    position: np.ndarray, between: np.ndarray, inside: np.ndarray, low: float, high: float
) -> float | None:
    """Returns a grey level between the two that fills a region of its own; None for edges and steps of agreement."""
    levels, counts = np.unique(position[between], return_counts=True)
    if len(levels) == 0:
        return None
    if 2 <= len(levels) <= FEW_LEVELS:  # experts' masks, averaged: even steps; of three experts most agree
        steps = np.diff(np.concatenate([[0.0], levels, [1.0]]))
        unit = 1 / round(1 / steps.min())
        even = unit > 1 / FEW_LEVELS and np.abs(levels / unit - np.round(levels / unit)).max() < 0.06
        agreed = len(levels) > 2 or (position >= 1 - EDGE).sum() >= 0.3 * (position > EDGE).sum()
        if even and agreed:
            return None
    order = np.repeat(levels, counts)
    ends = np.searchsorted(order, order + 0.1, side="right")
    widest = int(np.argmax(ends - np.arange(len(order))))
    share = (ends[widest] - widest) / len(order)
    region = between & (position >= order[widest]) & (position <= order[widest] + 0.1)
    inner = cv2.erode(region.astype(np.uint8), np.ones((3, 3), np.uint8)).sum()
    smaller = min(np.count_nonzero(inside), np.count_nonzero(~inside))  # the structure, also where it is the dark part
    if share < 0.5 or inner <= max(4.0, PLATEAU * smaller):
        return None
    return low + (high - low) * float(np.median(position[region]))


def _faint_level(levels: np.ndarray, values: np.ndarray, inside: np.ndarray) -> float | None:
    """Returns a level near one of the two that fills a region of its own (0, 25, 255); None where steps are even."""
    steps = np.diff(values.astype(np.float64))
    if len(values) > 3 and steps.max() - steps.min() <= 2:
        return None
    smaller = min(np.count_nonzero(inside), np.count_nonzero(~inside))
    for value in values[1:-1]:
        inner = cv2.erode((levels == value).astype(np.uint8), np.ones((3, 3), np.uint8)).sum()
        if value < values[-1] - 0.02 * (values[-1] - values[0]) and inner > max(4.0, PLATEAU * smaller):
            return float(value)
    return None


def _hint(name: str, *, numbered: bool, lossy: bool = False) -> str:
    both = "" if name in ("optic_disc", "optic_cup") else '--mask_columns="optic_disc=COLUMN,optic_cup=COLUMN" '
    if numbered:
        return (
            f'Say it: --mask_values="{name}=2", or {name}>=1. Where 1 is the disc\'s rim and 2 the cup: '
            f'{both}--mask_values="optic_disc>=1,optic_cup=2"'
        )
    refuge = f'{both}--mask_values="{refuge_values(lossy)}"'
    own = f"{name}={128 - APART}-{128 + APART}" if lossy else f"{name}=128"
    return (
        f'Say it: --mask_values="{own}" or {name}<={128 + APART if lossy else 128}. In REFUGE 0 is cup, 128 the'
        f" disc's rim and 255 background: {refuge}"
    )


def refuge_values(lossy: bool) -> str:
    """Returns the --mask_values of REFUGE's files, 0 cup, 128 the disc's rim, 255 background; lossy: saved as JPEG."""
    return f"optic_disc<={128 + APART},optic_cup<={APART}" if lossy else "optic_disc<=128,optic_cup=0"


def named_levels(levels: np.ndarray, lossy: bool, low: int, high: int) -> np.ndarray:
    """Returns [H, W] bool: low <= level <= high.

    Raises:
      MaskError: of a file whose compression changes levels: one single level, or a bound that cuts through a region.
    """
    if lossy and low == high and low > 0:
        raise MaskError(
            f"its compression changes levels, so that ={low} is too narrow. Give a range, such as "
            f"{max(low - APART, 0)}-{low + APART}"
        )
    high += APART if lossy and low == high else 0
    inside = (levels >= low) & (levels <= high)
    if lossy:
        for bound, sign, cuts in ((low, ">=", low > levels.min()), (high, "<=", high < levels.max())):
            region = lossy_levels.cut_region(levels, inside, bound) if cuts else None
            if region is not None:
                if close := lossy_levels.close_levels(levels, levels >= 128):  # no bound is beyond the noise of both
                    raise MaskError(lossy_levels.too_close(*close))
                meant_inside = sign == "<=" or bound > NUMBERED  # ">=1" leaves the background near 0 out
                better = region + APART * (1 if meant_inside == (sign == "<=") else -1)
                raise MaskError(
                    f"its compression changes levels, and {sign}{bound} cuts through the region near {region}. Go "
                    f"between two levels ({sign}{min(max(better, 1), 254)}), or save it as PNG from the original"
                )
    return inside
