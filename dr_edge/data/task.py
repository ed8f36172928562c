"""A task: what a model is asked, which labels or masks say it, and which of its classes mean the disease."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from dr_edge.data import positive as positive_lib

FROM_NAMES: tuple[int, ...] = (-1,)  # `Task.positive` where nobody says it
KINDS = ("classification", "multilabel", "segmentation")


@dataclasses.dataclass(frozen=True)
class Task:
    """What a model is asked.

    Attributes:
      name: for example "referable_dr".
      kind: "classification" (one of class_names), "multilabel" (each of class_names: yes or no) or
        "segmentation" (one mask per class name).
      labels: label names to read from the records: one for classification, one per class for multilabel, where those of
        its values that mean the disease are present (`label_values.presence`).
      class_names: in the order of the model's outputs.
      mapping: classification: class of each label value, -1 to leave those images out; () keeps the values as they are.
      masks: segmentation: mask names to read, in the order of class_names.
      ordered: the classes are grades, so that quadratic weighted kappa has a meaning.
      centres: names of points to read beside the label, for example "fovea"; augmentation moves them with the image.
        A segmentation with a class name for each of them, after those of the masks, is asked for heat maps of them.
      positive: classification: indices of the classes that mean that the disease is there (one, or those from a grade
        on), () where no class does or none is known to; FROM_NAMES reads them from the class names. Of the other kinds
        (): each of their classes answers for itself.
      positive_assumed: nobody said which of two classes is the disease, and the names do not: the second is taken, as
        earlier releases did. Training refuses such a task.
      record_names: classification without a mapping: the names of the label's values in the records that it was made
        for, in the order of class_names; () where that is not known.
    """

    name: str
    kind: str
    class_names: tuple[str, ...]
    labels: tuple[str, ...] = ()
    mapping: tuple[int, ...] = ()
    masks: tuple[str, ...] = ()
    ordered: bool = False
    centres: tuple[str, ...] = ()
    positive: tuple[int, ...] = FROM_NAMES
    positive_assumed: bool = False
    record_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("class_names", "labels", "mapping", "masks", "centres", "positive", "record_names"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if self.kind not in KINDS:
            raise ValueError(f"Task {self.name!r}: kind must be one of {KINDS}. Received: {self.kind!r}.")
        if self.kind == "classification" and (len(self.labels) != 1 or len(self.class_names) < 2):
            raise ValueError(f"Task {self.name!r}: classification needs one label and two or more classes.")
        if self.kind == "multilabel" and len(self.labels) != len(self.class_names):
            raise ValueError(f"Task {self.name!r}: multilabel needs one label per class name.")
        drawn = (len(self.masks), len(self.masks) + len(self.centres))
        if self.kind == "segmentation" and (len(self.class_names) not in drawn or not self.masks):
            raise ValueError(f"Task {self.name!r}: segmentation needs one mask (or centre) per class name.")
        if self.mapping and set(self.mapping) - {-1} != set(range(len(self.class_names))):
            raise ValueError(
                f"Task {self.name!r}: mapping {self.mapping} must reach each of {len(self.class_names)} classes."
            )
        if self.positive == FROM_NAMES:
            self._read_positive()
        known = range(len(self.class_names)) if self.kind == "classification" else ()
        if set(self.positive) - set(known) or (self.positive and len(set(self.positive)) == len(known)):
            raise ValueError(
                f"Task {self.name!r}: positive {self.positive} must be some, not all, of the classes "
                f"{list(self.class_names)}, and () unless it is a classification."
            )

    def _read_positive(self) -> None:
        """Takes the positive classes from the names; of two whose names do not say it the second, and says so."""
        found: tuple[int, ...] = ()
        if self.kind == "classification":
            found = positive_lib.guess(self.class_names, self._label)
        assumed = not found and self.kind == "classification" and len(self.class_names) == 2
        object.__setattr__(self, "positive", (1,) if assumed else found)
        object.__setattr__(self, "positive_assumed", assumed)

    @property
    def positive_name(self) -> str:
        """The positive classes in words, for example "glaucoma" or "grade >= 2"; "" where there are none."""
        return positive_lib.named(self.class_names, self.positive, self._label)

    @property
    def negative_name(self) -> str:
        """The other classes in words; "" where no class is positive."""
        others = [index for index in range(len(self.class_names)) if index not in self.positive]
        return positive_lib.named(self.class_names, others, self._label) if self.positive else ""

    @property
    def disease(self) -> str:
        """Which class is the disease, in a sentence: "Disease: glaucoma; healthy: normal"."""
        return positive_lib.sentence(self.class_names, self.positive, self._label)

    @property
    def _label(self) -> str:
        """The label whose values the classes are; "" where a mapping gave them names of their own."""
        return "" if self.mapping or not self.labels else self.labels[0]

    @property
    def unhealthy(self) -> tuple[int, ...]:
        """Indices of the classes that show a disease at all: of grades all but the first, else the positive ones."""
        return tuple(range(1, len(self.class_names))) if self.ordered else self.positive

    def is_positive(self, labels: np.ndarray) -> np.ndarray:
        """Says of labels [...] int which are of a positive class, [...] bool."""
        return np.isin(labels, self.positive)

    def positive_probability(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns the probability that the disease is there, [...], of those of the classes [..., C]."""
        return np.asarray(probabilities)[..., list(self.positive)].sum(axis=-1)

    @property
    def caution(self) -> str | None:
        """What to tell readers of a model's answers whose positive class was assumed or reads as healthy; else None."""
        if self.positive_assumed:
            return positive_lib.assumed_words(self.class_names)
        if self.kind != "classification":
            return None
        held = positive_lib.reversed_words(self.record_names, self.positive, self._label) if self.record_names else None
        return held or positive_lib.reversed_words(self.class_names, self.positive, self._label)

    @property
    def draws_centres(self) -> bool:
        """Says whether the last outputs are heat maps of `centres`."""
        return self.kind == "segmentation" and len(self.class_names) > len(self.masks)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Returns softmax (classification) or sigmoid (multilabel, segmentation) of logits [..., C], float64."""
        import scipy.special  # here: records are built without it

        logits = np.asarray(logits, np.float64)
        return scipy.special.softmax(logits, axis=-1) if self.kind == "classification" else scipy.special.expit(logits)

    def to_json(self) -> dict[str, Any]:
        """Returns the task as JSON-serialisable values, for run.json and metadata.json."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Task:
        """Returns the task that `to_json` wrote."""
        return cls(**content)
