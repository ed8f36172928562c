"""Whether what an app will say is better than guessing, or, of masks, than a constant answer."""

from __future__ import annotations

import os
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
        constant = of_validation(validation, task)
        exported, before = (
            _of_masks(task, ref.labels, masks, people, split, unseen, constant)
            for masks in (ref.outputs["masks"], ref.pipeline)
        )
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


def _of_masks(
    task: Task,
    labels: np.ndarray,
    masks: np.ndarray,
    people: verdict.People,
    split: str,
    unseen: bool,
    constant: Constant | None,
) -> dict[str, Any]:
    """Judges [N, S, S, M] float32 masks; those behind the task's own are heat maps of points."""
    count = len(task.masks)
    truth, found = labels[..., :count], masks[..., :count] >= glaucoma.THRESHOLD
    labelled = LabelledMasks()
    labelled.add(truth)
    constant_dice = labelled.dice(None if constant is None else constant.masks)
    dice, _ = overlap(truth, found)
    return verdict.of_masks(
        task.class_names[:count], ratios(task, truth > 0), ratios(task, found), dice, constant_dice, people, split,
        unseen,
        None if constant is None else constant.ratio,
    )  # fmt: skip
