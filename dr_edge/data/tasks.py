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

from dr_edge.data import positive as positive_lib

FROM_NAMES: tuple[int, ...] = (-1,)  # `Task.positive` where nobody says it
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
      positive: classification: indices of the classes that mean that the disease is there (one, or those from a grade on),
        () where no class does or none is known to; FROM_NAMES reads them from the class names. Of the other kinds (): each
        of their classes answers for itself.
      positive_assumed: nobody said which of two classes is the disease, and the names do not: the second is taken, as
        earlier releases did. Training refuses such a task.
      record_names: classification without a mapping: the names of the label's values in the records that it was made for,
        in the order of class_names; () where that is not known.
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
        """What to say to whoever reads the answers of a model whose positive class was assumed; else None."""
        if not self.positive_assumed:
            return None
        return positive_lib.assumed_words(self.class_names)

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


@dataclasses.dataclass(frozen=True)
class LabelTask:
    """A classification whose classes are the values of one label, as the records name them; see `label`."""

    name: str
    class_names: tuple[str, ...] | None = None
    positive: tuple[str, ...] | None = None
    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def resolve(self, names: Sequence[str], stated: Sequence[str] = ()) -> Task:
        """Returns the task for records whose label holds the classes `names`.

        Args:
          names: of the label's values, in their order.
          stated: those of them that the records state to be the disease; () where they state none.

        Raises:
          ValueError: a name that is none of theirs, or nobody says which classes are the disease; says what to add.
        """
        names = tuple(names)
        self._check_names(names)
        shown = tuple(self.rename.get(name, name) for name in names)
        if len(set(shown)) < len(shown):
            raise ValueError(f"tasks.label.rename gives two classes one name: {list(names)} would be called {list(shown)}.")
        positive = self._positive(names, shown, stated)
        return Task(self.name, "classification", shown, labels=(self.name,), positive=positive, record_names=names)

    def _check_names(self, names: tuple[str, ...]) -> None:
        given = names if self.class_names is None else self.class_names
        unknown = [name for name in given if name not in names] + [name for name in self.rename if name not in names]
        if unknown:
            new = {names[0]: "its new name"}
            raise ValueError(
                f"The label {self.name!r} holds the classes {list(names)}, and no {', '.join(map(repr, unknown))}. Leave out "
                f"tasks.label.class_names: the names come from the records. To call them otherwise, say which is which: "
                f'--gin_param="tasks.label.rename = {new!r}"'
            )
        if sorted(given) == sorted(names) and given != names:
            raise ValueError(
                f"tasks.label.class_names = {list(given)}, but the records hold them in the order {list(names)}: each would be "
                f"called by another's name. Leave tasks.label.class_names out."
            )
        if given != names:
            left = [name for name in names if name not in given]
            raise ValueError(
                f"tasks.label.class_names = {list(given)} leaves out {left} of the label {self.name!r}. Leave it out: the names "
                f"come from the records. To train without a class, build records without its photographs."
            )

    def _positive(self, names: tuple[str, ...], shown: tuple[str, ...], stated: Sequence[str]) -> tuple[int, ...]:
        if self.positive is not None:
            wanted = [names[shown.index(name)] if name in shown else name for name in self.positive]
            try:
                return positive_lib.indices(names, wanted)
            except ValueError as err:
                raise ValueError(f"tasks.label.positive = {self.positive!r}: {err}.") from err
        if stated:
            return positive_lib.indices(names, stated)
        read = {found for found in (positive_lib.guess(names, self.name), positive_lib.guess(shown, self.name)) if found}
        if len(read) == 1:
            return read.pop()
        flag = "tasks.label.positive = "
        raise ValueError(
            f"Which class is the disease? The label {self.name!r} holds {', '.join(map(repr, shown))}, and the names do not say "
            f'it safely. Name the class, or the classes, for example --gin_param="{flag}({shown[0]!r},)"; where no class is a '
            f'disease: --gin_param="{flag}()". It decides which eyes are referred.'
        )


@gin.configurable(module="tasks")
def dr_grade() -> Task:
    """Five ICDR grades, 0-4; referable from 2 on."""
    positive = tuple(range(positive_lib.REFERABLE_FROM, len(GRADE_NAMES)))
    return Task("dr_grade", "classification", GRADE_NAMES, labels=("dr_grade",), ordered=True, positive=positive)


@gin.configurable(module="tasks")
def referable_dr() -> Task:
    """Non-referable (grade 0-1) against referable (grade >= 2) diabetic retinopathy; macular oedema does not count."""
    names = ("non-referable", "referable")
    return Task("referable_dr", "classification", names, labels=("dr_grade",), mapping=(0, 0, 1, 1, 1), positive=(1,))


@gin.configurable(module="tasks")
def any_dr() -> Task:
    """No diabetic retinopathy (grade 0) against any (grade >= 1)."""
    return Task("any_dr", "classification", ("no DR", "DR"), labels=("dr_grade",), mapping=(0, 1, 1, 1, 1), positive=(1,))


@gin.configurable(module="tasks")
def messidor_any_dr() -> Task:
    """No (0) against any (1-3) diabetic retinopathy on Messidor's own scale."""
    names = ("no DR", "DR")
    return Task("messidor_any_dr", "classification", names, labels=("messidor_grade",), mapping=(0, 1, 1, 1), positive=(1,))


@gin.configurable(module="tasks")
def label(
    name: str = gin.REQUIRED,
    class_names: Sequence[str] | None = None,
    positive: Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
) -> LabelTask:
    """One class per value of the label `name`, called as the records call them (for folder-per-class data: name = "class").

    Args:
      name: of the label in the records.
      class_names: None; or the names of the records, in their order: others are refused.
      positive: the classes that mean that the disease is there; () where none does, so that there is no operating point. None:
        as the records state it, else as the names say ("normal", "no_dr", "non-referable", "0": the others are the disease);
        training asks where they do not.
      rename: {name in the records: how to call it}.

    Raises:
      ValueError: `rename` is no mapping of texts.
    """
    if rename is not None and not (isinstance(rename, Mapping) and all(isinstance(new, str) for new in rename.values())):
        raise ValueError(f"tasks.label.rename takes {{name in the records: new name}}. Received: {rename!r}.")
    new = {str(old): called for old, called in (rename or {}).items()}
    return LabelTask(name, _texts(class_names), _texts(positive), new)


def _texts(names: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """Returns names as texts; one alone may come without brackets, a number of a numbered class as it is."""
    if names is None:
        return None
    return tuple(str(name) for name in ((names,) if isinstance(names, (str, int)) else names))


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
