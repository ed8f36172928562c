"""The same retina in another light: gamma, exposure, white balance, focus, noise, contrast, lost or swapped colour.

Every function takes [H, W, 3] uint8 RGB, the box of the retina in it and a random generator, as `perturbation.Change`
does, or returns such a function.
"""

from __future__ import annotations

import cv2
import numpy as np

from dr_edge.perturbations.perturbation import Box, Change

BLUR = 0.004  # sigma / diameter of the retina
SHARPENING = 1.0  # of what a blur of that sigma takes away is added once more
NOISE = 10.0  # standard deviation in grey levels, of each pixel and channel
CLIP, TILES = 2.0, (8, 8)  # of CLAHE, as OpenCV's examples use it


def gamma(exponent: float) -> Change:
    """Returns 255 * (level / 255) ** exponent: below 1 it brightens, above 1 it darkens."""
    levels = np.rint(255.0 * (np.arange(256) / 255.0) ** exponent)
    return _through(levels, levels, levels)


def times(red: float, green: float, blue: float) -> Change:
    """Returns a multiplication of each channel, cut off at 255."""
    steps = np.arange(256)
    return _through(*(np.minimum(np.rint(factor * steps), 255) for factor in (red, green, blue)))


def blurred(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Blurs by a Gaussian whose sigma follows the retina's diameter."""
    return cv2.GaussianBlur(image, (0, 0), _sigma(box))


def sharpened(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Adds what a blur takes away (unsharp masking)."""
    soft = cv2.GaussianBlur(image, (0, 0), _sigma(box))
    return cv2.addWeighted(image, 1 + SHARPENING, soft, -SHARPENING, 0)


def noisy(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise to every pixel and channel."""
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(NOISE)
    return np.clip(np.rint(image + grain), 0, 255).astype(np.uint8)


def greyscale(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Returns [H, W], the luminance."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def channels_swapped(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Swaps red and blue."""
    return image[..., ::-1]


def clahe(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Equalises the lightness of CIE Lab in tiles, with limited contrast (Zuiderveld, 1994)."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(CLIP, TILES).apply(np.ascontiguousarray(lab[..., 0]))
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def _sigma(box: Box) -> float:
    return max(0.3, BLUR * (box[2] - box[0]))


def _through(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> Change:
    """Returns a change that looks each channel's levels up in a table [256]."""
    table = np.stack([red, green, blue], axis=-1).astype(np.uint8)[None]  # [1, 256, 3], as cv2.LUT takes it

    def change(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
        return cv2.LUT(image, table)

    return change
