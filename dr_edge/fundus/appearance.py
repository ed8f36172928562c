"""Says what kind of picture a fundus photograph is: colour, greyscale, normalised, or with channels in another order.

A model answers every picture of the right shape, also one whose channels are swapped or that was Graham-normalised
before, and its answer is then worth nothing. Both are measured on a 96-pixel copy of the crop, which takes a
millisecond. The weights are linear discriminants, fitted to 3,167 real photographs (EyePACS, IDRiD, APTOS, Drishti-GS1,
eye4class) against the same ones with their channels in another order, and against the same ones normalised in the ways
that are published (blur sigma 1/30 to 1/5 of the radius, whole or cut to 90 %, black or grey around, JPEG). Each limit
lies above the highest value of any of those photographs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import cv2
import numpy as np

from dr_edge.fundus.crop import brightest, disc_mask
from dr_edge.fundus.gradability import NotFundusError

PROBE_SIDE: Final = 96
COLOUR, GREYSCALE, NORMALISED = "colour", "greyscale", "normalised"
KINDS: Final = (COLOUR, GREYSCALE, NORMALISED)
ORDERS: Final = ("RBG", "GRB", "GBR", "BRG", "BGR")  # what the file holds where red, green and blue should be
RED_ALONE: Final = "red alone"  # a greyscale picture in the red channel of a file in colour
# What each preprocessing can be given. A second normalisation would spoil the first; what is cut out as it is may be
# anything.
TAKEN: Final[Mapping[str, tuple[str, ...]]] = {"graham": (COLOUR,), "grey": (COLOUR, GREYSCALE), "crop": KINDS}
_LEAST_SHARE = 0.1  # of the records: a kind that is rarer was not learned
_SAID: Final = {
    COLOUR: "colour photographs",
    GREYSCALE: "greyscale photographs",
    NORMALISED: "Graham-normalised photographs",
}

_LIT = 12  # grey levels of the brightest channel
_LEAST_LIT = 0.05  # of the disc: with less nothing can be said
_GREY = 0.03  # saturation; the lowest of a real colour photograph is 0.05, a haze without a retina
# Second to first principal component of the colours, squared: 0.0079 is the least of 1,057 real photographs, and of
# greyscale ones in a single tint (sepia, a warm scan) 0.001; each is next to nothing where no JPEG is between.
_ONE_TINT = 0.0036
_ONE_CHANNEL = 0.1  # mean green / mean red: 0.25 is the least of those photographs
_CLIPPED = 250
# Weights of log(mean + 30) and log(mean deviation + 1) of the channels that stand as red, green and blue.
_LEVEL: Final = (14.7, -1.9, -12.8)
_DETAIL: Final = (6.8, 2.7, -9.4)
_ORDER_LIMITS: Final = (1.4, 1.4, 1.2, 1.2, 1.2)  # by how much each of ORDERS must explain the colours better
_DARK_LIMITS: Final = (1.4, 3.3, 1.2, 3.3, 1.2)  # dark haze is green
_DARK = 65  # mean of the brightest channel
_BLUER = 8  # grey levels by which the mean blue lies above the mean red: 2.4 at most in a real photograph
# Of log(|median - 128| + 5) and of log(deviation + 1) of detail below 0.08 radii, between 0.08 and 0.25 radii, and
# above.
_FLAT: Final = (-7.7, 5.7, 9.3, -8.8)
_FLAT_OFFSET: Final = 10.8
_FLAT_LIMIT: Final = 1.5


def wanted(method: str, counts: Mapping[str, int] | None = None) -> tuple[str, ...]:
    """Returns the kinds of pictures that a model takes.

    Args:
      method: preprocessing of its records, 'graham', 'grey' or 'crop'.
      counts: how many of its records are of each kind; None where the records do not say (they are older).
    """
    taken = TAKEN[method]
    if method != "crop" or not counts:
        return taken
    total = sum(counts.values())
    return tuple(kind for kind in taken if counts.get(kind, 0) >= _LEAST_SHARE * total)


def check_kind(kind: str, pictures: tuple[str, ...]) -> None:
    """Raises NotFundusError where a picture's kind is none of `pictures`, with what to do."""
    if kind in pictures:
        return
    if kind == RED_ALONE:
        raise NotFundusError(
            "colours", "only its red channel holds a picture. Store the photograph as red, green, blue."
        )
    if kind in ORDERS:
        raise NotFundusError(
            "colours",
            f"they are no retina's: the channels look stored in the order {kind} (OpenCV writes and reads BGR), or "
            "inverted. Store the photograph as red, green, blue.",
        )
    if kind == NORMALISED and COLOUR in pictures:
        raise NotFundusError(
            "already normalised",
            "its local average is grey all over the disc, as Graham normalisation leaves it, and it would be normalised"
            " a second time. Use the original photograph; records of such pictures are built with --preprocess=crop.",
        )
    if kind == GREYSCALE:
        raise NotFundusError(
            "greyscale",
            f"it has no colour, and {_words(pictures)} are needed. Use the colour photograph; records of greyscale "
            "(red-free) photographs are built with --preprocess=grey.",
        )
    raise NotFundusError(
        "another kind", f"it is one of the {_SAID[kind]}; the model was trained on {_words(pictures)}. Use such a one."
    )


