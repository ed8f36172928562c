"""What is inside in a mask file that somebody drew: half of the file's own range, or the grey levels that the user
names.

A mask has two levels: outside and inside, with soft or compressed edges between. Whatever else a file holds (labels 0,
1, 2; 0, 128, 255; several colours; a photograph) is refused with what to do: a guess would be a wrong mask in silence.
"""

from __future__ import annotations

import io
import re

import cv2
import numpy as np

from dr_edge import extras
from dr_edge.fundus.image_header import PhotographError, check_size, read_header
from dr_edge.fundus.jpeg import upright
from dr_edge.fundus.photograph import decode_photograph
from dr_edge.fundus.tiff import decode_tiff

NUMBERED = 31  # up to this level three or more levels are numbers of structures, not grey
LEAST_LOSSY_SPAN = 64  # grey levels; below, the noise of a JPEG cannot be told from a mask
EDGE = 1 / 8  # of the range, from each end: what lies between is neither outside nor inside
PLATEAU = 0.02  # of the lit area, after one step of erosion: a region of its own, no edge
MOST_BETWEEN = 0.25  # of the picture
FEW_LEVELS = 12
SHOWN = 6
LOSSY_NOISE = 16  # grey levels by which a JPEG moves those of a plain region
LOSSY_APART = 40  # from a region's level: beyond its noise, and not yet within that of the next one
# grey levels between the extremes of 5 x 5 pixels of a plain region; a soft edge and the ringing at a sharp one vary
# more
LOSSY_PLAIN = 6
LOSSY_BESIDE = (
    8,
    36,
)  # grey levels between a faint region and the level it is taken for; beyond, it counts as a third level
LOSSY_PLATEAU = 0.05  # of the structure's area
_VALUE = re.compile(r"(?P<name>.+?)\s*(?:(?P<sign>>=|<=)\s*(?P<bound>\d+)|=\s*(?P<low>\d+)(?:\s*-\s*(?P<high>\d+))?)")


class MaskError(ValueError):
    """A file that cannot be taken as a mask; the message says why and what to do."""


def parse_values(entries: list[str]) -> dict[str, tuple[int, int]]:
    """Reads --mask_values: "optic_cup=2", "optic_disc>=1", "optic_disc<=128", "optic_disc=1-2" -> name -> (lowest,
    highest).

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


def read_levels(data: bytes, max_pixels: int) -> tuple[np.ndarray, bool]:
    """Reads the grey levels of a mask file as they are stored.

    Args:
      data: the file; PNG (1 to 16 bit, palette, alpha), TIFF, BMP, JPEG or whatever else a photograph may be.
      max_pixels: larger pictures are refused.

    Returns:
      [H, W] grey levels (the index where a palette holds colours, the opacity where only that varies), and whether the
      file's compression changes levels (JPEG). It lies as its EXIF turns it; of a TIFF with several pages it is the
      photograph's page.

    Raises:
      PhotographError: unreadable, or damaged.
      MaskError: colours that are no one level.
      extras.Missing: a palette needs Pillow.
    """
    header = read_header(data)
    if header.format not in ("png", "tiff", "bmp"):
        return _grey(decode_photograph(data, max_pixels=max_pixels), lossy=True), header.format not in ("dicom", "gif")
    check_size(header.height, header.width, max_pixels)
    raw = np.frombuffer(data, np.uint8)
    if header.alpha:
        picture = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
        if picture is not None and picture.ndim == 3 and picture.shape[2] in (2, 4):
            colours, opacity = picture[..., :-1], picture[..., -1]
            if (colours == colours[:1, :1]).all() and opacity.min() != opacity.max():
                return upright(opacity, header.orientation), False
        return _grey(decode_photograph(data, max_pixels=max_pixels), lossy=False), False
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
    picture = decode_tiff(data, header, flags) if header.format == "tiff" else cv2.imdecode(raw, flags)
    if picture is None:
        raise PhotographError("corrupt", f"the {header.format} of {len(data)} bytes cannot be decoded.")
    if picture.ndim == 3 and _is_palette(data) and not _is_grey(picture):
        extras.require("A palette PNG")  # ends the build: every mask of the data set will be one
        from PIL import Image

        return upright(np.asarray(Image.open(io.BytesIO(data))), header.orientation), False
    if not np.isfinite(picture).all():
        raise MaskError("holds values that are no numbers")
    return (picture if picture.ndim == 2 else _grey(picture, lossy=False)), False


def _is_palette(data: bytes) -> bool:
    return data[:8] == b"\x89PNG\r\n\x1a\n" and data[25] == 3


def _is_grey(picture: np.ndarray) -> bool:
    return bool((picture[..., 0] == picture[..., 1]).all() and (picture[..., 1] == picture[..., 2]).all())


def _grey(picture: np.ndarray, *, lossy: bool) -> np.ndarray:
    """Returns the brightest channel where the lit pixels are of one colour.

    Raises:
      MaskError: they are of several.
    """
    level = picture.max(axis=2)
    lit = level >= (int(level.min()) + int(level.max()) + 1) // 2
    if _is_grey(picture) or not lit.any() or level.max() == level.min():
        return level
    colours = picture[lit].astype(np.float32) / np.maximum(level[lit], 1)[:, None]
    strange = np.abs(colours - np.median(colours, axis=0)).max(axis=1) > 0.5
    if strange.mean() > (0.05 if lossy else 0.01):
        raise MaskError(
            "holds several colours. Save each structure as a grey file of its own, or all as grey levels 0, 1, 2"
        )
    return level


def half(levels: np.ndarray, lossy: bool, name: str) -> np.ndarray:
    """Returns [H, W] bool, inside: above the middle of the file's own range. A file that is black everywhere is an
    empty mask.

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
    if third is None and lossy and (close := _close_levels(levels, inside)):
        raise MaskError(f"holds a faint third level: {_too_close(*close)}")
    if third is not None:
        raise MaskError(
            f"{'holds a third level near ' + format(third, '.0f') if lossy else held}: which are inside? "
            f"{_hint(name, numbered=False, lossy=lossy)}"
        )
    return inside


