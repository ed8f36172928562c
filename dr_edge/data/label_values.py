"""What the values of a label in certain records mean to a task.

Records number the values of a label in the order of their names, so that the same name may have another number in the
records of another hospital, and the disease any number. Everything that turns values into classes asks here.
"""

from __future__ import annotations

from collections.abc import Sequence

from dr_edge.data import positive
from dr_edge.data.grades import grade_of
from dr_edge.data.records_info import RecordsInfo
from dr_edge.data.tasks import Task


def stated(info: RecordsInfo, label: str) -> tuple[str, ...]:
    """Returns the classes of a label that dataset.json states to be the disease; () where it states none."""
    return tuple(info.content.get("positive", {}).get(label, ()))


def positive_values(info: RecordsInfo, label: str) -> tuple[int, ...]:
    """Returns a label's values that mean the disease, as the records state or name them; () where nobody says it."""
    names = info.content["labels"][label]
    found = stated(info, label)
    return positive.indices(names, found) if found else positive.guess(names, label)


def tables(info: RecordsInfo, task: Task) -> list[list[int]]:
    """Returns, for each label of a task, what each of its values in these records becomes.

    Returns:
      Of a classification the class, -1 for images that are left out; of a multilabel task 1 for present, 0 for absent;
      of a segmentation, which reads no label, [].

    Raises:
      ValueError: the values have other names than the task's, or nobody says which of them mean a disease.
    """
    if task.kind == "segmentation":
        return []
    if task.kind == "multilabel":
        return [presence(info, name) for name in task.labels]
    return [_classes(info, task)]


def check(info: RecordsInfo, task: Task) -> None:
    """Raises ValueError where the values of a task's labels in these records are not what the task takes them for."""
    tables(info, task)


def _classes(info: RecordsInfo, task: Task) -> list[int]:
    label = task.labels[0]
    held = list(info.content["labels"][label])
    if task.record_names:
        return _by_name(info, task, held)
    if label == positive.GRADE_LABEL:
        _check_grades(info, held)
    if task.mapping:
        _check_reach(info, task, held)
        return [task.mapping[value] if value < len(task.mapping) else -1 for value in range(len(held))]
    _check_order(info, task, held)
    return list(range(len(held)))


def _by_name(info: RecordsInfo, task: Task, held: Sequence[str]) -> list[int]:
    """Returns the class of each value by its name, whatever its number in these records."""
    for names in (task.record_names, task.class_names):  # as they were called, or as they are called now
        if set(held) <= set(names):
            return [names.index(name) for name in held]
    raise ValueError(
        f"{info.directory} holds the classes {list(held)} of the label {task.labels[0]!r}, the task {task.name!r} those"
        f" called {list(task.record_names)}: which is which? Build the records with the same names (the names of the "
        "folders, or of the column's values)."
    )


def _check_grades(info: RecordsInfo, held: Sequence[str]) -> None:
    """Raises ValueError where value n of "dr_grade" is not called grade n: names that a table sorted by alphabet."""
    wrong = [f"{index} is {name!r}" for index, name in enumerate(held) if grade_of(name) != index]
    if wrong:
        raise ValueError(
            f"{info.directory}: the values of {positive.GRADE_LABEL!r} are not the DR grades 0 to 4 in their order "
            f"({', '.join(wrong)}). Write the column as numbers (0 no DR, 1 mild, 2 moderate, 3 severe, 4 "
            "proliferative), and build the records again; or train on these names by tasks.label."
        )


def _check_reach(info: RecordsInfo, task: Task, held: Sequence[str]) -> None:
    """Raises ValueError where the records count images of a value that the mapping does not reach."""
    label = task.labels[0]
    for split in info.content["splits"].values():
        for value, count in split.get("classes", {}).get(label, {}).items():
            if int(value) >= len(task.mapping) and count:
                raise ValueError(
                    f"Task {task.name!r} has no class for label value {value} of {label!r}: {task.mapping}."
                )


def _check_order(info: RecordsInfo, task: Task, held: Sequence[str]) -> None:
    """Raises ValueError where a task that knows no names of its records would call a class by another's name."""
    names = list(task.class_names)
    if sorted(held) == sorted(names) and list(held) != names:
        raise ValueError(
            f"Task {task.name!r} names the classes {names}, {info.directory} holds them in the order {list(held)}: "
            "each would be called by another's name. Give them in that order."
        )
    ill = positive_values(info, task.labels[0])
    if len(held) == len(names) == 2 and ill and task.positive and not task.positive_assumed and ill != task.positive:
        raise ValueError(
            f"Task {task.name!r} calls {names[task.positive[0]]!r} what {info.directory} calls "
            f"{held[task.positive[0]]!r}: the healthy would be called ill, and the other way round. Train again; the "
            "names then come from the records."
        )


def presence(info: RecordsInfo, label: str) -> list[int]:
    """Returns 1 for each value of a label that means its disease: of numbers and grades those from 1 on."""
    names = list(info.content["labels"][label])
    ill: Sequence[int] = ()
    if label != positive.GRADE_LABEL or grade_of(names[0]) != 0:
        ill = positive.indices(names, stated(info, label)) if stated(info, label) else positive.guess(names)
    elif names:
        ill = range(1, len(names))
    if not ill and not (len(names) == 1 and (names[0] == "0" or positive.reads_healthy(names[0]))):
        raise ValueError(
            f"Which values of the label {label!r} mean that the disease is present? {info.directory} holds {names}, and"
            f" the names do not say it safely. Build the records again with --positive={label}={names[-1]} (or the "
            "right one)."
        )
    return [int(index in ill) for index in range(len(names))]
