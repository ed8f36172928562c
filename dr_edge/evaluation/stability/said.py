"""What of an answer is compared: its probabilities, and what it decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dr_edge.drawing.overlay import percent
from dr_edge.prediction.answer import PRESENT
from dr_edge.prediction.bundle import Bundle
from dr_edge.prediction.schema import ANSWERED, Answer


@dataclass(frozen=True)
class Said:
    """An answer as it is compared.

    Attributes:
      scores: [Q] probabilities: of the disease at the operating point; without one, of each class or disease.
      decided: what is decided: (positive,) at the operating point; (index of the likeliest class,) without one;
        of several diseases which are present.
    """

    scores: np.ndarray
    decided: tuple[bool | int, ...]


def said(answer: Answer) -> Said | None:
    """Returns what an answer says; None of a refusal.

    Raises:
      ValueError: the answer draws masks.
    """
    if answer.status != ANSWERED:
        return None
    if answer.decision is not None:
        return Said(np.array([answer.decision.probability]), (answer.decision.positive,))
    if answer.prediction is not None and answer.outputs is not None and answer.outputs.probabilities is not None:
        return Said(np.array(list(answer.outputs.probabilities.values())), (answer.prediction.index,))
    if answer.findings is not None:
        return Said(
            np.array([each.probability for each in answer.findings]), tuple(each.present for each in answer.findings)
        )
    raise ValueError("Masks move with the photograph: answers of a segmentation cannot be compared so.")


def in_words(answer: Said, bundle: Bundle, question: int) -> str:
    """Returns a few words: "referable · 72 %", or of one disease among several "no glaucoma · 31 % glaucoma".

    Args:
      answer: what was said.
      bundle: names.
      question: place of the disease among several; of other tasks it says nothing.
    """
    if bundle.kind == "multilabel":
        name, score = bundle.class_names[question], percent(float(answer.scores[question]))
        return f"{name} · {score}" if answer.decided[question] else f"no {name} · {score} {name}"
    if bundle.operating_point is not None and bundle.positive:
        side = bundle.positive_name if answer.decided[0] else bundle.negative_name
        score = percent(float(answer.scores[0]))
        return f"{side} · {score}" if answer.decided[0] else f"{side} · {score} {bundle.positive_name}"
    index = int(answer.decided[0])
    return f"{bundle.class_names[index]} · {percent(float(answer.scores[index]))}"


def meaning(bundle: Bundle) -> str:
    """Says in a sentence when an answer counts as another one, and of what |dp| is."""
    if bundle.kind == "multilabel":
        return (
            f"An answer flips where a disease is called present (from {PRESENT:.1f} on) and was not, or the other way "
            "round; |Δp| is of the disease whose probability moves most."
        )
    point = bundle.operating_point
    if point is None or not bundle.positive:
        why = "no class is stated to be a disease" if not bundle.positive else "there is no operating point"
        return (
            f"An answer flips where another class is the likeliest, since {why}; |Δp| is of the class whose "
            "probability moves most."
        )
    return (
        f"An answer flips where the probability of {bundle.positive_name} crosses the threshold of "
        f"{point.threshold:.3f} ({point.name}); |Δp| is by how much it moves."
    )
