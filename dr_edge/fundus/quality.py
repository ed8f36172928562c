"""How gradable a cropped fundus photograph is: focus, contrast, illumination and field of view in one score.

Everything is measured on a 256-pixel copy of the crop, so that the score of a photograph hardly depends on
its resolution, and relative to the local brightness, so that a dark sharp photograph is not called blurred.
The anchors were read off EyePACS, IDRiD, APTOS and Drishti-GS1 photographs: 0 about where no vessel can be
followed, 1 where the sharpest and richest in contrast begin.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from dr_edge.fundus.crop import brightest, disc_mask

# Below it no vessel can be followed over any length: refuses 2 of 60 EyePACS photographs (a screening camp's, the
# lowest at 0.17) and none of 60 each of APTOS, IDRiD and Drishti-GS1 (the lowest at 0.24).
DEFAULT_MIN_QUALITY = 0.2
# In pixels of a copy of 256, and grey levels; `quality_layer` repeats the measure inside a network with them.
CONSTANTS: dict[str, Any] = {
    "side": 256,
    "disc": 0.96,  # radius of the disc / half the crop's side
    "lit": 10,  # grey levels of the brightest channel: above it a place is lit ...
    "clearly": 0.3,  # ... and clearly so above this part of the median of what is lit
    "rim": 12,  # so far inside of what is lit clearly lies what is measured: a blurred rim is no detail
    "least_inside": 0.02,  # of the disc; below it nothing is measured
    "detail_weights": (0.4, 0.6, 0.0),  # of red, green, blue; blue carries mostly noise
    "around_sigma": 2.0,  # of the local brightness, in cells of 4 x 4
    "noise": 20,  # grey levels: where the local brightness is below, the camera's noise would count as detail
    "fine_sigmas": (1.4, 2.8),  # the fine band lies between them
    # (score 0, score 1) of each measure; the middle is logarithmic for focus and contrast, linear for the others.
    "focus": (0.0017, 0.0125),
    "contrast": (0.007, 0.047),
    "brightness": (8.0, 50.0),
    "fov_fraction": (0.2, 0.7),
    "burnt": 25.0,  # grey levels below white in which a place goes from well lit to burnt out
}
LEAST_SIZE = 32  # pixels of a crop's side
_SIDE = CONSTANTS["side"]


@dataclass(frozen=True)
class Quality:
    """Gradability of one photograph; all values 0..1, higher is better.

    Attributes:
      focus: fine detail (vessel edges) relative to the local brightness.
      contrast: vessels and lesions against the retina, relative to the local brightness.
      illumination: how much of the field of view is neither dark nor burnt out.
      fov_fraction: lit part of the disc, as a fraction of its area.
      colour: saturation; 0 for a greyscale picture. Not part of the score.
      score: the product that `--min_quality` is compared with.
    """

    focus: float
    contrast: float
    illumination: float
    fov_fraction: float
    colour: float
    score: float

    def as_dict(self) -> dict[str, float]:
        """Returns the values by name, for records and JSON."""
        return dataclasses.asdict(self)


def quality(crop: np.ndarray) -> Quality:
    """Measures the gradability of a cropped photograph.

    Args:
      crop: [S, S, 3] uint8 RGB from `crop_square`; any S >= 32.

    Returns:
      Its Quality. A crop in which nothing is lit has 0 everywhere.

    Raises:
      ValueError: not a square crop of at least 32 pixels.
    """
    if crop.ndim != 3 or crop.shape[0] != crop.shape[1] or crop.dtype != np.uint8 or crop.shape[0] < LEAST_SIZE:
        raise ValueError(f"quality needs [S, S, 3] uint8, S >= {LEAST_SIZE}. Received: {crop.shape} {crop.dtype}.")
    if crop.shape[0] != _SIDE:
        shrink = crop.shape[0] > _SIDE
        crop = cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC)
    disc = disc_mask(_SIDE, CONSTANTS["disc"])
    brightness = brightest(cv2.blur(crop, (5, 5)))
    lit = disc & (brightness > CONSTANTS["lit"])
    fov_fraction = float(lit.sum() / disc.sum())
    inside = _away_from_rim(lit, brightness)
    if inside.sum() < CONSTANTS["least_inside"] * disc.sum():
        return Quality(0.0, 0.0, 0.0, fov_fraction, 0.0, 0.0)
    fine, detail = _weber_detail(crop, inside)
    focus = _between(math.log(max(fine, 1e-6)), *map(math.log, CONSTANTS["focus"]))
    contrast = _between(math.log(max(detail, 1e-6)), *map(math.log, CONSTANTS["contrast"]))
    illumination = _illumination(crop, disc)
    colour = _colour(crop, inside)
    seen = _between(fov_fraction, *CONSTANTS["fov_fraction"])
    score = (focus * focus * contrast) ** (1 / 3) * illumination * seen
    return Quality(focus, contrast, illumination, fov_fraction, colour, score)


def _away_from_rim(lit: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """Returns [256, 256] bool: what lies at least 12 pixels inside the rim, so that a blurred rim is no detail."""
    clearly = lit & (brightness > CONSTANTS["clearly"] * np.median(brightness[lit])) if lit.any() else lit
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * CONSTANTS["rim"] + 1,) * 2)
    return cv2.erode(clearly.astype(np.uint8), reach, borderValue=0).astype(bool)


def _weber_detail(crop: np.ndarray, inside: np.ndarray) -> tuple[float, float]:
    """Returns the mean deviation of the fine band and of all detail, relative to the local brightness."""
    weight = inside.astype(np.float32)
    brightness = crop.astype(np.float32) @ np.array(CONSTANTS["detail_weights"], np.float32)

    quarter = (_SIDE // 4, _SIDE // 4)
    around = cv2.GaussianBlur(
        cv2.resize(brightness * weight, quarter, interpolation=cv2.INTER_AREA), (0, 0), CONSTANTS["around_sigma"]
    )
    covered = cv2.GaussianBlur(
        cv2.resize(weight, quarter, interpolation=cv2.INTER_AREA), (0, 0), CONSTANTS["around_sigma"]
    )
    around = cv2.resize(around / np.maximum(covered, 1e-3), (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
    relative = (brightness - around) / (around + CONSTANTS["noise"]) * weight
    narrow, wide = (cv2.GaussianBlur(relative, (0, 0), sigma) for sigma in CONSTANTS["fine_sigmas"])
    fine = narrow - wide
    return _mean_deviation(fine[inside]), _mean_deviation(relative[inside])


def _mean_deviation(values: np.ndarray) -> float:
    """Returns the mean distance from the mean, which a bright optic disc sways less than a standard deviation."""
    return float(np.abs(values - values.mean()).mean())


def _illumination(crop: np.ndarray, disc: np.ndarray) -> float:
    """Returns the mean over the lit disc of how well a place is lit, 0 (black or burnt out) .. 1."""
    luminance = cv2.blur(crop.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32), (5, 5))
    low, high = CONSTANTS["brightness"]
    well = np.clip((luminance - low) / (high - low), 0, 1) * np.clip((255 - luminance) / CONSTANTS["burnt"], 0, 1)
    return float(well[disc & (brightest(crop) > CONSTANTS["lit"] // 2)].mean())


def _colour(crop: np.ndarray, inside: np.ndarray) -> float:
    high = brightest(crop).astype(np.float32)
    low = 255 - brightest(255 - crop)
    return float(((high - low) / np.maximum(high, 1))[inside].mean())


def _between(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))
