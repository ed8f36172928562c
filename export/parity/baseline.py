"""Whether what an app will say is better than guessing, or, of masks, than a constant answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from dr_edge.data.tasks import Task
from dr_edge.evaluation import verdict
from dr_edge.evaluation.masks.constant import Constant, LabelledMasks, of_validation
from dr_edge.evaluation.masks.measures import overlap, ratios
from dr_edge.metrics import glaucoma
from export.parity.measure import Reference


def verdict_of(
    task: Task, ref: Reference, split: str, unseen: bool, patients_known: bool, validation: str | os.PathLike | None
) -> dict[str, Any]:
    """Returns the verdict on the deployable graph. Where `evaluate` says otherwise of the network, the text says both.

    Args:
      task: the run's task.
      ref: from `reference`.
      split, unseen: as in `evaluation.verdict.of_answers`.
      patients_known: as in `evaluation.verdict.People`.
      validation: the records that the run was trained on, on whose validation split the constant answer of masks is
        chosen; None where they are gone (see `masks.constant`).
    """
    people = verdict.People(ref.groups, patients_known)
    if task.kind == "segmentation":
        judge = _judge_of_masks(task, ref.labels, of_validation(validation, task), people, split, unseen)
        exported, before = (judge(masks) for masks in (ref.outputs["masks"], ref.pipeline))
    else:
        exported, before = (
            verdict.of_answers(task, ref.labels, probabilities.astype(np.float64), people, split, unseen)
            for probabilities in (ref.outputs["probabilities"], ref.pipeline)
        )
    if before["status"] == exported["status"]:
        return exported
    said = (
        "That is the exported model, which gets the photographs as stored. The network before the export, on the "
        "normalised images of the records:"
    )
    both = f"{said} {before['text']}"
    return exported | {"text": f"{exported['text']} {both}", "before_export": both}


def _judge_of_masks(
    task: Task, labels: np.ndarray, constant: Constant | None, people: verdict.People, split: str, unseen: bool
) -> Callable[[np.ndarray], dict[str, Any]]:
    """Returns what judges [N, S, S, M] float32 masks against `labels`; those behind the task's own are points' heat."""
    count = len(task.masks)
    truth = labels[..., :count]
    labelled = LabelledMasks()
    labelled.add(truth)
    constant_dice = labelled.dice(None if constant is None else constant.masks)
    true_ratios, constant_ratio = ratios(task, truth > 0), None if constant is None else constant.ratio

    def judge(masks: np.ndarray) -> dict[str, Any]:
        found = masks[..., :count] >= glaucoma.THRESHOLD
        dice, _ = overlap(truth, found)
        return verdict.of_masks(
            task.class_names[:count], true_ratios, ratios(task, found), dice, constant_dice, people, split, unseen,
            constant_ratio,
        )  # fmt: skip

    return judge
