"""The rim of the retina in a thumbnail: rim points at several thresholds, fits from several starting sets, the best."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dr_edge.finder.fits import Fitted, Rims, deviations, features_of, fit, products_of, stiffness, to_rims
from dr_edge.finder.grid import COARSE, above, extremes, grown, looked_up, number, places, shrunk, to_pixels
from dr_edge.framework import ops

Tensor = Any
STEPS = np.array([5, 9, 15, 25, 40], np.float32)  # thresholds above the border's brightness, grey levels
_LIT_LIKE = 100.0  # grey levels above the border for which the steps hold; they grow with brighter discs
# Which of left, right, top and bottom begin a fit; each set begins a circle and an ellipse.
_STARTS = np.array(
    [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]], np.float32
)
_SETS = np.concatenate([_STARTS, _STARTS])
_CIRCLE = np.repeat(np.array([1, 0], np.float32), len(_STARTS))
_ROUNDS = tuple(np.geomspace(0.06, 0.011, 6))
_ON = 0.011  # of the longer side: a point this near lies on a rim
_ANGLES = (np.arange(64) + 0.5) * (2 * np.pi / 64)
_COSINES, _SINES = np.cos(_ANGLES).astype(np.float32), np.sin(_ANGLES).astype(np.float32)
_FULL_FALL = 40.0  # grey levels across a rim that could not be clearer
_SEEN_AT = 0.06  # of the radius within and without a rim is where its sides are looked at
_NO_RIM_RADIUS = 0.6  # of the longer side: loses < 3 % of a square frame, nothing of a 3:2 frame


class Evidence(NamedTuple):
    """What speaks for a rim, each [...].

    Attributes:
      support: of the rim inside the frame is lit within and dark without.
      explained: of the rim points lie on it.
      arc: of the whole rim is seen.
      fall: grey levels across it.
      outside: of what is lit lies outside.
    """

    support: Tensor
    explained: Tensor
    arc: Tensor
    fall: Tensor
    outside: Tensor


def thresholds_of(brightness: Tensor) -> Tensor:
    """Returns [B, 5], grey levels above which a pixel of [B, 64, 64] is lit, in the order of STEPS."""
    small = ops.reshape(ops.average_pool(brightness[..., None], 2, 2), (-1, 1024))
    floor = -ops.min(ops.top_k(-small, 11)[0], axis=-1, keepdims=True)  # the hundredth
    bright = ops.min(ops.top_k(small, 103)[0], axis=-1, keepdims=True)  # the tenth
    return floor + ops.maximum((bright - floor) * (1 / _LIT_LIKE), 1.0) * STEPS


def lit_at(brightness: Tensor, thresholds: Tensor) -> Tensor:
    """Returns [B, 64, 64, T] of 0 and 1, what is lit, freed of thin bars and text."""
    return grown(shrunk(above(brightness[..., None], thresholds[:, None, None, :])))


def rim_points(lit: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the outermost lit pixels of every row and column.

    Args:
      lit: [B, 64, 64, T] of 0 and 1.
      scale: [B, 2], longer side / (height, width).

    Returns:
      points [B, T, 256, 2]; weights [B, T, 4, 64], 0 at the frame's border, which cut the disc, and where nothing is
      lit.
    """
    left, right, top, bottom = extremes(lit)
    line = 0 * left + (np.arange(COARSE, dtype=np.float32) + 0.5)[:, None]
    outer = ops.stack([left, right, top, bottom], axis=1)  # [B, 4, 64, T]
    column, row = ops.stack([left, right, line, line], axis=1), ops.stack([line, line, top, bottom], axis=1)
    points = ops.stack([column, row], axis=-1) * (1 / COARSE) - 0.5
    points = ops.transpose(points / scale[:, None, None, None, ::-1], (0, 3, 1, 2, 4))
    inside = number((outer > 0.5) & (outer < COARSE - 0.5))
    return ops.reshape(points, (-1, lit.shape[-1], 4 * COARSE, 2)), ops.transpose(inside, (0, 3, 1, 2))