def _words(pictures: tuple[str, ...]) -> str:
    return " or ".join(_SAID[kind] for kind in pictures)


def appearance(probe: np.ndarray) -> str:
    """Returns the kind of a fundus photograph.

    Args:
      probe: [96, 96, 3] uint8 RGB, the crop around the field of view.

    Returns:
      One of KINDS; or, where the colours are no retina's, RED_ALONE or one of ORDERS: the order of channels that
      explains them best, also for inverted colours. What is too dark to tell counts as 'colour'.
    """
    if probe.shape != (PROBE_SIDE, PROBE_SIDE, 3) or probe.dtype != np.uint8:
        raise ValueError(
            f"appearance needs [{PROBE_SIDE}, {PROBE_SIDE}, 3] uint8. Received: {probe.shape} {probe.dtype}."
        )
    high, low = brightest(probe), 255 - brightest(255 - probe)
    lit = disc_mask(PROBE_SIDE, 0.9) & (high > _LIT)
    if lit.sum() < _LEAST_LIT * disc_mask(PROBE_SIDE).sum():
        return COLOUR
    levels = probe.astype(np.float32)
    near, far = (_local_average(levels, lit, sigma) for sigma in (0.08 * PROBE_SIDE / 2, 0.25 * PROBE_SIDE / 2))
    inside = levels[lit]
    saturation = (high - low)[lit] / high[lit].astype(np.float32)
    red, green, blue = mean = inside.mean(axis=0)
    if green < _ONE_CHANNEL * red and blue < _ONE_CHANNEL * red:
        return RED_ALONE
    if float(saturation.mean()) < _GREY or _tints(inside) < _ONE_TINT:
        return GREYSCALE  # normalised or not: without colour that cannot be told
    if _flatness(levels, near, far, lit & disc_mask(PROBE_SIDE, 0.65)) > _FLAT_LIMIT:
        return NORMALISED
    clear = lit & (high < _CLIPPED)
    detail = np.abs(levels - near)[clear].mean(axis=0) if clear.sum() >= 0.25 * lit.sum() else None
    return _order(mean, detail) or COLOUR


def _tints(pixels: np.ndarray) -> float:
    """Returns how colours [N, 3] differ beside light and dark: about (second / first principal deviation) squared."""
    spread = np.cov(pixels, rowvar=False)
    pairs = sum(spread[i, i] * spread[k, k] - spread[i, k] ** 2 for i, k in ((0, 1), (0, 2), (1, 2)))
    return float(pairs / max(np.trace(spread) ** 2, 1e-6))


def _local_average(levels: np.ndarray, lit: np.ndarray, sigma: float) -> np.ndarray:
    """Returns [96, 96, 3], the Gaussian average over what is lit."""
    weight = lit.astype(np.float32)
    sums = cv2.GaussianBlur(levels * weight[..., None], (0, 0), sigma)
    return sums / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)[..., None]


def _flatness_features(levels: np.ndarray, near: np.ndarray, far: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Returns [4]: how far the medians lie from 128, and log amounts of fine, middle and coarse detail."""
    median = np.median(levels[inside], axis=0)
    fine, middle, coarse = ((part[inside]).std(axis=0).mean() for part in (levels - near, near - far, far))
    return np.log([np.abs(median - 128).max() + 5, fine + 1, middle + 1, coarse + 1])


def _flatness(levels: np.ndarray, near: np.ndarray, far: np.ndarray, inside: np.ndarray) -> float:
    if inside.sum() < 50:
        return -np.inf
    return float(np.dot(_FLAT, _flatness_features(levels, near, far, inside)) + _FLAT_OFFSET)


def _order(mean: np.ndarray, detail: np.ndarray | None) -> str:
    """Returns the channel order that explains the colours far better than red, green, blue; "" where none does.

    Args:
      mean: [3] level of each channel.
      detail: [3] mean deviation of each channel from its local average; None where most is burnt out, and detail says
        nothing.
    """
    if mean[2] - mean[0] > _BLUER:  # inverted colours, which are pale
        return "BGR"
    features = np.stack([np.log(mean + 30), np.zeros(3) if detail is None else np.log(detail + 1)])
    weights = np.array([_LEVEL, _DETAIL])
    as_it_is = float((weights * features).sum())
    limits = _DARK_LIMITS if mean.max() < _DARK else _ORDER_LIMITS
    gains = []
    for order, limit in zip(ORDERS, limits, strict=True):
        put_right = features[:, [order.index(channel) for channel in "RGB"]]
        gains.append(float((weights * put_right).sum()) - as_it_is - limit)
    best = int(np.argmax(gains))
    return ORDERS[best] if gains[best] > 0 else ""
