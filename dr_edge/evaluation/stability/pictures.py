"""The worst changes side by side: the photograph as it is, the changed one, and what was said of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from dr_edge.evaluation.gallery import SIDE, data_url
from dr_edge.evaluation.stability.measure import Measured, Row, Subject
from dr_edge.evaluation.stability.said import in_words
from dr_edge.fundus.photograph import decode_photograph
from dr_edge.perturbations.catalogue import PERTURBATIONS
from dr_edge.prediction.bundle import Bundle


@dataclasses.dataclass(frozen=True)
class Pair:
    """One photograph and a change of it.

    Attributes:
      name: of the photograph.
      title, imitates: of the perturbation.
      before, after: what was said, in a few words.
      flipped: another answer.
      photograph, changed: JPEG as data URLs, each fitted into a square.
    """

    name: str
    title: str
    imitates: str
    before: str
    after: str
    flipped: bool
    photograph: str
    changed: str


def worst_pairs(measured: Measured, subjects: Sequence[Subject], bundle: Bundle, count: int) -> list[Pair]:
    """Returns up to `count` pairs: of each perturbation its largest change, flips first, then by |dp|."""
    answered = [(row.flipped, row.difference, place, row) for place, row in enumerate(measured.rows) if row.after]
    harm = [row for *_, row in sorted(answered, key=lambda each: (each[0], each[1], -each[2]), reverse=True)]
    chosen: dict[str, Row] = {}
    for row in harm:
        chosen.setdefault(row.perturbation, row)
    by_name = {subject.name: subject for subject in subjects}
    return [_pair(row, by_name[row.subject], bundle) for row in list(chosen.values())[:count]]


def _pair(row: Row, subject: Subject, bundle: Bundle) -> Pair:
    if row.after is None:
        raise ValueError(f"{row.subject}, {row.perturbation}: a refusal says nothing that is compared.")
    perturbation = PERTURBATIONS[row.perturbation]
    image = decode_photograph(subject.load())
    changed = decode_photograph(perturbation(image, row.box, subject.seed))
    moved = int(np.abs(row.after.scores - row.before.scores).argmax())
    return Pair(
        row.subject,
        perturbation.title,
        perturbation.imitates,
        in_words(row.before, bundle, moved),
        in_words(row.after, bundle, moved),
        row.flipped,
        data_url(_fitted(image)),
        data_url(_fitted(changed)),
    )


def _fitted(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Returns [side, side, 3] uint8: the whole picture in the middle of a black square."""
    factor = side / max(image.shape[:2])
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    square = np.zeros((side, side, 3), np.uint8)
    top, left = (side - small.shape[0]) // 2, (side - small.shape[1]) // 2
    square[top : top + small.shape[0], left : left + small.shape[1]] = small
    return square