def _evidence(
    fitted: Fitted, rims: Rims, features: Tensor, weights: Tensor, lit: Tensor, brightness: Tensor, thresholds: Tensor,
    scale: Tensor,
) -> Evidence:  # fmt: skip
    x, y, radius, aspect = (value[..., None] for value in rims)
    across, down = radius * aspect * _COSINES, radius * _SINES
    column, row = to_pixels(x + across, y + down, scale, COARSE)
    from_middle = ops.maximum(ops.abs(column - COARSE / 2), ops.abs(row - COARSE / 2))
    visible = above(COARSE / 2 - 0.75, from_middle)
    sides = np.array([1 - _SEEN_AT, 1 + _SEEN_AT], np.float32)[:, None]
    both = to_pixels(
        x[..., None] + across[..., None, :] * sides, y[..., None] + down[..., None, :] * sides, scale, COARSE
    )
    levels = looked_up(brightness[..., None], *both)[..., 0]
    within, without = levels[..., 0, :], levels[..., 1, :]
    limit = thresholds[:, :, None, None]
    seen = visible * above(within, limit) * (1 - above(without, limit))
    many = ops.maximum(ops.sum(visible, axis=-1), 1.0)
    fall = ops.sum(visible * ops.clip(within - without, 0.0, 60.0), axis=-1) / many
    on = above(_ON, ops.abs(deviations(fitted, features)) * radius) * weights
    explained = ops.sum(on, axis=-1) / ops.maximum(ops.sum(weights, axis=-1), 1.0)
    across, down = places(scale, COARSE // 4)
    across, down = across[:, None, None] - x[..., None], down[:, None, None] - y[..., None]
    across, down = across / (radius * aspect)[..., None], down / radius[..., None]
    away = above(across * across + down * down, 1.06)  # [B, T, M, 16, 16]
    small = ops.transpose(lit[:, 1::4, 2::4], (0, 3, 1, 2))[:, :, None]
    outside = ops.sum(away * small, axis=(-2, -1)) / ops.maximum(ops.sum(small, axis=(-2, -1)), 1.0)
    return Evidence(ops.sum(seen, axis=-1) / many, explained, ops.mean(seen, axis=-1), fall, outside)


def _merit(rims: Rims, evidence: Evidence, scale: Tensor) -> Tensor:
    """Returns how good each rim [B, T, M] is; below 0 where it is none worth the name."""
    support, explained, arc, fall, outside = evidence
    merit = support + explained + 0.3 * arc + 0.5 * ops.minimum(fall * (1 / _FULL_FALL), 1.0) - 3 * outside
    evident = (support >= 0.35) & (support + explained >= 0.9) & (arc >= 0.035) & (outside < 0.2)
    # A frame is seldom square unless the photograph was squashed into it; elsewhere, and where it is wide, an ellipse
    # must be clear.
    clear = (support > 0.6) & (explained > 0.7) & (arc > 0.41)
    square = (ops.abs(scale[:, 0] - scale[:, 1]) < 0.03)[:, None, None]
    narrow = (rims.aspect <= 0.97) & (rims.aspect >= 0.45) & (clear | square)
    wide = (rims.aspect >= 1.1) & (rims.aspect <= 1.9) & clear
    allowed = number(evident & ((_CIRCLE > 0.5) | narrow | wide))
    ellipse = 0.1 * (1 - _CIRCLE) + 0.2 * number(rims.aspect > 1.05)  # a disc cut above and below is no wide ellipse
    return allowed * (merit - ellipse + 1) + 0.1 * merit * (1 - allowed) - 1


class Found(NamedTuple):
    """The best rim.

    Attributes:
      rim: [B] each.
      circle: [B], 1 where it is no ellipse.
      evidence: [B] each.
      there: [B] bool, whether there is a rim worth the name.
    """

    rim: Rims
    circle: Tensor
    evidence: Evidence
    there: Tensor


def find_rim(lit: Tensor, brightness: Tensor, thresholds: Tensor, scale: Tensor) -> Found:
    """Finds the rim of what is lit.

    Args:
      lit: [B, 64, 64, 5] of 0 and 1.
      brightness: [B, 64, 64] grey levels.
      thresholds: [B, 5].
      scale: [B, 2], longer side / (height, width).
    """
    points, inside = rim_points(lit, scale)
    products = products_of(features_of(points))
    count = len(STEPS) * len(_SETS)
    weights = ops.reshape(inside[:, :, None] * _SETS[:, :, None], (-1, len(STEPS), len(_SETS), 4 * COARSE))
    fitted = fit(products, weights, stiffness(_CIRCLE[:, None]), _ROUNDS)
    rims = to_rims(fitted, _CIRCLE)
    features, everything = ops.swapaxes(products[..., 16:20], -1, -2), weights[:, :, :1]
    evidence = _evidence(fitted, rims, features, everything, lit, brightness, thresholds, scale)
    merit = ops.reshape(_merit(rims, evidence, scale), (-1, count))
    ordered = merit - 1e-6 * np.arange(count, dtype=np.float32)  # of equals the first
    chosen = number(ordered >= ops.max(ordered, axis=-1, keepdims=True))
    table = ops.stack([*rims, *evidence, 0 * rims.x + _CIRCLE], axis=-1)
    best = ops.matmul(chosen[:, None], ops.reshape(table, (-1, count, 10)))[:, 0]
    there = ops.max(merit, axis=-1) > -0.5
    return Found(Rims(*(best[:, i] for i in range(4))), best[:, 9], Evidence(*(best[:, i] for i in range(4, 9))), there)


def around(part: Tensor, scale: Tensor) -> Rims:
    """Returns [B] each: a disc around what is lit, [B, 64, 64, 1]: a retina may fill its frame, and show no rim."""
    left, right, top, bottom = extremes(part)
    low = [ops.min(value, axis=(1, 2)) for value in (left, top)]
    high = [ops.max(value, axis=(1, 2)) for value in (right, bottom)]
    spans = [(b - a) * (1 / COARSE) / scale[:, i] for a, b, i in zip(low, high, (1, 0), strict=True)]
    middles = [((a + b) * (0.5 / COARSE) - 0.5) / scale[:, i] for a, b, i in zip(low, high, (1, 0), strict=True)]
    radius = ops.maximum(_NO_RIM_RADIUS * ops.maximum(*spans), 0.05)
    return Rims(middles[0], middles[1], radius, ops.ones_like(radius))