def _third_level(
    position: np.ndarray, between: np.ndarray, inside: np.ndarray, low: float, high: float
) -> float | None:
    """Returns a grey level between the two that fills a region of its own; None where there are edges only, or steps of
    agreement.
    """
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
    """Returns a level close to one of the two that fills a region of its own (0, 25, 255; 0, 1, 255); None where there
    are even steps.
    """
    steps = np.diff(values.astype(np.float64))
    if len(values) > 3 and steps.max() - steps.min() <= 2:
        return None
    smaller = min(np.count_nonzero(inside), np.count_nonzero(~inside))
    for value in values[1:-1]:
        inner = cv2.erode((levels == value).astype(np.uint8), np.ones((3, 3), np.uint8)).sum()
        if value < values[-1] - 0.02 * (values[-1] - values[0]) and inner > max(4.0, PLATEAU * smaller):
            return float(value)
    return None


def _close_levels(levels: np.ndarray, inside: np.ndarray) -> tuple[int, int] | None:
    """Returns two levels of plain regions that lie so near to each other that a JPEG's noise may mix them; None where
    there are none.

    A faint third level (0, 20, 255) is such a one; edges, soft or sharp, and experts' steps of a quarter are not.

    Args:
      levels: [H, W] uint8 of a file whose compression changes levels.
      inside: [H, W] bool, the brighter half of their range.
    """
    smooth = cv2.medianBlur(levels, 3)
    kernel = np.ones((5, 5), np.uint8)
    plain = cv2.subtract(cv2.dilate(smooth, kernel), cv2.erode(smooth, kernel)) <= LOSSY_PLAIN
    smaller = min(np.count_nonzero(inside), np.count_nonzero(~inside))
    for side in (plain & ~inside, plain & inside):
        if not side.any():
            continue
        commonest = int(np.bincount(smooth[side]).argmax())
        away = np.abs(smooth.astype(np.int32) - commonest)
        beside = smooth[side & (away >= LOSSY_BESIDE[0]) & (away <= LOSSY_BESIDE[1])]
        if len(beside) <= max(9.0, LOSSY_PLATEAU * smaller):
            continue
        level = int(np.median(beside))
        if (
            np.abs(beside.astype(np.int32) - level) <= LOSSY_PLAIN
        ).mean() > 0.8:  # of one level; a very soft edge has all of them
            return commonest, level
    return None


