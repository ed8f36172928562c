"""Masks of one photograph from the files that a data set names: grey levels, experts' contours, or a user's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from dr_edge.fundus.crop import FieldOfView
from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.image_header import read_header
from dr_edge.fundus.photograph import decode_photograph
from tfrecord_tools import mask_checks, mask_files, mask_levels
from tfrecord_tools.inside import Rejected, one_line
from tfrecord_tools.items import MaskSource

OWN_RULES = ("half", "between")  # rules for masks of a user's own table

Read = Callable[[str], bytes]  # the content of a file of the data directory; raises Rejected, see `inside.ItemFiles`


def read_masks(
    read: Read, max_pixels: int, sources: Mapping[str, MaskSource], size: tuple[int, int], fov: FieldOfView
) -> dict[str, np.ndarray]:
    """Returns the [H, W] bool masks of a photograph; a user's own are checked with each other and the field of view.

    Raises:
      Rejected: a mask that cannot be read or cannot be true.
    """
    masks = {name: read_mask(read, max_pixels, source, size, name) for name, source in sources.items()}
    top, left, bottom, right = fov.box
    shown = (min(bottom, size[0]) - max(top, 0)) * (min(right, size[1]) - max(left, 0))
    field = min(shown, np.pi / 4 * (bottom - top) * (right - left))
    try:
        mask_checks.check_masks(
            {name: masks[name] for name, source in sources.items() if source.rule in OWN_RULES}, field
        )
    except mask_levels.MaskError as err:
        raise Rejected(one_line(err)) from err
    return masks


def check_turns(read: Read, sources: Mapping[str, MaskSource], size: tuple[int, int], photograph: bytes) -> None:
    """Checks that masks that somebody drew lie on the photograph as its EXIF turns it, where the size cannot tell.

    Raises:
      Rejected: the photograph is turned, the mask is not, and may have been drawn on the one or the other.
    """
    own = [source for source in sources.values() if source.rule in OWN_RULES]
    if not own:
        return
    turn = read_header(photograph).orientation
    if turn == 1 or (turn > 4 and size[0] != size[1]):  # of a lying and a standing picture the size tells
        return
    for path in (path for source in own for path in source.paths):
        try:
            mask_turn = read_header(read(path)).orientation
        except (Rejected, PhotographError):
            continue  # read_masks says it
        if mask_turn != turn:
            raise Rejected(
                f"mask {path} and the photograph may not lie the same way: the photograph is turned by its EXIF "
                f"(orientation {turn}), and nothing says whether the mask was drawn before or after. Save both "
                "upright, without EXIF."
            )


def read_mask(read: Read, max_pixels: int, source: MaskSource, size: tuple[int, int], name: str = "mask") -> np.ndarray:
    """Returns the [H, W] bool mask of a structure in pixels of the photograph.

    Raises:
      Rejected: a mask file is missing, unreadable or not of the photograph's size.
    """
    if source.rule == "contours":
        return mean_shape([_fill_contour(read, path, size) for path in source.paths])
    union = np.zeros(size, bool)
    for path in source.paths:
        try:
            data = read(path)
            inside = _inside(data, source, max_pixels, name)
        except (Rejected, PhotographError) as err:
            raise Rejected(f"mask {path}: {one_line(err)}") from err
        except mask_levels.MaskError as err:
            raise Rejected(f"mask {path} {one_line(err)}") from err
        if inside.shape != size:
            raise Rejected(f"mask {path} is {inside.shape[0]}x{inside.shape[1]}, the photograph {size[0]}x{size[1]}")
        union |= inside
    return union


def _inside(data: bytes, source: MaskSource, max_pixels: int, name: str) -> np.ndarray:
    if source.rule in OWN_RULES:
        levels, lossy = mask_levels.read_levels(data, max_pixels)
        if source.rule == "half":
            return mask_files.half(levels, lossy, name)
        return mask_files.named_levels(levels, lossy, source.value, source.upper)
    level = decode_photograph(data, max_pixels=max_pixels).max(axis=2)
    return level >= source.value if source.rule == "at_least" else level <= source.value


def _fill_contour(read: Read, path: str, size: tuple[int, int]) -> np.ndarray:
    """Returns [H, W] bool inside a closed contour given as one 'x, y' per line, in pixels."""
    try:
        lines = read(path).decode("utf-8", "replace").splitlines()
        points = [[float(part) for part in line.replace(",", " ").split()] for line in lines if line.strip()]
        contour = np.asarray(points, np.float64).reshape(-1, 2)
    except ValueError as err:  # Rejected is one
        raise Rejected(f"contour {path}: {one_line(err)}") from err
    if len(contour) < 3 or not np.isfinite(contour).all():
        raise Rejected(f"contour {path}: {len(contour)} points, three or more finite ones are needed")
    filled = np.zeros(size, np.uint8)
    cv2.fillPoly(filled, [np.round(contour * 256).astype(np.int32)], 1, shift=8)
    return filled.astype(bool)


def mean_shape(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the mean of several experts' shapes, [H, W] bool: where their mean signed distance is inside."""
    if len(masks) == 1:
        return masks[0]
    distance = np.zeros(masks[0].shape, np.float32)
    for mask in masks:
        inside = mask.astype(np.uint8)
        distance += cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    return distance > 0
