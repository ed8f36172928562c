"""The whole finder: a thumbnail and a size in, a box and a verdict out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dr_edge.finder import parts as parts_
from dr_edge.finder.fits import Rims
from dr_edge.finder.grid import COARSE, SIDE, extremes, grown, picked
from dr_edge.finder.margins import find_margins
from dr_edge.finder.probe import probe
from dr_edge.finder.rays import sharpened
from dr_edge.finder.rim import around, find_rim, lit_at, thresholds_of
from dr_edge.finder.verdict import scores_of, verdict_of
from dr_edge.framework import ops

Tensor = Any
_STANDING = np.array([0, 1, 3], np.int32)  # thresholds at which a second retina is looked for


class Location(NamedTuple):
    """Where the retina is, and whether it is one.

    Attributes:
      box: [B, 4] float32, top, left, bottom, right of the disc in pixels of the photograph; may exceed it.
      aspect: [B, 1] float32, width / height of the disc; 1 unless the photograph was squashed.
      frame: [B, 4] float32, what of the photograph is no white or grey margin, in pixels.
      scores: [B, len(SCORES)] float32, see verdict.SCORES.
      verdict: [B] int32, a place in verdict.VERDICTS.
    """

    box: Tensor
    aspect: Tensor
    frame: Tensor
    scores: Tensor
    verdict: Tensor


def locate(thumbnail: Tensor, size: Tensor) -> Location:
    """Finds the retina.

    Args:
      thumbnail: [B, 256, 256, 3] uint8 RGB, the upright photograph squeezed to a square by area averaging.
      size: [B, 2] float32, height and width of the photograph in pixels.
    """
    if tuple(thumbnail.shape[1:]) != (SIDE, SIDE, 3):
        raise ValueError(f"A thumbnail is [B, {SIDE}, {SIDE}, 3]. Received: {thumbnail.shape}.")
    scale = ops.max(size, axis=-1, keepdims=True) / size
    colours = ops.average_pool(ops.cast(thumbnail, "float32"), SIDE // COARSE, SIDE // COARSE)
    margins = find_margins(colours)
    shown = 1 - grown(ops.maximum(margins.white, margins.neutral))
    painted = colours * shown
    brightness = ops.max(painted, axis=-1)
    thresholds = thresholds_of(brightness)
    standing = parts_.standing_out(colours, brightness, margins.neutral)
    apart = lit_at(standing, picked(thresholds_of(standing), _STANDING))
    lit, parts = parts_.find_parts(lit_at(brightness, thresholds), apart)
    found = find_rim(lit, brightness, thresholds, scale)
    rim = sharpened(thumbnail, shown, found.rim, found.circle, scale)
    whole = around(lit[..., 1:2], scale)
    rim = Rims(*(ops.where(found.there, one, other) for one, other in zip(rim, whole, strict=True)))
    kind = probe(painted, rim, scale)
    scores = scores_of(
        colours, brightness, lit[..., 1], lit[..., 0], shown, found, rim, kind, parts, tuple(margins), scale
    )
    return Location(_box(rim, size), rim.aspect[:, None], _frame(shown, size), scores, verdict_of(scores))


def _box(rim: Rims, size: Tensor) -> Tensor:
    longer = ops.max(size, axis=-1)
    down, across = rim.y * longer + 0.5 * size[:, 0], rim.x * longer + 0.5 * size[:, 1]
    high, wide = rim.radius * longer, rim.radius * rim.aspect * longer
    return ops.stack([down - high, across - wide, down + high, across + wide], axis=-1)


def _frame(shown: Tensor, size: Tensor) -> Tensor:
    left, right, top, bottom = extremes(shown)
    edges = ops.concatenate(
        [ops.min(v, axis=1) for v in (top, left)] + [ops.max(v, axis=1) for v in (bottom, right)], axis=-1
    )
    return edges * (1 / COARSE) * ops.concatenate([size, size], axis=-1)
