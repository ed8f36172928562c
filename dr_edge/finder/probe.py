"""What kind of picture it is, measured on a small square around the disc: colour, greyscale, normalised, or with
channels in another order.

The weights are those of `dr_edge/fundus/appearance.py`: linear discriminants, fitted to real photographs against the
same ones with their channels in another order, and normalised in the ways that are published. The limits are its, too,
but for one that an over-exposed photograph passes on this smaller square.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dr_edge.finder.fits import Rims
from dr_edge.finder.grid import COARSE, above, looked_up, number, picked, to_pixels
from dr_edge.framework import ops

Tensor = Any
_SIDE = 48
_AT = ((np.arange(_SIDE) + 0.5) / _SIDE * 2 - 1).astype(np.float32)
_SQUARED = _AT[:, None] ** 2 + _AT[None, :] ** 2
_PIXELS_OF_DISC = float((_SQUARED <= 0.9**2).sum())
_TURNED = np.array([1, 2, 0])
_LIT, _CLIPPED = 12.0, 250.0  # grey levels of the brightest channel
_NEAR, _FAR = 5, 7  # sides of two box filters in a row: 0.08 and 0.25 radii
ORDERS = ("RBG", "GRB", "GBR", "BRG", "BGR")  # what the file holds where red, green and blue should be
# Weights of log(mean + 30) and of log(mean deviation + 1) of the channels that stand as red, green and blue.
_LEVEL, _DETAIL = (14.7, -1.9, -12.8), (6.8, 2.7, -9.4)
_ORDER_LIMITS, _DARK_LIMITS = (1.4, 1.4, 1.2, 2.4, 1.2), (1.4, 3.3, 1.2, 3.3, 1.2)
_DARK = 65.0  # mean of the brightest channel: dark haze is green
_BLUER = 8.0  # grey levels by which the mean blue lies above the mean red in no photograph
_FLAT, _FLAT_OFFSET = (-7.7, 5.7, 9.3, -8.8), 10.8


class Kind(NamedTuple):
    """Each [B].

    Attributes:
      lit: of the disc, in its inner 0.9 radii.
      saturation: mean, 0 .. 1.
      tints: how colours differ beside light and dark.
      one_channel: green and blue against red, the larger.
      flatness: above 1.5 the picture is normalised.
      swapped: above 0 another order of channels explains the colours better.
    """

    lit: Tensor
    saturation: Tensor
    tints: Tensor
    one_channel: Tensor
    flatness: Tensor
    swapped: Tensor


def _box(picture: Tensor, side: int) -> Tensor:
    for _ in range(2):
        picture = ops.average_pool(ops.average_pool(picture, (side, 1), 1, "same"), (1, side), 1, "same")
    return picture


def _order_weights() -> np.ndarray:
    """Returns [6, 5]: what each order gains over red, green, blue, of the three levels and the three details."""
    gains = np.zeros((6, len(ORDERS)), np.float32)
    for column, order in enumerate(ORDERS):
        for first, weights in ((0, _LEVEL), (3, _DETAIL)):
            for channel, weight in zip("RGB", weights, strict=True):
                gains[first + order.index(channel), column] += weight
                gains[first + "RGB".index(channel), column] -= weight
    return gains


def probe(painted: Tensor, rim: Rims, scale: Tensor) -> Kind:
    """Measures the kind of a picture.

    Args:
      painted: [B, 64, 64, 3], its margin black.
      rim: [B] each.
      scale: [B, 2], longer side / (height, width).
    """
    x = rim.x[:, None] + (rim.radius * rim.aspect)[:, None] * _AT
    y = rim.y[:, None] + rim.radius[:, None] * _AT
    column, row = to_pixels(x, y, scale, COARSE)
    column, row = column[:, None] + 0 * row[:, :, None], row[:, :, None] + 0 * column[:, None]
    inside = above(COARSE / 2, ops.maximum(ops.abs(column - COARSE / 2), ops.abs(row - COARSE / 2)))
    levels = looked_up(painted, column, row) * inside[..., None]
    high, low = ops.max(levels, axis=-1, keepdims=True), ops.min(levels, axis=-1, keepdims=True)
    middle_away = (_AT * _AT)[:, None] + ops.reshape(0 * y + _AT * _AT, (-1, _SIDE, 1, 1))  # not a constant of 9 kB
    lit = above(high, _LIT) * above(0.9**2, middle_away)
    near = _box(ops.concatenate([levels * lit, lit], axis=-1), _NEAR)
    far = _box(ops.average_pool(near, 2, 2), _FAR)  # at half the size: what is left is smooth
    far = ops.repeat(ops.repeat(far, 2, axis=1), 2, axis=2)
    near, far = near[..., :3] / ops.maximum(near[..., 3:], 1e-3), far[..., :3] / ops.maximum(far[..., 3:], 1e-3)
    fine, middle = levels - near, near - far
    saturation = (high - low) / ops.maximum(high, 1.0)
    pairs = levels * picked(levels, _TURNED)
    facts = [levels, levels * levels, pairs, ops.abs(fine), fine, fine * fine, middle, middle * middle, far, far * far,
             saturation, 0 * lit + 1]  # fmt: skip
    masks = ops.concatenate([lit, lit * above(0.65**2, middle_away), lit * above(_CLIPPED, high)], axis=-1)
    pixels = _SIDE * _SIDE
    masks = ops.swapaxes(ops.reshape(masks, (-1, pixels, 3)), 1, 2)
    sums = ops.concatenate(
        [ops.matmul(masks, ops.reshape(fact, (-1, pixels, fact.shape[-1]))) for fact in facts], axis=-1
    )
    means = sums / ops.maximum(sums[..., 31:], 1.0)
    whole, inner, clear = means[:, 0], means[:, 1], means[:, 2]
    mean = whole[:, :3]
    enough = number(sums[:, 2, 31:] >= 0.25 * sums[:, 0, 31:])
    logs = ops.concatenate([ops.log(mean + 30), ops.log(clear[:, 9:12] + 1) * enough], axis=-1)
    dark = number(ops.max(mean, axis=-1, keepdims=True) < _DARK)
    limits = np.array(_ORDER_LIMITS, np.float32) + dark * np.subtract(_DARK_LIMITS, _ORDER_LIMITS).astype(np.float32)
    gains = ops.max(ops.matmul(logs, _order_weights()) - limits, axis=-1)
    return Kind(
        lit=sums[:, 0, 31] * float(1 / _PIXELS_OF_DISC),
        saturation=whole[:, 30],
        tints=_tints(whole),
        one_channel=ops.max(mean[:, 1:], axis=-1) / ops.maximum(mean[:, 0], 1.0),
        flatness=_flatness(inner),
        swapped=ops.maximum(gains, (mean[:, 2] - mean[:, 0] - _BLUER) * 0.1),
    )


def _tints(means: Tensor) -> Tensor:
    """About (second / first principal deviation) squared, of means [B, 32]."""
    level = means[:, :3]
    own = means[:, 3:6] - level * level
    shared = means[:, 6:9] - level * picked(level, _TURNED)
    pairs = ops.sum(own * picked(own, _TURNED) - shared * shared, axis=-1)
    total = ops.sum(own, axis=-1)
    return pairs / ops.maximum(total * total, 1e-3)


def _flatness(means: Tensor) -> Tensor:
    """The discriminant of normalised pictures, of means [B, 32] of the inner disc."""
    away = ops.max(ops.abs(means[:, :3] - 128), axis=-1, keepdims=True)
    bands = ops.reshape(means[:, 12:30], (-1, 3, 2, 3))
    deviation = ops.sqrt(ops.maximum(bands[:, :, 1] - bands[:, :, 0] * bands[:, :, 0], 0.0))
    features = ops.concatenate([away + 5, ops.mean(deviation, axis=-1) + 1], axis=-1)
    return ops.sum(ops.log(features) * np.array(_FLAT, np.float32), axis=-1) + _FLAT_OFFSET
