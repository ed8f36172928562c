"""Coarse pictures, made so that many pairs lie at the threshold of copies."""

from __future__ import annotations

import cv2
import numpy as np

from tfrecord_tools.copy_basis import PLACES, POSITIONS
from tfrecord_tools.duplicates import COARSE_BYTES, COARSE_CORRELATION, COARSE_SIDE


def strangers(count: int, rng: np.random.Generator) -> np.ndarray:
    """[N, 1024] float: patterns as fine as vessels are, in a disc, of length 1; correlations as of real strangers."""
    offset = np.arange(COARSE_SIDE) - (COARSE_SIDE - 1) / 2
    disc = offset[:, None] ** 2 + offset[None, :] ** 2 < (0.9 * COARSE_SIDE / 2) ** 2
    drawn = [cv2.GaussianBlur(rng.normal(size=disc.shape), (0, 0), 1.0) * disc for _ in range(count)]
    pictures = np.reshape(drawn, (count, COARSE_BYTES))
    return pictures / np.linalg.norm(pictures, axis=1, keepdims=True)


def mixed(pictures: np.ndarray, others: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Pictures of that correlation with `pictures`; the rest of each is of `others`."""
    apart = others - (others * pictures).sum(axis=1, keepdims=True) * pictures
    apart /= np.linalg.norm(apart, axis=1, keepdims=True)
    return correlation[:, None] * pictures + np.sqrt(1 - correlation[:, None] ** 2) * apart


def stored(pictures: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(550 * pictures), -127, 127).astype(np.int8)


def crowd(kind: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Coarse pictures, some empty, and which of their fine pictures are of something else.

    clustered: each resembles one of few pictures with 0.5 to 0.8, so that many pairs lie at the threshold. A tenth are
    copies of another one, in any position, with 0.65 to 1.
    """
    rng = np.random.default_rng(seed)
    pictures = strangers(count, rng)
    if kind == "clustered":
        centres = strangers(max(1, count // 50), rng)[rng.integers(0, max(1, count // 50), count)]
        pictures = mixed(centres, pictures, rng.uniform(0.5, 0.8, count))
    copies = rng.permutation(count)[: count // 10]
    of = rng.integers(0, count, len(copies))
    made = mixed(pictures[of], strangers(len(copies), rng), rng.uniform(0.65, 1.0, len(copies)))
    pictures[copies] = np.take_along_axis(made, PLACES[rng.integers(0, POSITIONS, len(copies))], axis=1)
    coarse = stored(pictures)
    coarse[rng.random(count) < 0.02] = 0
    return coarse, rng.random(count) < 0.1


def at_the_limit(count: int, rng: np.random.Generator) -> np.ndarray:
    """[2 * count, 1024] int8: pairs in all positions, every other one just at the threshold, the rest just below."""
    one = stored(strangers(count, rng))
    others = stored(mixed(one / np.linalg.norm(one, axis=1, keepdims=True), strangers(count, rng), np.full(count, 0.7)))
    for index, (first, second) in enumerate(zip(one.astype(int), others.astype(int), strict=True)):
        nearest = {True: (2.0, second), False: (2.0, second)}
        for pixel in rng.permutation(np.flatnonzero(np.abs(first) < 60))[:200]:
            apart = correlation(first, second) - COARSE_CORRELATION
            nearest[apart >= 0] = min(nearest[apart >= 0], (abs(apart), second.copy()), key=lambda found: found[0])
            second[pixel] = np.clip(second[pixel] - np.sign(apart) * (1 if first[pixel] > 0 else -1), -127, 127)
        others[index] = nearest[index % 2 == 0][1]
    places = PLACES[np.arange(count) // 2 % POSITIONS]
    return np.concatenate([one, np.take_along_axis(others, places, axis=1)])


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / np.sqrt(float(first @ first) * float(second @ second)))
