"""The verdict of a bundle is that of the exported model, and never contradicts the evaluation of its run in silence."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest

from dr_edge.data import tasks
from dr_edge.evaluation.report import environment
from dr_edge.verdict import BETTER, NOT_EVALUATED, NOT_TOLD, WORSE
from export.parity.baseline import verdict_of
from export.parity.measure import Reference
from export.photographs import StoredPhotographs

N = 80
LABELS = np.arange(N) % 2
GROUPS = np.array([f"p{index // 2}" for index in range(0, 2 * N, 2)])
AT_RANDOM = np.random.default_rng(0).uniform(size=N)


def of_scores(before: np.ndarray, exported: np.ndarray, unseen: bool = True) -> dict:
    """The verdict where the network gave `before` [N] and its exported graph `exported`."""
    pipeline, outputs = (np.stack([1 - scores, scores], axis=1) for scores in (before, exported))
    photographs = create_autospec(StoredPhotographs, instance=True)
    ref = Reference(photographs, GROUPS, GROUPS, LABELS, pipeline, {"probabilities": outputs.astype(np.float32)})
    return verdict_of(tasks.referable_dr(), ref, "test", unseen, True, None)


@pytest.mark.parametrize(("exported", "status"), [(AT_RANDOM, NOT_TOLD), (1.0 - LABELS, WORSE)])
def test_where_evaluate_says_otherwise_the_text_says_both(exported, status):
    found = of_scores(LABELS.astype(float), exported)
    assert found["status"] == status and "AUC 1.00" not in found["caution"]
    own, other = found["text"].split(" The network before the export, on the normalised images of the records: ")
    assert own.startswith(found["title"]) and own.endswith(
        "That is the exported model, which gets the photographs as stored."
    )
    assert other.startswith("Better than guessing: AUC 1.00") and found["before_export"].endswith(other)


def test_where_both_agree_nothing_is_added():
    good = of_scores(LABELS.astype(float), 0.5 + 0.4 * (LABELS - 0.5))
    assert good["status"] == BETTER and "before the export" not in good["text"]
    seen = of_scores(LABELS.astype(float), LABELS.astype(float), unseen=False)
    assert seen["status"] == NOT_EVALUATED and "before the export" not in seen["text"]


def test_masks_are_judged_on_both_sides():
    """The exported graph finds no cup: the network did."""
    task, side = tasks.optic_disc_and_cup(), 16
    truth = np.zeros((N, side, side, 2), np.int8)
    for index in range(N):
        top = 1 + index % 4
        truth[index, top : top + 10, 3:13, 0] = 1
        truth[index, top + 2 : top + 5 + index % 4, 5:11, 1] = 1
    pipeline, exported = truth.astype(np.float32), truth.astype(np.float32)
    exported[..., 1] = 0.0
    photographs = create_autospec(StoredPhotographs, instance=True)
    found = verdict_of(
        task, Reference(photographs, GROUPS, GROUPS, truth, pipeline, {"masks": exported}), "test", True, True, None
    )
    assert found["status"] == WORSE and found["baseline"] == "a constant answer"
    assert [part["status"] for part in found["parts"]] == [NOT_TOLD, BETTER, WORSE]
    assert (
        "before the export" in found["text"]
        and "Better than a constant answer: vertical cup-to-disc ratio" in found["text"]
    )
    template = environment(Path(".")).from_string(
        '{% from "base.html.j2" import verdict_box with context %}{{ verdict_box(verdict) }}'
    )
    shown = template.render(verdict=found)  # a list of the parts, and under it in one sentence what is on both sides
    assert (
        shown.count("before the export") == 1 and "Better than a constant answer: vertical cup-to-disc ratio" in shown
    )
    agreed = {key: value for key, value in found.items() if key != "before_export"}
    assert "before the export" not in template.render(verdict=agreed)
