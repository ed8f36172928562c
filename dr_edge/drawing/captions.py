"""What a model says of an image, in words, and which classes the heat maps then explain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dr_edge.data.tasks import Task
from dr_edge.drawing import overlay
from dr_edge.drawing.overlay import Caption, percent

PRESENT = 0.5
NO_LABEL = "no label given"


def explained_classes(task: Task, probabilities: np.ndarray, diseases: Sequence[str] = ()) -> list[np.ndarray]:
    """Returns what is explained of each image, one picture after another.

    Args:
      task: classification or multilabel.
      probabilities: [B, C].
      diseases: of a multilabel task, names among its class names; () means all.

    Returns:
      For classification one array [B] int, the most probable class of each image; for multilabel one array
      [B] for each disease, because each output answers a question of its own.
    """
    if task.kind == "classification":
        return [np.asarray(probabilities).argmax(axis=-1)]
    indices = [task.class_names.index(name) for name in diseases or task.class_names]
    return [np.full(len(probabilities), index) for index in indices]


def heat_is_shown(task: Task, probabilities: np.ndarray, index: int) -> bool:
    """Says whether a heat map is shown that nobody asked for: where it speaks for a disease that was found.

    What spoke against a disease lies over half of a healthy eye and points to nothing. Of a task that knows no disease
    every map is shown.

    Args:
      task: classification or multilabel.
      probabilities: [C] of one image.
      index: the class or disease that is explained.
    """
    if task.kind == "multilabel":
        return bool(probabilities[index] >= PRESENT)
    return not task.positive or index in task.positive


def caption(
    task: Task,
    probabilities: np.ndarray,
    label: np.ndarray | int | None,
    name: str,
    method: str,
    index: int | None = None,
) -> Caption:
    """Words for one image of a classification or multilabel task.

    Args:
      task: gives the names.
      probabilities: [C] of this image.
      label: class index, or [L] int (1 present, 0 absent, -1 not known), or None.
      name: the image's id.
      method: title of the heat map method.
      index: the class or disease that is explained; None: the most probable.
    """
    index = int(np.argmax(probabilities)) if index is None else index
    answer, confidence = task.class_names[index], float(probabilities[index])
    title = f"{method} of {answer}"
    if task.kind == "classification":
        if label is None or int(label) < 0:
            return Caption(title, answer, confidence, NO_LABEL, None, name)
        return Caption(title, answer, confidence, f"labelled {task.class_names[int(label)]}", int(label) == index, name)
    title = f"{title}, probability {percent(confidence)}"  # the answer's may be of its absence
    present = confidence >= PRESENT
    said, shown = (answer, confidence) if present else (f"no {answer}", 1 - confidence)
    state = -1 if label is None else int(np.asarray(label)[index])
    if state < 0:
        return Caption(title, said, shown, f"{NO_LABEL} for {answer}", None, name, explains=answer)
    detail = f"labelled {'' if state else 'no '}{answer}"
    return Caption(title, said, shown, detail, bool(state) == present, name, explains=answer)


def mask_caption(task: Task, probabilities: np.ndarray, label: np.ndarray | None, name: str) -> Caption:
    """Words for one image of a segmentation task.

    Args:
      task: gives the names.
      probabilities: [S, S, M].
      label: [S, S, M] of 0 and 1 (-1: no such mask), or None.
      name: the image's id.
    """
    drawn = task.class_names[: len(task.masks)]  # behind them are heat maps of points
    title = overlay.found_title(task.class_names, task.class_names[len(task.masks) :])
    found = probabilities >= 0.5
    missing = [name for index, name in enumerate(drawn) if not found[..., index].any()]
    answer = f"{', '.join(missing)} not found" if missing else " and ".join(task.class_names)
    scores = []
    if label is not None:
        for index, class_name in enumerate(drawn):
            truth = np.asarray(label)[..., index] > 0.5
            size = truth.sum() + found[..., index].sum()
            if np.asarray(label)[..., index].min() >= 0 and size:
                scores.append(f"{class_name} {2 * (truth & found[..., index]).sum() / size:.2f}")
    return Caption(title, answer, None, f"Dice: {', '.join(scores)}" if scores else NO_LABEL, None, name)