def _too_close(one: int, other: int) -> str:
    return (
        f"its compression changes levels, and those near {one} and near {other} cannot be told apart. Save it as PNG "
        "from the original"
    )


def describe(values: np.ndarray, counts: np.ndarray) -> str:
    """Returns "holds the grey levels 0 (98 %), 1 (1 %), 2 (1 %)", the most frequent ones."""
    frequent = sorted(np.argsort(-counts, kind="stable")[:SHOWN])
    shown = ", ".join(f"{values[index]} ({100 * counts[index] / counts.sum():.2g} %)" for index in frequent)
    return f"holds the grey levels {shown}{', ...' if len(values) > SHOWN else ''}"


def _hint(name: str, *, numbered: bool, lossy: bool = False) -> str:
    both = "" if name in ("optic_disc", "optic_cup") else '--mask_columns="optic_disc=COLUMN,optic_cup=COLUMN" '
    if numbered:
        return (
            f'Say it: --mask_values="{name}=2", or {name}>=1. Where 1 is the disc\'s rim and 2 the cup: '
            f'{both}--mask_values="optic_disc>=1,optic_cup=2"'
        )
    refuge = f'{both}--mask_values="{refuge_values(lossy)}"'
    own = f"{name}={128 - LOSSY_APART}-{128 + LOSSY_APART}" if lossy else f"{name}=128"
    return (
        f'Say it: --mask_values="{own}" or {name}<={128 + LOSSY_APART if lossy else 128}. In REFUGE 0 is cup, 128 the'
        f" disc's rim and 255 background: {refuge}"
    )


def refuge_values(lossy: bool) -> str:
    """Returns the --mask_values of REFUGE's files, in which 0 is cup, 128 the disc's rim and 255 background; lossy:
    saved as JPEG.
    """
    return f"optic_disc<={128 + LOSSY_APART},optic_cup<={LOSSY_APART}" if lossy else "optic_disc<=128,optic_cup=0"


def named_levels(levels: np.ndarray, lossy: bool, low: int, high: int) -> np.ndarray:
    """Returns [H, W] bool: low <= level <= high.

    Raises:
      MaskError: of a file whose compression changes levels: one single level, or a bound that cuts through a region.
    """
    if lossy and low == high and low > 0:
        raise MaskError(
            f"its compression changes levels, so that ={low} is too narrow. Give a range, such as "
            f"{max(low - LOSSY_APART, 0)}-{low + LOSSY_APART}"
        )
    high += LOSSY_APART if lossy and low == high else 0
    inside = (levels >= low) & (levels <= high)
    if lossy:
        for bound, sign, cuts in ((low, ">=", low > levels.min()), (high, "<=", high < levels.max())):
            region = _cut_region(levels, inside, bound) if cuts else None
            if region is not None:
                if close := _close_levels(levels, levels >= 128):  # no bound is beyond the noise of both
                    raise MaskError(_too_close(*close))
                meant_inside = sign == "<=" or bound > NUMBERED  # ">=1" leaves the background near 0 out
                better = region + LOSSY_APART * (1 if meant_inside == (sign == "<=") else -1)
                raise MaskError(
                    f"its compression changes levels, and {sign}{bound} cuts through the region near {region}. Go "
                    f"between two levels ({sign}{min(max(better, 1), 254)}), or save it as PNG from the original"
                )
    return inside


def _cut_region(levels: np.ndarray, inside: np.ndarray, bound: int) -> int | None:
    """Returns the level of a region whose noise lies on both sides of a bound; None where only edges, sharp or soft,
    cross it.
    """
    level = levels.astype(np.int32)
    near = np.abs(level - bound) <= LOSSY_NOISE
    inner = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8))
    edge = int(np.count_nonzero(inside)) - int(np.count_nonzero(inner))
    wide = 2 * LOSSY_NOISE + 1
    low, high = int(level.min()), int(level.max())
    sides = [
        int(np.count_nonzero(np.abs(level - centre) <= LOSSY_NOISE))
        for centre in (bound - wide, bound + wide)
        if low <= centre <= high
    ]
    crossing = int(np.count_nonzero(near))
    if crossing <= max(8, edge // 2) or (sides and crossing <= 2 * min(sides)):
        return None
    return int(np.median(level[near]))
