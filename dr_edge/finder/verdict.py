"""Whether what was found can be a retina that a model may be shown: no document, no scan, no flower, no black frame, no
second eye, no half of one, no colours of another order.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from dr_edge.finder import parts as parts_
from dr_edge.finder.fits import Rims
from dr_edge.finder.grid import COARSE, above, number, picked, places, shrunk
from dr_edge.finder.probe import Kind
from dr_edge.finder.rim import Found
from dr_edge.framework import ops

Tensor = Any
# In the order in which they are asked: the first that applies is the verdict.
VERDICTS: Final = (
    "ok", "more than one eye", "too dark", "no field of view", "blank", "a part of the retina", "colours", "greyscale",
    "normalised", "channels",
)  # fmt: skip
SCORES: Final = (
    "support", "explained", "arc", "fall", "outside", "rim", "clear", "dark", "bright", "second", "around",
    "around_share", "retina_colour", "detail", "longer", "fills", "seen", "white_margin", "neutral_margin", "lit",
    "saturation", "tints", "one_channel", "flatness", "swapped", "strip",
)  # fmt: skip
LIMITS: Final = {
    "dark": 0.5,  # of the retina is darker than 22 grey levels ...
    "bright": 0.1,  # ... and so much brighter than 36
    "around": 0.5,  # of what surrounds it is brighter than 25, and than 0.22 of it
    "around_share": 0.03,  # of the frame are surroundings, at least
    "clear": 1.3,  # support + explained of a rim that needs no colours
    "retina_colour": 0.7,
    "detail": 0.004,
    "longer": 1.85,  # longer side / shorter side of what is lit
    "longer_without_rim": 1.52,
    "fills": 0.97,  # of the frame is lit where a retina fills it: a frame may be 16:9
    "seen": 0.6,  # of the disc is in the picture and lit
    "seen_without_rim": 0.55,  # 0.59 of a lit frame of 3:2, and 0.88 of a square one
    "lit": 0.05,
    "one_channel": 0.1,
    "saturation": 0.03,
    "tints": 0.0036,
    "flatness": 1.5,
    "one_rim": 1.8,  # support + explained of a rim beside which only what lies beyond it is a second retina
    "strip": 15.0,  # longer / shorter side of the photograph
}
_DARK, _BRIGHT = 21.99, 35.99  # grey levels
_AROUND, _AGAINST = 25.0, 0.22
_FAINT = 8.0  # grey levels: in a dark photograph the retina hardly stands out
_LUMINANCE = np.array([[0.299], [0.587], [0.114]], np.float32)
# A retina's colours: red >= green >= blue - 25, and red > blue + 8.
_RETINA = np.array([[1, 0, 1], [-1, 1, 0], [0, -1, -1]], np.float32), np.array([0, 25, -8], np.float32)
_PAGE = 245.0  # the white of a page is no surroundings


def away_from(rim: Rims, scale: Tensor) -> Tensor:
    """Returns [B, 64, 64], squared distances of the pixels from the middle of a rim, in its radii."""
    x, y = places(scale, COARSE)
    across = (x - rim.x[:, None, None]) / (rim.radius * rim.aspect)[:, None, None]
    down = (y - rim.y[:, None, None]) / rim.radius[:, None, None]
    return across * across + down * down


def _median(values: Tensor, mask: Tensor) -> Tensor:
    """Returns [B], the median of [B, 64, 64] where a mask is 1, of every fourth pixel; -1 where nothing is."""
    some = ops.reshape(ops.where(mask[:, ::2, ::2] > 0.5, values[:, ::2, ::2], -1.0), (-1, 1024))
    ordered = ops.top_k(some, 1024)[0]
    half = 0.5 * ops.sum(number(some >= 0), axis=-1, keepdims=True)
    # The middle one of those that count: as many lie before it as behind.
    after = np.arange(1024, dtype=np.float32)
    return ops.max(ops.where(after >= ops.minimum(ops.floor(half), 1023.0), ordered, -1.0), axis=-1)


def scores_of(
    colours: Tensor, brightness: Tensor, lit: Tensor, faint: Tensor, shown: Tensor, found: Found, rim: Rims, kind: Kind,
    parts: parts_.Parts, margins: tuple[Tensor, Tensor], scale: Tensor,
) -> Tensor:  # fmt: skip
    """Returns [B, len(SCORES)].

    Args:
      colours: [B, 64, 64, 3].
      brightness: [B, 64, 64], the margin black.
      lit: [B, 64, 64], the part that was searched at a low threshold, of 0 and 1.
      faint: the same at the lowest.
      shown: [B, 64, 64, 1], 0 in a margin.
      found, rim: the rim, and where it was sharpened to.
      kind, parts, margins: of the picture.
      scale: [B, 2], longer side / (height, width).
    """
    away = away_from(rim, scale)
    disc = above(1.0, away)
    there = number(found.there)[:, None, None]
    region = lit * above(1.12, away) * there + lit * (1 - there)
    inside = _median(brightness, region)
    outer = above(away, 1.2) * shrunk(1 - region[..., None])[..., 0] * shown[..., 0] * above(_PAGE, brightness)
    limit = ops.maximum(inside * _AGAINST, _AROUND)[:, None, None]
    grey = ops.matmul(colours, _LUMINANCE)[..., 0]
    wide = ops.average_pool(ops.average_pool(grey[..., None], 5, 1, "same"), 5, 1, "same")[..., 0]
    detail = (grey - wide) / (wide + 20)
    retina = above(ops.min(ops.matmul(colours, _RETINA[0]) + _RETINA[1], axis=-1), -0.01)
    facts = [above(brightness, _DARK), above(brightness, _BRIGHT), above(brightness, limit), retina, detail,
             detail * detail, ops.maximum(faint, above(brightness, _FAINT)), 0 * grey + 1]  # fmt: skip
    pixels = COARSE * COARSE
    masks = ops.reshape(ops.stack([region, outer, disc], axis=1), (-1, 3, pixels))
    sums = ops.matmul(masks, ops.swapaxes(ops.reshape(ops.stack(facts, axis=1), (-1, 8, pixels)), 1, 2))
    means = sums / ops.maximum(sums[..., 7:], 1.0)
    high = ops.sum(ops.max(region, axis=2), axis=1) / scale[:, 0]
    across = ops.sum(ops.max(region, axis=1), axis=1) / scale[:, 1]
    area = float(np.pi * pixels) * rim.radius * rim.radius * rim.aspect * scale[:, 0] * scale[:, 1]
    clear = found.evidence.support + found.evidence.explained
    second = parts_.measure_second(parts, colours, away)
    second = ops.max(
        parts_.looks_like_a_retina(second, parts.share, found.there & (clear >= LIMITS["one_rim"])), axis=-1
    )
    listed = [
        *found.evidence, number(found.there), number(found.there) * clear, 1 - means[:, 0, 0], means[:, 0, 1], second,
        means[:, 1, 2], sums[:, 1, 7] * (1 / pixels), means[:, 0, 3],
        ops.sqrt(ops.maximum(means[:, 0, 5] - means[:, 0, 4] * means[:, 0, 4], 0.0)),
        ops.maximum(high, across) / ops.maximum(ops.minimum(high, across), 1.0), ops.mean(lit, axis=(1, 2)),
        sums[:, 2, 6] / area, *(ops.mean(margin, axis=(1, 2, 3)) for margin in margins), *kind,
        ops.max(scale, axis=-1),
    ]  # fmt: skip
    return ops.stack(listed, axis=-1)


# For each verdict but the first, ways in which it applies: all of some conditions hold. A condition is a score, whether
# it must lie above or below, and the limit.
_RULES: Final = (
    ("more than one eye", (("second", ">", 0.0),)),
    ("too dark", (("dark", ">", LIMITS["dark"]), ("bright", "<", LIMITS["bright"]))),
    ("no field of view", (("around", ">", LIMITS["around"]), ("around_share", ">", LIMITS["around_share"]))),
    ("no field of view", (("clear", "<", LIMITS["clear"]), ("retina_colour", "<", LIMITS["retina_colour"]))),
    ("no field of view", (("strip", ">", LIMITS["strip"]),)),
    ("blank", (("clear", "<", LIMITS["clear"]), ("detail", "<", LIMITS["detail"]))),
    ("a part of the retina", (("longer", ">", LIMITS["longer"]),)),
    (
        "a part of the retina",
        (("rim", "<", 0.5), ("fills", "<", LIMITS["fills"]), ("longer", ">", LIMITS["longer_without_rim"])),
    ),
    ("a part of the retina", (("rim", ">", 0.5), ("seen", "<", LIMITS["seen"]))),
    (
        "a part of the retina",
        (("rim", "<", 0.5), ("fills", "<", LIMITS["fills"]), ("seen", "<", LIMITS["seen_without_rim"])),
    ),
    ("colours", (("lit", ">", LIMITS["lit"]), ("one_channel", "<", LIMITS["one_channel"]))),
    ("greyscale", (("lit", ">", LIMITS["lit"]), ("saturation", "<", LIMITS["saturation"]))),
    ("greyscale", (("lit", ">", LIMITS["lit"]), ("tints", "<", LIMITS["tints"]))),
    ("normalised", (("lit", ">", LIMITS["lit"]), ("flatness", ">", LIMITS["flatness"]))),
    ("channels", (("lit", ">", LIMITS["lit"]), ("swapped", ">", 0.0))),
)  # fmt: skip


def verdict_of(scores: Tensor) -> Tensor:
    """Returns [B] int32, places in VERDICTS; scores [B, len(SCORES)]."""
    conditions = sorted({condition for _, group in _RULES for condition in group})
    chosen = np.array([SCORES.index(name) for name, _, _ in conditions], np.int32)
    signs = np.array([1 if side == ">" else -1 for _, side, _ in conditions], np.float32)
    limits = signs * np.array([limit for _, _, limit in conditions], np.float32)
    holds = number(picked(scores, chosen) * signs > limits)
    # Of a rule as many must hold as it has; the rank of its verdict is the higher the earlier it is asked.
    needed = np.array([[condition in group for _, group in _RULES] for condition in conditions], np.float32)
    ranks = np.array([len(VERDICTS) - VERDICTS.index(name) for name, _ in _RULES], np.float32)
    applies = number(ops.matmul(holds, needed) > needed.sum(axis=0) - 0.5)
    first = ops.max(applies * ranks, axis=-1)
    return ops.cast(ops.where(first > 0, len(VERDICTS) - first, 0.0), "int32")
