"""Circles and upright ellipses through rim points, many at once, by re-weighted least squares in closed form.

No sampling and no loop whose length depends on the picture: every fit takes the same number of rounds, in which a point
weighs less the farther it lies from the rim that the others agree on. Coordinates are (x, y) from the middle of the
photograph, in parts of its longer side.

A rim is y^2 = a x^2 + b x + c y + d: an upright ellipse for a < 0, a circle for a = -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dr_edge.finder.grid import picked
from dr_edge.framework import ops

Tensor = Any
_LEAST_RADIUS, _LARGEST_RADIUS = 0.08, 1.2
# Bounds of (-a, -b, -c, 1): aspects of 0.41 to 2.6, centres within three longer sides.
_LOW, _HIGH = np.array([0.15, -6, -6, 1], np.float32), np.array([6, 6, 6, 1], np.float32)
_LAST = np.array([0, 0, 0, 1], np.float32)
_STIFF = 300.0  # variance that holds a at -1, against about 0.01 of the points
_RIDGE = 1e-7  # so that points on a line have a solution
# Columns of `products_of`: 16 products of pairs of (x^2, x, y, y^2), those four, and 1.
_PAIRS, _FOUR = 16, slice(16, 20)
_LEFT, _RIGHT = np.repeat(np.arange(4), 4).astype(np.int32), np.tile(np.arange(4), 4).astype(np.int32)


class Rims(NamedTuple):
    """Rims, each [...]: centre, vertical radius, horizontal / vertical radius."""

    x: Tensor
    y: Tensor
    radius: Tensor
    aspect: Tensor


class Fitted(NamedTuple):
    """Rims as equations: y^2 - a x^2 - b x - c y - d.

    Attributes:
      factors: [..., M, 4], of (x^2, x, y, y^2).
      constant: [..., M, 1], d.
      squared: [..., M, 1], the vertical radius squared.
    """

    factors: Tensor
    constant: Tensor
    squared: Tensor


def features_of(points: Tensor) -> Tensor:
    """Returns [..., N, 5]: x^2, x, y, y^2 and 1 of points [..., N, 2]."""
    return ops.concatenate(
        [points[..., :1] * points[..., :1], points, points[..., 1:] * points[..., 1:], 0 * points[..., :1] + 1], axis=-1
    )


def products_of(features: Tensor) -> Tensor:
    """Returns [..., N, 21]: what a fit needs the weighted sums of; features [..., N, 5]."""
    pairs = picked(features, _LEFT) * picked(features, _RIGHT)
    return ops.concatenate([pairs, features], axis=-1)


def stiffness(circle: Tensor) -> Tensor:
    """Returns [..., M, 16], what is added to the covariances of M fits; circle [..., M, 1] is 1 where a is -1."""
    hold, ridge = np.zeros((2, 16), np.float32)
    hold[0], hold[3] = _STIFF, -_STIFF  # the variance of x^2, and its covariance with y^2
    ridge[[0, 5, 10]] = _RIDGE
    return circle * hold + ridge


def _adjugate_places() -> tuple[np.ndarray, np.ndarray]:
    """Returns [4, 9] places in a flat 4 x 4 matrix: an element of the adjugate of its 3 x 3 corner is ab - cd; and
    [9, 4], which sums its rows to (-a, -b, -c, 0).
    """
    flat, places = np.arange(16).reshape(4, 4), np.zeros((4, 9), np.int32)
    for row in range(3):
        for column in range(3):
            one, two = (row + 1) % 3, (row + 2) % 3
            here, there = (column + 1) % 3, (column + 2) % 3
            places[:, 3 * row + column] = flat[one, here], flat[two, there], flat[one, there], flat[two, here]
    return places, -np.repeat(np.eye(3, 4, dtype=np.float32), 3, axis=0)


_PLACES, _SUMMED = _adjugate_places()
_TARGET = np.tile(np.array([3, 7, 11], np.int32), 3)  # covariances of (x^2, x, y) with y^2


def _solve(weights: Tensor, products: Tensor, stiff: Tensor) -> Fitted:
    """Solves weighted least squares by the adjugate of the 3 x 3 covariances; weights [..., M, N]."""
    sums = ops.matmul(weights, products)
    means = sums / ops.maximum(sums[..., 20:], 1e-6)
    four = means[..., _FOUR]
    outer = picked(four, _LEFT) * picked(four, _RIGHT)
    spread = means[..., :_PAIRS] - outer + stiff
    first, second, third, fourth, target = (picked(spread, places) for places in (*_PLACES, _TARGET))
    adjugate = first * second - third * fourth
    determinant = ops.sum(adjugate[..., :3] * spread[..., :3], axis=-1, keepdims=True)
    solved = ops.matmul(adjugate * target, _SUMMED) / ops.maximum(determinant, 1e-18)
    factors = ops.minimum(ops.maximum(solved + _LAST, _LOW), _HIGH)
    constant = ops.sum(factors * four, axis=-1, keepdims=True)
    squares = 0.25 * factors * factors
    squared = constant + squares[..., 2:3] + squares[..., 1:2] / factors[..., :1]
    return Fitted(factors, constant, ops.clip(squared, _LEAST_RADIUS**2, _LARGEST_RADIUS**2))


def deviations(fitted: Fitted, features: Tensor) -> Tensor:
    """Returns [..., M, N], about how far points lie outside the rims in parts of the radius; features [..., 4, N]."""
    return (ops.matmul(fitted.factors, features) - fitted.constant) / (2 * fitted.squared)


def fit(
    products: Tensor, weights: Tensor, stiff: Tensor, scales: Sequence[float], before: Fitted | None = None
) -> Fitted:
    """Fits M rims to N points.

    Args:
      products: [..., N, 21], see `products_of`.
      weights: [..., M, N], 0 where a point is none or does not belong to the starting set.
      stiff: [..., M, 16], see `stiffness`.
      scales: of each round, the distance in parts of the radius from which on a point counts little.
      before: the rims to begin with; None for the plain least squares of all points.
    """
    features = ops.swapaxes(products[..., _FOUR], -1, -2)
    fitted = _solve(weights, products, stiff) if before is None else before
    for scale in scales:
        near = deviations(fitted, features) * float(1 / scale)
        far = near * near + 1
        fitted = _solve(weights / (far * far), products, stiff)
    return fitted


def to_rims(fitted: Fitted, circle: Tensor) -> Rims:
    """Returns the rims [..., M] of equations; circle [..., M] is 1 where the aspect is exactly 1."""
    flat, across, down = (fitted.factors[..., i] for i in range(3))
    aspect = ops.where(circle > 0.5, 1.0, 1 / ops.sqrt(flat))
    return Rims(-0.5 * across / flat, -0.5 * down, ops.sqrt(fitted.squared[..., 0]), aspect)


def to_fitted(rims: Rims) -> Fitted:
    """Returns the equations [..., 1, ·] of rims [...]."""
    flat, squared = 1 / (rims.aspect * rims.aspect), rims.radius * rims.radius
    factors = ops.stack([flat, -2 * flat * rims.x, -2 * rims.y, ops.ones_like(flat)], axis=-1)
    constant = squared - rims.y * rims.y - flat * rims.x * rims.x
    return Fitted(factors[..., None, :], constant[..., None, None], squared[..., None, None])
