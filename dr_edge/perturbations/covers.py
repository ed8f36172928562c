"""Something lies over the photograph: a label in its corner or over the retina, or half of the retina is dark.

Every function is a `perturbation.Change`: [H, W, 3] uint8 RGB, the box of the retina in it, a random generator.
"""

from __future__ import annotations

import cv2
import numpy as np

from dr_edge.perturbations.perturbation import Box

LABEL = (0.30, 0.08)  # width and height of a sticker / diameter of the retina
SPREAD = 0.2  # its centre lies up to this part of the diameter from the retina's, along each axis
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT = "OD 0417-2 12.03.2024"


def label_in_corner(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Writes a line of small white letters into the lower left corner of the frame."""
    letters = 0.03 * (box[2] - box[0])
    edge = round(letters)
    _write(labelled := image.copy(), _TEXT, (edge, image.shape[0] - edge), letters, (255, 255, 255))
    return labelled


def label_over_retina(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Lays a white sticker with black letters over the retina, near its middle."""
    top, left, bottom, right = box
    diameter = bottom - top
    x, y = ((low + high) / 2 + rng.uniform(-SPREAD, SPREAD) * diameter for low, high in ((left, right), (top, bottom)))
    wide, high = LABEL[0] * diameter, LABEL[1] * diameter
    corner, other = (round(x - wide / 2), round(y - high / 2)), (round(x + wide / 2), round(y + high / 2))
    labelled = image.copy()
    cv2.rectangle(labelled, corner, other, (245, 245, 245), -1)
    _write(labelled, "OD 0417-2", (corner[0] + round(0.1 * wide), round(y + 0.2 * high)), 0.4 * high, (20, 20, 20))
    return labelled


def half_dark(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Blackens everything to the right of the retina's middle."""
    covered = image.copy()
    covered[:, max(0, round((box[1] + box[3]) / 2)) :] = 0
    return covered


def _write(image: np.ndarray, text: str, place: tuple[int, int], letters: float, colour: tuple[int, int, int]) -> None:
    """Writes a text with its lower left corner at `place` (x, y), in letters so many pixels high."""
    (_, height), _ = cv2.getTextSize(text, _FONT, 1.0, 2)
    scale = letters / height
    cv2.putText(image, text, place, _FONT, scale, colour, max(1, round(2 * scale)), cv2.LINE_AA)
