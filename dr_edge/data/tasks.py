"""Tasks: what a model is asked, stated as a relabelling of what the records hold.

Records keep the original labels (the DR grade 0-4 stays 0-4 on disk); a Task says which labels or masks to read and how
they become classes, so that one set of records serves any, referable and five-grade DR.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import gin
import numpy as np
import scipy.special

KINDS = ("classification", "multilabel", "segmentation")
GRADE_NAMES = ("no DR", "mild NPDR", "moderate NPDR", "severe NPDR", "PDR")  # ICDR scale, Wilkinson et al. 2003


@dataclasses.dataclass(frozen=True)
class Task:
    """What a model is asked.

    Attributes:
      name: for example "referable_dr".
      kind: "classification" (one of class_names), "multilabel" (each of class_names: yes or no) or
        "segmentation" (one mask per class name).
      labels: label names to read from the records: one for classification, one per class for multilabel, where a value of
        1 or more (a grade) means present.
      class_names: in the order of the model's outputs.
      mapping: classification: class of each label value, -1 to leave those images out; () keeps the values as they are.
      masks: segmentation: mask names to read, in the order of class_names.
      ordered: the classes are grades, so that quadratic weighted kappa has a meaning.
      centres: names of points to read beside the label, for example "fovea"; augmentation moves them with the image.
        A segmentation with a class name for each of them, after those of the masks, is asked for heat maps of them.
    """

    name: str
    kind: str
    class_names: tuple[str, ...]
    labels: tuple[str, ...] = ()
    mapping: tuple[int, ...] = ()
    masks: tuple[str, ...] = ()
    ordered: bool = False
    centres: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("class_names", "labels", "mapping", "masks", "centres"):
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

    @property
    def draws_centres(self) -> bool:
        """Says whether the last outputs are heat maps of `centres`."""
        return self.kind == "segmentation" and len(self.class_names) > len(self.masks)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Returns softmax (classification) or sigmoid (multilabel, segmentation) of logits [..., C], float64."""
        logits = np.asarray(logits, np.float64)
        return scipy.special.softmax(logits, axis=-1) if self.kind == "classification" else scipy.special.expit(logits)

    def to_json(self) -> dict[str, Any]:
        """Returns the task as JSON-serialisable values, for run.json and metadata.json."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Task:
        """Returns the task that `to_json` wrote."""
        return cls(**content)


@gin.configurable(module="tasks")
def dr_grade() -> Task:
    """Five ICDR grades, 0-4."""
    return Task("dr_grade", "classification", GRADE_NAMES, labels=("dr_grade",), ordered=True)


@gin.configurable(module="tasks")
def referable_dr() -> Task:
    """Non-referable (grade 0-1) against referable (grade >= 2) diabetic retinopathy; macular oedema does not count."""
    names = ("non-referable", "referable")
    return Task("referable_dr", "classification", names, labels=("dr_grade",), mapping=(0, 0, 1, 1, 1))


@gin.configurable(module="tasks")
def any_dr() -> Task:
    """No diabetic retinopathy (grade 0) against any (grade >= 1)."""
    return Task("any_dr", "classification", ("no DR", "DR"), labels=("dr_grade",), mapping=(0, 1, 1, 1, 1))


@gin.configurable(module="tasks")
def messidor_any_dr() -> Task:
    """No (0) against any (1-3) diabetic retinopathy on Messidor's own scale."""
    return Task("messidor_any_dr", "classification", ("no DR", "DR"), labels=("messidor_grade",), mapping=(0, 1, 1, 1))


@gin.configurable(module="tasks")
def label(name: str = gin.REQUIRED, class_names: Sequence[str] = gin.REQUIRED) -> Task:
    """One class per value of the label `name`, as the records hold it (for folder-per-class data: name = "class")."""
    return Task(name, "classification", tuple(class_names), labels=(name,))


@gin.configurable(module="tasks")
def diseases(
    labels: Sequence[str] = ("glaucoma", "diabetic_retinopathy"), class_names: Sequence[str] | None = None
) -> Task:
    """Several diseases, each present or absent; an image may lack some of the labels.

    Args:
      labels: of the records; a value of 1 or more means present, so that "dr_grade" asks for any DR.
      class_names: how to call them; None: as the labels.
    """
    return Task("diseases", "multilabel", tuple(class_names or labels), labels=tuple(labels))


@gin.configurable(module="tasks")
def optic_disc_and_cup() -> Task:
    """Masks of the optic disc and the optic cup; the disc's includes the cup's."""
    return Task(
        "optic_disc_and_cup", "segmentation", ("optic disc", "optic cup"), masks=("optic_disc", "optic_cup")
    )


@gin.configurable(module="tasks")
def optic_disc_cup_and_fovea() -> Task:
    """Masks of disc and cup, and a heat map of the fovea's centre."""
    return Task(
        "optic_disc_cup_and_fovea",
        "segmentation",
        ("optic disc", "optic cup", "fovea"),
        masks=("optic_disc", "optic_cup"),
        centres=("fovea",),
    )
