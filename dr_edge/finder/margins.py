"""What a thumbnail has around the photograph: the white of a page or a screen, the even grey that normalisation leaves.

It is painted black before the search: a disc must not be sought in it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dr_edge.finder.grid import COARSE, above, extremes, grown, number
from dr_edge.framework import ops

Tensor = Any
_WHITE = 244.99  # grey levels of the brightest channel; of the darkest two less, where pixels were averaged
_WHITE_BORDER, _WHITE_SIDE = 0.6, 0.5  # of the whole border, or of one side, is white where there is a margin
_SHARP = 200.01  # grey levels of the darkest channel close to a margin; burnt-out retina fades slowly
_NEUTRAL_BORDER = 0.25  # of the border is the grey that normalisation leaves
_GREY, _EVEN = (122.99, 133.01), 6.01  # grey levels of such a margin, and between the extremes of 3 x 3 pixels
_PLACES = np.arange(COARSE, dtype=np.float32) + 0.5


class Margins(NamedTuple):
    """Attributes: white, neutral, [B, 64, 64, 1] of 0 and 1."""

    white: Tensor
    neutral: Tensor


def border(picture: Tensor) -> Tensor:
    """Returns [B, 4, S, C]: first and last row, first and last column."""
    return ops.stack([picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]], axis=1)


def _reached(even: Tensor) -> Tensor:
    """Returns where all between a pixel and one side of the frame is even, in its row or column; [B, 64, 64, C]."""
    left, right, top, bottom = extremes(1 - even)
    column, row = _PLACES[:, None], _PLACES[:, None, None]
    across = above(ops.minimum(column - left[:, :, None], right[:, :, None] - column), 0.0)
    return 1 - across * above(ops.minimum(row - top[:, None], bottom[:, None] - row), 0.0)


def find_margins(colours: Tensor) -> Margins:
    """Finds the margins of colours [B, 64, 64, 3], 0 .. 255."""
    high, low = ops.max(colours, axis=-1, keepdims=True), ops.min(colours, axis=-1, keepdims=True)
    spread = ops.max_pool(high, 3, 1, "same") + ops.max_pool(-low, 3, 1, "same")
    grey = above(low, _GREY[0]) * above(_GREY[1], high)
    masks = [above(high, _WHITE), above(low, _WHITE - 2), grey]
    sides = ops.mean(border(ops.concatenate(masks, axis=-1)), axis=2)  # [B, 4, 3]
    around, longest = ops.mean(sides, axis=1), ops.max(sides, axis=1)
    reached = _reached(ops.concatenate([*masks[:2], grey * above(_EVEN, spread)], axis=-1))
    white = reached[..., 1:2]
    close = grown(white, 5) - grown(white)
    sharp = ops.sum(close * (above(_SHARP, low) - 0.5), axis=(1, 2, 3)) >= 0
    by_bright = number(around[:, 0] >= _WHITE_BORDER)
    by_white = number((longest[:, 1] >= _WHITE_SIDE) & sharp) * (1 - by_bright)
    neither = 0 * by_bright
    by_grey = number(around[:, 2] >= _NEUTRAL_BORDER)
    # One product per margin: taking a channel apart costs more.
    for_white = ops.stack([by_bright, by_white, neither], axis=-1)[:, None, None]
    for_grey = ops.stack([neither, neither, by_grey], axis=-1)[:, None, None]
    return Margins(*(ops.max(reached * part, axis=-1, keepdims=True) for part in (for_white, for_grey)))
