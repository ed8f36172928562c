"""Whether the masks of one photograph can be true: no inverted one, no outline, no disc without its cup."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from tfrecord_tools.mask_levels import MaskError

ONE_REGION = ("optic_disc", "optic_cup")
MOST_COVERED = 0.5  # of the field of view
MOST_OUTSIDE = 0.1  # of the cup, outside the disc
MOST_HOLE = 0.05  # of a disc or cup, filled: a vessel that a tool has left out
MOST_BESIDE = 0.1  # of a disc or cup, beside its largest part: specks, not a second one


def check_masks(masks: Mapping[str, np.ndarray], field: float) -> None:
    """Checks that masks of one photograph can be true.

    Args:
      masks: structure -> [H, W] bool.
      field: pixels of the field of view.

    Raises:
      MaskError: a mask over most of the field of view, a disc or a cup with a hole or in several places, a cup outside
        the disc, or a cup that is the disc.
    """
    for name, mask in masks.items():
        share = np.count_nonzero(mask) / max(field, 1.0)
        if share > MOST_COVERED:
            raise MaskError(
                f"{name} covers {min(share, 1.0):.0%} of the field of view. Is the mask inverted? Then say what is "
                f'inside: --mask_values="{name}<=127" (or {name}=0)'
            )
    disc, cup = masks.get("optic_disc"), masks.get("optic_cup")
    if disc is not None and cup is not None and cup.any():
        outside = np.count_nonzero(cup & ~disc) / np.count_nonzero(cup)
        if outside > MOST_OUTSIDE:
            raise MaskError(
                f"{outside:.0%} of optic_cup lies outside optic_disc. The mask of the disc takes in the cup: of one "
                'file with levels 1 (rim) and 2 (cup) that is --mask_values="optic_disc>=1,optic_cup=2"'
            )
        if (cup == disc).all():
            raise MaskError(
                "optic_cup and optic_disc are the same pixels: a cup-to-disc ratio of 1. Is one file named under both?"
            )
    _check_shapes(masks)


def _check_shapes(masks: Mapping[str, np.ndarray]) -> None:
    """Raises MaskError where a disc or a cup has a hole or lies in several places: outline, rim, two eyes, letters."""
    for name, mask in masks.items():
        if name not in ONE_REGION or not mask.any():
            continue
        hole, beside = _hole(mask), _beside(mask)
        if hole > MOST_HOLE and name == "optic_disc":
            raise MaskError(
                f"optic_disc is a ring: {hole:.0%} of it is a hole. Fill an outline; and the mask of the disc takes in "
                "the cup: of one file with cup 0, rim 128 and background 255 that is "
                '--mask_values="optic_disc<=128", with rim 1 and cup 2 "optic_disc>=1"'
            )
        if hole > MOST_HOLE:
            raise MaskError(f"{name} is a ring: {hole:.0%} of it is a hole. Fill the outline")
        if beside > MOST_BESIDE:
            raise MaskError(
                f"{name} lies in several places: {beside:.0%} of it is not with its largest part. One photograph has "
                "one; take away the rest"
            )


def _beside(mask: np.ndarray) -> float:
    """Returns the share of a mask that is not in its largest connected part."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return 1 - float(areas.max()) / float(areas.sum())


def _hole(mask: np.ndarray) -> float:
    """Returns the share of a mask, its holes filled, that is holes."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros(mask.shape, np.uint8), outlines, -1, 1, cv2.FILLED)
    return 1 - int(np.count_nonzero(mask)) / max(int(np.count_nonzero(filled)), 1)
