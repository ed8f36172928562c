"""Tasks by name: what a model is asked, stated as a relabelling of what the records hold.

Records keep the original labels (the DR grade 0-4 stays 0-4 on disk); a Task says which labels or masks to read and how
they become classes, so that one set of records serves any, referable and five-grade DR.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gin

from dr_edge.data import positive as positive_lib
from dr_edge.data.label_task import LabelTask as LabelTask
from dr_edge.data.task import Task as Task

GRADE_NAMES = ("no DR", "mild NPDR", "moderate NPDR", "severe NPDR", "PDR")  # ICDR scale, Wilkinson et al. 2003


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
    return Task(
        "any_dr", "classification", ("no DR", "DR"), labels=("dr_grade",), mapping=(0, 1, 1, 1, 1), positive=(1,)
    )


@gin.configurable(module="tasks")
def messidor_any_dr() -> Task:
    """No (0) against any (1-3) diabetic retinopathy on Messidor's own scale."""
    names = ("no DR", "DR")
    return Task(
        "messidor_any_dr", "classification", names, labels=("messidor_grade",), mapping=(0, 1, 1, 1), positive=(1,)
    )


@gin.configurable(module="tasks")
def label(
    name: str = gin.REQUIRED,
    class_names: str | int | Sequence[str | int] | None = None,
    positive: str | int | Sequence[str | int] | None = None,
    rename: Mapping[str, str] | None = None,
) -> LabelTask:
    """One class per value of the label `name`, called as in the records (for folder-per-class data: name = "class").

    Args:
      name: of the label in the records.
      class_names: None; or the names of the records, in their order: others are refused.
      positive: the classes that mean that the disease is there; () where none does, so that there is no operating
        point. None: as the records state it, else as the names say ("normal", "no_dr", "non-referable", "0": the
        others are the disease); training asks where they do not.
      rename: {name in the records: how to call it}.

    Raises:
      ValueError: `rename` is no mapping of texts.
    """
    if rename is not None and not (
        isinstance(rename, Mapping) and all(isinstance(new, str) for new in rename.values())
    ):
        raise ValueError(f"tasks.label.rename takes {{name in the records: new name}}. Received: {rename!r}.")
    new = {str(old): called for old, called in (rename or {}).items()}
    return LabelTask(name, _texts(class_names), _texts(positive), new)


def _texts(names: str | int | Sequence[str | int] | None) -> tuple[str, ...] | None:
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
      labels: of the records; present are the values that mean the disease, of numbers and grades those from 1 on, so
        that "dr_grade" asks for any DR.
      class_names: how to call them; None: as the labels.
    """
    return Task("diseases", "multilabel", tuple(class_names or labels), labels=tuple(labels))


@gin.configurable(module="tasks")
def optic_disc_and_cup() -> Task:
    """Masks of the optic disc and the optic cup; the disc's includes the cup's."""
    return Task("optic_disc_and_cup", "segmentation", ("optic disc", "optic cup"), masks=("optic_disc", "optic_cup"))


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
