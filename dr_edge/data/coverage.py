"""Which classes the splits of the records hold: none without photographs can be learned or judged."""

from __future__ import annotations

from dr_edge.data import pipeline
from dr_edge.data.records_info import RecordsInfo
from dr_edge.data.tasks import Task


def check_training_classes(info: RecordsInfo, task: Task) -> None:
    """Raises ValueError where the training split lacks a class, or the presence or absence of a disease."""
    lacking = _lacking(info, "train", task)
    if lacking:
        elsewhere = [split for split in ("val", "test") if set(lacking) - set(_lacking(info, split, task))]
        where = f" ({' and '.join(elsewhere)} hold some)" if elsewhere else ""
        lower = ", with a smaller --val_fraction or --test_fraction" if elsewhere else ""
        raise ValueError(
            f"{info.directory} holds no training photograph of {', '.join(lacking)}{where}, which the task "
            f"{task.name!r} is to tell apart. Build the records again{lower} from photographs of every class, or "
            "choose a task without it."
        )


def cautions(info: RecordsInfo, split: str, task: Task) -> list[str]:
    """Returns a sentence where a split is empty, or lacks a class."""
    lacking = _lacking(info, split, task)
    if not pipeline.example_count(info, split, task):
        return [
            f"{info.directory} holds no {split} example for the task {task.name!r}: nothing can be judged there. "
            f"Build the records again with a larger --{split}_fraction."
        ]
    return (
        [f"The {split} split of {info.directory} holds no {', '.join(lacking)}: it cannot be judged there."]
        if lacking
        else []
    )


def kinds_not_stated(info: RecordsInfo) -> list[str]:
    """Returns a sentence where records that may hold any kind of photographs do not say which they hold."""
    if info.preprocess["method"] != "crop" or info.content.get("pictures"):
        return []
    return [
        f"{info.directory} is of an earlier release and does not say whether its photographs are in colour, greyscale "
        "or normalised: the model will answer each kind, and caution where it is not colour. Build the records again."
    ]


def check_not_empty(info: RecordsInfo, split: str, task: Task) -> None:
    """Raises ValueError where a split holds no example of the task."""
    if not pipeline.example_count(info, split, task):
        raise ValueError(cautions(info, split, task)[0])


def _lacking(info: RecordsInfo, split: str, task: Task) -> list[str]:
    """Returns the names of what has no example in a split."""
    if task.kind == "segmentation":
        stated = info.content["splits"].get(split, {})
        empty = stated.get("empty_masks", {})
        held = {name: count - empty.get(name, 0) for name, count in stated.get("masks", {}).items()}
        return [f"mask of {name!r}" for name in task.masks if held.get(name) == 0]
    counts = pipeline.class_counts(info, split, task)
    if task.kind == "classification":
        return [repr(name) for name, count in zip(task.class_names, counts, strict=True) if not count]
    return [
        f"{name!r} {state}"
        for name, (absent, present) in zip(task.class_names, counts, strict=True)
        for state, count in (("absent", absent), ("present", present))
        if not count
    ]
