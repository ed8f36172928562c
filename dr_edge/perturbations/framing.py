"""The same retina framed otherwise: turned, mirrored, with margins, shifted, resized, squeezed, on a phone's screen.

Every function takes [H, W, 3] uint8 RGB, the box of the retina in it and a random generator, as `perturbation.Change`
does, or returns such a function.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from dr_edge.perturbations.perturbation import Box, Change

MARGIN = 0.12  # of the longer side
SHIFT = 0.06  # of the retina's diameter, to the right and downwards
SQUEEZED = 0.8  # of the width is left
SCREEN = (1080, 2340)  # width and height of a phone's screen in pixels
_BAR = 84  # height of its status bar


def turned(degrees: float) -> Change:
    """Returns a turn about the middle of the frame, anticlockwise; the frame grows, its new corners are black."""

    def change(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
        height, width = image.shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
        cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
        wide, high = round(width * cos + height * sin), round(width * sin + height * cos)
        matrix[:, 2] += (wide - width) / 2, (high - height) / 2
        return cv2.warpAffine(image, matrix, (wide, high), flags=cv2.INTER_CUBIC)

    return change


def quarter(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Turns by 90 degrees, pixel by pixel."""
    return cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)


def mirrored(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Swaps left and right."""
    return cv2.flip(image, 1)


def with_margin(grey: int) -> Change:
    """Returns a change that lays a margin of one grey level all around."""

    def change(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
        edge = round(MARGIN * max(image.shape[:2]))
        return cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(grey, grey, grey))

    return change


def shifted(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Moves the retina within the frame; what leaves it is lost, and black follows."""
    step = round(SHIFT * (box[2] - box[0]))
    matrix = np.array([[1.0, 0, step], [0, 1.0, step]])
    return cv2.warpAffine(image, matrix, (image.shape[1], image.shape[0]), flags=cv2.INTER_NEAREST)


def longer_side(pixels: int) -> Change:
    """Returns a resizing to so many pixels along the longer side."""

    def change(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
        return _resized(image, pixels / max(image.shape[:2]))

    return change


def squeezed(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Makes the picture narrower, so that the disc becomes an ellipse."""
    height, width = image.shape[:2]
    return cv2.resize(image, (round(SQUEEZED * width), height), interpolation=cv2.INTER_AREA)


def screenshot(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Shows the picture in the middle of a phone's screen, with a status bar above and a bar of gestures below."""
    wide, high = SCREEN
    screen = np.zeros((high, wide, 3), np.uint8)
    picture = _resized(image, min(wide / image.shape[1], (high - 4 * _BAR) / image.shape[0]))
    top, left = (high - picture.shape[0]) // 2, (wide - picture.shape[1]) // 2
    screen[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    white = (235, 235, 235)
    cv2.putText(screen, "10:42", (48, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.3, white, 3, cv2.LINE_AA)
    cv2.rectangle(screen, (wide - 120, 32), (wide - 56, 62), white, 3)
    cv2.rectangle(screen, (wide - 116, 36), (wide - 76, 58), white, -1)
    cv2.rectangle(screen, (wide // 2 - 160, high - 36), (wide // 2 + 160, high - 28), white, -1)
    return screen


def _resized(image: np.ndarray, factor: float) -> np.ndarray:
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
