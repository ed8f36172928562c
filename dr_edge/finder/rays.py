"""What a thumbnail shows along rays from the middle of a rim: the steepest fall of brightness, which no threshold
shifts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dr_edge.finder.fits import Rims, features_of, fit, products_of, stiffness, to_fitted, to_rims
from dr_edge.finder.grid import COARSE, SIDE, above, looked_up, number, to_pixels
from dr_edge.framework import ops

Tensor = Any
RAYS = 128
_ANGLES = (np.arange(RAYS) + 0.5) * (2 * np.pi / RAYS)
_COSINES, _SINES = np.cos(_ANGLES).astype(np.float32)[:, None], np.sin(_ANGLES).astype(np.float32)[:, None]
_CLEAR = 12.0  # grey levels from which on a fall counts fully; the first one is noise
_LEAST_RAYS = 8.0
_REACH, _STEPS = 0.08, 49  # how far within and without to look, in parts of the radius
_ROUNDS = (0.02, 0.012, 0.007, 0.004)


def _falls(thumbnail: Tensor, shown: Tensor, rims: Rims, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Returns points [B, RAYS, 2] and weights [B, RAYS] of the steepest fall along each ray."""
    stretch = np.linspace(1 - _REACH, 1 + _REACH, _STEPS).astype(np.float32)
    x, y, radius, aspect = (value[:, None, None] for value in rims)
    across, down = radius * aspect * _COSINES, radius * _SINES
    column, row = to_pixels(x + across * stretch, y + down * stretch, scale, SIDE)
    levels = ops.max(looked_up(thumbnail, column, row), axis=-1)
    levels = levels * looked_up(shown, column * (COARSE / SIDE), row * (COARSE / SIDE))[..., 0]
    three = levels[..., :-2] + levels[..., 1:-1] + levels[..., 2:]
    fall = (three[..., :-2] - three[..., 2:]) * (1 / 3)
    steepest = ops.max(fall, axis=-1, keepdims=True)
    at = above(fall, steepest - 1e-3)  # of a plateau the middle counts
    place = ops.sum(at * (np.arange(_STEPS - 4, dtype=np.float32) + 2), axis=-1, keepdims=True)
    place = place / ops.sum(at, axis=-1, keepdims=True)
    here = place * (2 * _REACH / (_STEPS - 1)) + (1 - _REACH)
    points = ops.concatenate([x + across * here, y + down * here], axis=-1)
    column, row = to_pixels(points[..., 0], points[..., 1], scale, SIDE)
    free = (ops.abs(column - SIDE / 2) < SIDE / 2 - 2) & (ops.abs(row - SIDE / 2) < SIDE / 2 - 2)
    inner = ops.abs(place - (_STEPS - 1) / 2) < (_STEPS - 6) / 2
    return points, ops.clip(steepest[..., 0] - 1, 0.0, _CLEAR) * number(free & inner[..., 0])


def sharpened(thumbnail: Tensor, shown: Tensor, rims: Rims, circle: Tensor, scale: Tensor) -> Rims:
    """Moves rims onto the steepest fall of brightness near them.

    Args:
      thumbnail: [B, 256, 256, 3].
      shown: [B, 64, 64, 1], 0 in a margin.
      rims: [B] each.
      circle: [B], 1 where the rim is no ellipse.
      scale: [B, 2], longer side / (height, width).

    Returns:
      [B] each; a rim whose fall is too faint to be followed is returned as it came.
    """
    points, weights = _falls(thumbnail, shown, rims, scale)
    products = products_of(features_of(points))
    stiff = stiffness(circle[:, None, None])
    found = to_rims(fit(products, weights[:, None], stiff, _ROUNDS, to_fitted(rims)), circle[:, None])
    new, old = ops.stack([*found], axis=-1)[:, 0], ops.stack([*rims], axis=-1)  # [B, 4]
    moved = ops.max(ops.abs(new - old) / ops.stack([rims.radius] * 3 + [rims.aspect], axis=-1), axis=-1, keepdims=True)
    good = (moved < _REACH) & (ops.sum(number(weights > 0), axis=-1, keepdims=True) >= _LEAST_RAYS)
    kept = ops.where(good, new, old)
    return Rims(*(kept[:, i] for i in range(4)))
