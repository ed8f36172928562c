"""Parts of what is lit: the one that is searched for a rim, and whether another one looks like a second retina.

A part grows from its innermost pixel a fixed number of times. Parts that touch at a waist are told apart by how deep
their pixels lie: where only the deeper ones are left, they fall into two cores.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dr_edge.finder.grid import COARSE, above, number
from dr_edge.finder.margins import border
from dr_edge.framework import ops

Tensor = Any
_SIDE = COARSE // 2
_DEPTH = 14  # erosions: a disc that fills the frame is 16 deep
_STEPS = 11  # of two pixels each, from the middle to the farthest side
_SHARES = (0.0, 0.35, 0.5, 0.65)  # of the greatest depth: what lies less deep is left out
_EDGE = 1.5  # depth from which on a part grows: two parts are then three pixels apart, and no step leaps across
_LINE = np.arange(_SIDE, dtype=np.float32)
_EVEN, _LIT_BORDER = 10.0, 25.0  # grey levels: a border of one colour that is lit


class Second(NamedTuple):
    """The part next in depth to the one that is searched; each [B, C], one column for each share and threshold.

    Attributes:
      depth: against that of the first.
      rise: pixels that its core reaches above the depth at which both fall apart.
      area: against that of the first.
      fill: of its box.
      pixels: of 32 x 32.
      warm: of it is not green or blue.
      saturation: grey levels between its channels.
      flat: of it has no detail.
      spread: grey levels between the extremes of neighbours, on average.
      beyond: of it, or of the first part, lies outside the rim that was found.
    """

    depth: Tensor
    rise: Tensor
    area: Tensor
    fill: Tensor
    pixels: Tensor
    warm: Tensor
    saturation: Tensor
    flat: Tensor
    spread: Tensor
    beyond: Tensor


class Parts(NamedTuple):
    """Parts of 8 masks: as depth [B, 32, 32, C], `share` [C], and the first and the second part [B, 32, 32, C]."""

    depth: Tensor
    peak: Tensor
    share: np.ndarray
    first: Tensor
    second: Tensor


def standing_out(colours: Tensor, brightness: Tensor, neutral: Tensor) -> Tensor:
    """Returns [B, 64, 64], the brightness; where the border is lit in one colour, at most the distance from it.

    Args:
      colours: [B, 64, 64, 3].
      brightness: [B, 64, 64].
      neutral: [B, 64, 64, 1], the margin of a normalised picture: its colour is the retina's average, too.
    """
    edge = ops.swapaxes(ops.reshape(border(colours), (-1, 4 * COARSE, 3)), 1, 2)
    colour = ops.min(ops.top_k(edge, 2 * COARSE + 1)[0], axis=-1)  # the median of each channel
    even = ops.mean(number(ops.max(ops.abs(edge - colour[..., None]), axis=1) <= _EVEN), axis=-1) >= 0.6
    lit = even & (ops.max(colour, axis=-1) >= _LIT_BORDER) & (ops.max(neutral, axis=(1, 2, 3)) < 0.5)
    away = ops.max(ops.abs(colours - colour[:, None, None]), axis=-1)
    return ops.where(lit[:, None, None], ops.minimum(brightness, away), brightness)


def find_parts(lit: Tensor, standing: Tensor) -> tuple[Tensor, Parts]:
    """Divides what is lit.

    Args:
      lit: [B, 64, 64, T] of 0 and 1, of which one part is searched.
      standing: [B, 64, 64, U] of 0 and 1, in which a second retina is looked for.

    Returns:
      The deepest part of each of `lit`, [B, 64, 64, T]; the parts of `standing` for each share of the depth.
    """
    searched, looked = lit.shape[-1], standing.shape[-1]
    unlit = ops.max_pool(1 - ops.concatenate([lit, standing], axis=-1), 2, 2)
    survived = unlit
    for _ in range(_DEPTH):
        unlit = ops.max_pool(unlit, 3, 1, "same")
        survived = survived + unlit
    depth = _DEPTH + 1 - survived
    depth = ops.concatenate([depth, *[depth[..., searched:]] * (len(_SHARES) - 1)], axis=-1)
    share = np.concatenate([np.zeros(searched), np.repeat(_SHARES, looked)]).astype(np.float32)
    peak = ops.max(depth, axis=(1, 2), keepdims=True)
    mask = above(depth, ops.maximum(peak * share, _EDGE))
    first = _grown_from_the_deepest(depth, mask)
    main = ops.max_pool(first[..., :searched], 5, 1, "same")  # what halving and the edge took away
    main = ops.repeat(ops.repeat(main, 2, axis=1), 2, axis=2) * lit
    rest = [value[..., searched:] for value in (depth, peak[:, 0, 0], first, mask)]
    second = _grown_from_the_deepest(rest[0], rest[3] - rest[2])
    return main, Parts(rest[0], rest[1], share[searched:], rest[2], second)


def _grown_from_the_deepest(depth: Tensor, mask: Tensor) -> Tensor:
    """Of equally deep pixels the one nearest to the middle of the mask, from where the way to all sides is short."""
    count = ops.maximum(ops.sum(mask, axis=(1, 2), keepdims=True), 1.0)
    row = _LINE[:, None, None] - ops.sum(mask * _LINE[:, None, None], axis=(1, 2), keepdims=True) / count
    column = _LINE[:, None] - ops.sum(mask * _LINE[:, None], axis=(1, 2), keepdims=True) / count
    value = (depth + 1 - 1e-4 * (row * row + column * column)) * mask
    part = above(value, ops.maximum(ops.max(value, axis=(1, 2), keepdims=True), 1e-3) - 1e-5)
    for _ in range(_STEPS):
        part = ops.max_pool(part, 5, 1, "same") * mask
    return part


def measure_second(parts: Parts, colours: Tensor, away: Tensor) -> Second:
    """Measures the second part of each column.

    Args:
      parts: see `find_parts`.
      colours: [B, 64, 64, 3].
      away: [B, 64, 64], squared distance from the middle of the rim that was found, in radii.
    """
    grey = ops.mean(colours, axis=-1, keepdims=True)
    spread = ops.max_pool(grey, 3, 1, "same") + ops.max_pool(-grey, 3, 1, "same")
    small = ops.average_pool(ops.concatenate([colours, spread, away[..., None]], axis=-1), 2, 2)
    three, spread = small[..., :3], small[..., 3:4]
    high, low = ops.max(three, axis=-1, keepdims=True), ops.min(three, axis=-1, keepdims=True)
    warm = above(three[..., :1], high - 20)
    facts = [warm, high - low, above(4.01, spread), spread, above(small[..., 4:], 1.1), 0 * warm + 1]
    facts = ops.swapaxes(ops.concatenate([ops.reshape(fact, (-1, 1, _SIDE * _SIDE)) for fact in facts], axis=1), 1, 2)
    columns = parts.second.shape[-1]
    both = ops.concatenate([parts.second, parts.first], axis=-1)
    flat = ops.swapaxes(ops.reshape(both, (-1, _SIDE * _SIDE, 2 * columns)), 1, 2)
    sums = ops.matmul(flat, facts)
    sums, others = sums[:, :columns], sums[:, columns:]
    pixels = sums[..., 5]
    means = sums / ops.maximum(sums[..., 5:], 1.0)
    box = ops.sum(ops.max(parts.second, axis=2), axis=1) * ops.sum(ops.max(parts.second, axis=1), axis=1)
    deepest = ops.max(parts.depth * parts.second, axis=(1, 2))
    return Second(
        depth=deepest / ops.maximum(parts.peak, 1.0),
        rise=deepest - parts.peak * parts.share,
        area=pixels / ops.maximum(others[..., 5], 1.0),
        fill=pixels / ops.maximum(box, 1.0),
        pixels=pixels,
        warm=means[..., 0],
        saturation=means[..., 1],
        flat=means[..., 2],
        spread=means[..., 3],
        beyond=ops.maximum(means[..., 4], others[..., 4] / ops.maximum(others[..., 5], 1.0)),
    )


def looks_like_a_retina(second: Second, share: np.ndarray, clear_rim: Tensor) -> Tensor:
    """Returns [B, C], how deep a second part is where it looks like a retina, 0 elsewhere.

    Args:
      second, share: see `measure_second` and `Parts`.
      clear_rim: [B] bool, whether one rim explains nearly all that is lit. Then only what lies beyond it counts: a dark
        band divides one retina, too.
    """
    large = (second.depth >= 0.2) & (second.rise >= 1) & (second.area > 0.04) & (second.pixels >= 6)
    # A chart, a logo and a bar are flat in part, and steep between; what has no colour must be round.
    natural = (second.warm >= 0.7) & (second.flat < 0.45) & ((second.flat < 0.12) | (second.spread < 30))
    # A panel, a ramp or an OCT scan has no colour and is not round.
    round_ = (second.saturation >= 12) | ((second.fill < 0.93) & (share == 0))
    apart = (second.beyond >= 0.5) | ~clear_rim[:, None]
    return second.depth * number(large & natural & round_ & apart & (second.spread < 60))
