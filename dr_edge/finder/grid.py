"""Places in a thumbnail: pixels of the squeezed square, and coordinates from the middle of the photograph."""

from __future__ import annotations

from typing import Any

import numpy as np

from dr_edge.framework import ops, tf

Tensor = Any
SIDE = 256  # of the thumbnail
COARSE = 64  # of the picture in which a rim is searched


def places(scale: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Returns the x [B, 1, side] and the y [B, side, 1] of the pixels' middles; scale [B, 2] as in `to_pixels`."""
    line = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    return line / scale[:, None, 1:], line[:, None] / scale[:, None, :1]


def to_pixels(x: Tensor, y: Tensor, scale: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Carries coordinates [B, ...] to (column, row) in pixels of the squeezed square; the first spans 0 .. 1.

    Args:
      x, y: from the middle of the photograph, in parts of its longer side.
      scale: [B, 2], longer side / (height, width).
      side: of the square.
    """
    ones = [1] * (len(x.shape) - 1)
    high, wide = (ops.reshape(scale[:, i], (-1, *ones)) for i in (0, 1))
    return x * (wide * side) + side / 2, y * (high * side) + side / 2


def looked_up(picture: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """Returns the pixels nearest to places, [B, ..., C] float; what lies outside takes the border's.

    Args:
      picture: [B, S, S, C].
      column, row: [B, ...] pixels.
    """
    batch, side, channels = picture.shape[0], picture.shape[1], picture.shape[-1]
    column = ops.cast(ops.clip(column, 0.0, side - 0.5), "int32")
    index = ops.cast(ops.clip(row, 0.0, side - 0.5), "int32") * side + column
    if batch > 1:
        index = index + np.arange(batch, dtype=np.int32).reshape(-1, *[1] * (len(index.shape) - 1)) * side * side
    return ops.cast(tf.gather(ops.reshape(picture, (-1, channels)), index), "float32")


def picked(values: Tensor, places_: np.ndarray) -> Tensor:
    """Returns the elements of the last axis at fixed places; `ops.take` would look for negative ones as well."""
    return tf.gather(values, places_.astype(np.int32), axis=-1)


def grown(mask: Tensor, side: int = 3) -> Tensor:
    """Returns a mask [B, H, W, C] of 0 and 1 with what lies next to it."""
    return ops.max_pool(mask, side, 1, "same")


def shrunk(mask: Tensor) -> Tensor:
    """Returns a mask without the pixels that lie next to its outside; the frame's border is none."""
    return 1 - ops.max_pool(1 - mask, 3, 1, "same")


def extremes(mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the first marked pixel of each row and one behind the last [B, H, C], and those of each column [B, W, C].

    Where nothing is marked they are the side and 0.
    """
    side = mask.shape[1]
    up, down = np.arange(side, 0, -1, dtype=np.float32), np.arange(1, side + 1, dtype=np.float32)
    # Pooling is faster than a reduction of an axis that is not the last.
    left = side - ops.max_pool(mask * up[:, None], (1, side))[:, :, 0]
    right = ops.max_pool(mask * down[:, None], (1, side))[:, :, 0]
    top = side - ops.max_pool(mask * up[:, None, None], (side, 1))[:, 0]
    bottom = ops.max_pool(mask * down[:, None, None], (side, 1))[:, 0]
    return left, right, top, bottom


def number(condition: Tensor) -> Tensor:
    """Returns 1.0 where a condition holds, else 0.0."""
    return ops.cast(condition, "float32")


def above(value: Tensor, limit: Tensor | float) -> Tensor:
    """Returns 1.0 where a value lies above a limit, else 0.0.

    Whole pictures are compared by arithmetic, which runtimes have fast kernels for; a comparison of two shapes takes
    them ten times as long.
    """
    return ops.relu6((value - limit) * 6e6) * (1 / 6)
