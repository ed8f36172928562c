"""The same mask for every photograph: what a segmentation must do better than.

The mask is the mean of the labelled masks of the very photographs that are judged, cut where it overlaps them best. So it
knows more than any constant that was chosen on training photographs, and what beats it beats those, too; and it is there
where the training records are gone.
"""

from __future__ import annotations

import numpy as np

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5)  # of the mean mask; where structures move about, no pixel is inside in half of them


class ConstantMasks:
    """Collects labelled masks, a bit per pixel: 400 photographs of 512 px and two structures are 26 MB."""

    def __init__(self) -> None:
        self._packed: list[list[np.ndarray | None]] = []  # per photograph and mask; None where it has no such mask
        self._shape: tuple[int, int] = (0, 0)

    def add(self, truth: np.ndarray) -> None:
        """Adds [B, S, S, M] of 0 and 1; -1 everywhere where a photograph has no such mask."""
        self._shape = truth.shape[1:3]
        for masks in truth:
            rows = np.moveaxis(masks, -1, 0).reshape(masks.shape[-1], -1)
            self._packed.append([None if row.min() < 0 else np.packbits(row > 0.5) for row in rows])

    def dice(self) -> np.ndarray:
        """Returns the Dice coefficient of the constant mask with each labelled one, [N, M] float64; NaN where a photograph
        has no such mask or an empty one.
        """
        names = len(self._packed[0]) if self._packed else 0
        return np.stack([self._of_one(index) for index in range(names)], axis=1) if names else np.empty((0, 0))

    def _of_one(self, index: int) -> np.ndarray:
        pixels = self._shape[0] * self._shape[1]
        known = [place for place, row in enumerate(self._packed) if row[index] is not None]
        mean = np.zeros(pixels)
        for place in known:
            mean += self._unpacked(place, index, pixels)
        mean /= max(len(known), 1)
        constants = np.stack([mean >= level for level in LEVELS]).astype(np.float32)  # [L, P]
        found = np.full((len(LEVELS), len(self._packed)), np.nan)
        for place in known:
            truth = self._unpacked(place, index, pixels).astype(np.float32)
            if truth.any():
                found[:, place] = 2 * (constants @ truth) / (constants.sum(axis=1) + truth.sum())
        filled = np.isfinite(found[0])
        return found[int(np.argmax(found[:, filled].mean(axis=1)))] if filled.any() else found[0]

    def _unpacked(self, place: int, index: int, pixels: int) -> np.ndarray:
        packed = self._packed[place][index]
        if packed is None:
            raise ValueError("A photograph without this mask has no pixels of it.")
        return np.unpackbits(packed, count=pixels)
