"""Graham normalisation in OpenCV, and the table of preprocessing methods that records name.

`out = 128 + gain * (image - local average)` inside the field of view, 128 outside (B. Graham, "Kaggle
Diabetic Retinopathy Detection competition report", 2015: gain 4, Gaussian of sigma = radius / 30, outermost
rim dropped).

Two things differ from the usual `addWeighted(image, 4, GaussianBlur(image), -4, 128)`:
- the average is taken over lit pixels only, blur(image * lit) / blur(lit), so no bright ring shows at the
  rim;
- the blur runs on a copy reduced by 1, 2 or 4, its sigma corrected for what reducing and enlarging blur by
  themselves. `graham_layer.GrahamNormalisation` computes the same inside a network, from the crop alone and
  with the constants below, so that records and phone agree.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import cv2
import numpy as np

from dr_edge.fundus.crop import brightest, disc_mask

GRAHAM: dict[str, Any] = {
    "sigma_ratio": 1 / 30,  # blur sigma / FOV radius, as published
    "gain": 4.0,
    "lit_from": 6.0,  # brightest channel, grey levels: below it a place is not lit ...
    "lit_to": 14.0,  # ... above it, it is fully
    "disc": 0.99,  # radius of the disc / half the crop's side
    "rim_cells": 1,  # cells dropped at the rim of what is lit: once for the average, once more for the output
}
GREY: dict[str, Any] = {
    "spread": 48.0,  # grey levels per standard deviation
    "least_deviation": 1.0,  # added in squares, so that an even picture does not become noise
    "lit_from": 6.0,
    "disc": 0.97,
}
PREPROCESS: dict[str, dict[str, Any]] = {"graham": GRAHAM, "crop": {}, "grey": GREY}  # goes into dataset.json
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green, blue
NEUTRAL = 128  # what an output pixel outside the field of view holds
EMPTY = 1e-3  # weight below which no lit pixel lies in the blur's reach
_STRIP = 64  # rows that are worked on at once: what stays in the cache of a core


def background(method: str) -> float:
    """Returns the grey level, 0..255, that a preprocessing method leaves outside the field of view."""
    return 0.0 if method == "crop" else float(NEUTRAL)


def preprocess(crop: np.ndarray, method: str) -> np.ndarray:
    """Applies a preprocessing method with its constants of PREPROCESS.

    Args:
      crop: [S, S, 3] uint8 RGB from `crop_square`.
      method: 'graham'; 'crop' (as it is); 'grey' (greyscale of zero mean and unit variance inside the FOV,
        stored around 128 with 48 grey levels per standard deviation, in three equal channels).

    Returns:
      [S, S, 3] uint8.

    Raises:
      ValueError: an unknown method, or not a square crop.
    """
    if method == "graham":
        return graham_normalise(crop, sigma_ratio=GRAHAM["sigma_ratio"], gain=GRAHAM["gain"])
    if method == "crop":
        _check_crop(crop)
        return crop
    if method == "grey":
        return grey_normalise(crop)
    raise ValueError(f"No preprocessing {method!r}. Known: {', '.join(PREPROCESS)}.")


def graham_normalise(
    crop: np.ndarray, *, fov_mask: np.ndarray | None = None, sigma_ratio: float, gain: float = 4.0
) -> np.ndarray:
    """Flattens illumination inside the field of view (Graham, 2015).

    Args:
      crop: [S, S, 3] uint8 RGB; the FOV is the disc inscribed in the square.
      fov_mask: [S, S] bool, a narrower FOV; the default is what is lit of the disc, which the in-graph twin
        uses.
      sigma_ratio: blur sigma / FOV radius (S / 2), unitless; published: 1/30.
      gain: contrast factor; published: 4.

    Returns:
      [S, S, 3] uint8; 128 outside the FOV and on its outermost 3 %.

    Raises:
      ValueError: wrong shape or type, an empty mask, or sigma or gain not positive.
    """
    _check_crop(crop)
    size = crop.shape[0]
    pool, kernel = blur_plan(size, sigma_ratio)
    if gain <= 0:
        raise ValueError(f"gain must be positive. Received: {gain}.")
    cells = size // pool
    small = _reduce(crop.astype(np.float32), cells)
    lit = lit_weight(brightest(small)) * disc_weight(size, pool)
    if fov_mask is not None:
        if fov_mask.shape != (size, size) or not fov_mask.any():
            raise ValueError(f"fov_mask must be [{size}, {size}] and not empty. Received: {fov_mask.shape}.")
        lit = lit * _reduce((fov_mask != 0).astype(np.float32), cells)
    fully_lit = _erode(lit)  # a cell that the rim cuts is half black, and would darken the average
    blurred = _blur(np.dstack([small * fully_lit[..., None], fully_lit]), kernel)
    average = blurred[..., :3] / np.maximum(blurred[..., 3:], EMPTY)
    inside = _erode(fully_lit)
    if pool > 1:
        average = cv2.resize(average, (size, size), interpolation=cv2.INTER_LINEAR)
        inside = cv2.resize(inside, (size, size), interpolation=cv2.INTER_LINEAR)
    out = np.empty((size, size, 3), np.uint8)
    for top in range(0, size, _STRIP):  # fresh pages for the whole picture cost more than the sums
        rows = slice(top, top + _STRIP)
        detail = cv2.subtract(crop[rows], average[rows], dtype=cv2.CV_32F)
        detail = cv2.multiply(detail, cv2.merge([inside[rows]] * 3), dst=detail, scale=gain)
        cv2.add(detail, (NEUTRAL,) * 4, dst=out[rows], dtype=cv2.CV_8U)  # type: ignore[call-overload]
    return out


def grey_normalise(crop: np.ndarray) -> np.ndarray:
    """Greyscale with zero mean and unit variance inside the field of view, stored around 128.

    Args:
      crop: [S, S, 3] uint8 RGB.

    Returns:
      [S, S, 3] uint8 of three equal channels; 128 outside the FOV.

    Raises:
      ValueError: wrong shape or type, or nothing in the crop is lit.
    """
    _check_crop(crop)
    grey = crop.astype(np.float32) @ np.array(LUMINANCE, np.float32)
    mask = disc_mask(crop.shape[0], GREY["disc"]) & (brightest(crop) > GREY["lit_from"])
    if not mask.any():
        raise ValueError("grey_normalise needs a lit crop. Received: one that is black inside its disc.")
    inside = grey[mask].astype(np.float64)
    mean, deviation = float(inside.mean()), math.hypot(float(inside.std()), GREY["least_deviation"])
    scaled = NEUTRAL + GREY["spread"] * (grey - mean) / deviation
    out = np.where(mask, np.clip(np.rint(scaled), 0, 255), NEUTRAL).astype(np.uint8)
    return cv2.merge([out] * 3)


@functools.cache
def blur_plan(size: int, sigma_ratio: float) -> tuple[int, np.ndarray]:
    """Returns (pool, kernel): by how much to reduce a crop of `size`, and the 1-D Gaussian to blur the copy with.

    The kernel, [K] float32 with sum 1, is narrower than the target Gaussian by what averaging over `pool`
    pixels and linear enlarging by `pool` add: a variance of (pool^2 - 1) / 4.
    """
    sigma = sigma_ratio * size / 2
    if not 0 < sigma_ratio <= 0.5:
        raise ValueError(f"sigma_ratio must lie in (0, 0.5]. Received: {sigma_ratio}.")
    pool = next((p for p in (4, 2) if size % p == 0 and sigma / p >= 1.5), 1)
    small_sigma = math.sqrt(max(sigma**2 - (pool**2 - 1) / 4, 0.01)) / pool
    reach = math.ceil(3.5 * small_sigma)
    offset = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offset / small_sigma) ** 2)
    return pool, _frozen((kernel / kernel.sum()).astype(np.float32))


@functools.cache
def disc_weight(size: int, pool: int) -> np.ndarray:
    """Returns [size / pool] * 2 float32 0..1: how much of each cell lies in the disc that Graham's average is over."""
    return _frozen(_reduce(disc_mask(size, GRAHAM["disc"]).astype(np.float32), size // pool))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False  # it is shared by all who ask for the same size
    return array


def lit_weight(brightness: np.ndarray) -> np.ndarray:
    """Returns 0..1 for a brightest channel of 0..255: 0 up to `lit_from`, 1 from `lit_to`, linear between."""
    return np.clip((brightness - GRAHAM["lit_from"]) / (GRAHAM["lit_to"] - GRAHAM["lit_from"]), 0, 1)


def _reduce(image: np.ndarray, cells: int) -> np.ndarray:
    if cells == image.shape[0]:
        return image
    return cv2.resize(image, (cells, cells), interpolation=cv2.INTER_AREA)


def _erode(weight: np.ndarray) -> np.ndarray:
    reach = 2 * GRAHAM["rim_cells"] + 1
    return cv2.erode(weight, np.ones((reach, reach), np.uint8), borderType=cv2.BORDER_REPLICATE)


def _blur(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return cv2.sepFilter2D(image, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)


def _check_crop(crop: np.ndarray) -> None:
    if crop.ndim != 3 or crop.shape[0] != crop.shape[1] or crop.shape[2] != 3 or crop.dtype != np.uint8:
        raise ValueError(f"A square crop [S, S, 3] uint8 is needed. Received: {crop.shape} {crop.dtype}.")
