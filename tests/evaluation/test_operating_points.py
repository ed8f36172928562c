"""Thresholds chosen by brute force, and applied as stated."""

from __future__ import annotations

import numpy as np
import pytest

from dr_edge.calibration.operating_points import RULES, Rule, choose_threshold
from dr_edge.data import tasks
from dr_edge.evaluation import operating_points
from dr_edge.evaluation.operating_points import apply_threshold, questions
from dr_edge.evaluation.predictions import MISSING


def at(labels, scores, threshold):
    called = scores >= threshold
    return called[labels == 1].mean(), (~called)[labels == 0].mean()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_no_threshold_does_better(seed, rule):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 80)
    scores = np.round(rng.normal(size=80) + labels, 1)
    sensitivity, specificity = at(labels, scores, choose_threshold(labels, scores, rule))
    everywhere = [at(labels, scores, value) for value in [*np.unique(scores), scores.max() + 1]]
    if rule.kind == "youden":
        assert sensitivity + specificity == pytest.approx(max(a + b for a, b in everywhere))
    elif rule.kind == "sensitivity":
        assert sensitivity >= rule.target - 1e-9
        assert specificity == pytest.approx(max(b for a, b in everywhere if a >= rule.target - 1e-9))
    else:
        assert specificity >= 0.9 - 1e-9
        assert sensitivity == pytest.approx(max(a for a, b in everywhere if b >= 0.9 - 1e-9))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_separated_classes_are_cut_in_the_middle(rule):
    labels, scores = np.array([0, 0, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    assert choose_threshold(labels, scores, rule) == pytest.approx(0.5)


def test_one_class_gives_no_threshold_and_the_fixed_rule_needs_none():
    assert choose_threshold(np.ones(5), np.linspace(0, 1, 5), RULES["youden"]) is None
    assert choose_threshold(np.ones(5), np.linspace(0, 1, 5), operating_points.HALF) == 0.5
    with pytest.raises(ValueError, match="Known"):
        choose_threshold(np.ones(5), np.ones(5), Rule("x", "accuracy"))


def test_applied_numbers():
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 1])
    scores = np.array([0.9, 0.8, 0.2, 0.1, 0.3, 0.7, 0.2, 0.6])
    result = apply_threshold(labels, scores, np.arange(8), 0.6, draws=200)
    assert (result["true_positives"], result["false_positives"]) == (3, 1)
    assert (result["false_negatives"], result["true_negatives"]) == (1, 3)
    assert result["sensitivity"] == 0.75 and result["ppv"] == 0.75 and result["npv"] == 0.75
    assert result["referred"] == 0.5
    assert result["sensitivity_interval"][0] <= 0.75 <= result["sensitivity_interval"][1]


def test_nobody_called_positive_has_no_ppv():
    result = apply_threshold(np.array([0, 1]), np.array([0.1, 0.2]), np.arange(2), 0.9, draws=50)
    assert result["ppv"] is None and result["ppv_interval"] is None and result["npv"] == 0.5


def test_all_right_still_has_a_wide_interval():
    """Wilson's interval of 3 of 3 patients by hand: z = 1.96, low = n / (n + z^2)."""
    labels, scores = np.array([1, 1, 1, 0, 0, 1]), np.array([0.9, 0.8, 0.9, 0.1, 0.3, 0.9])
    result = apply_threshold(labels, scores, np.array(["a", "b", "c", "d", "e", "a"]), 0.5, draws=100)
    assert result["sensitivity"] == 1.0 and result["sensitivity_interval"] == pytest.approx(
        [3 / (3 + 1.959964**2), 1.0]
    )
    assert result["specificity_interval"] == pytest.approx([2 / (2 + 1.959964**2), 1.0])


PATIENTS = np.array(["p0", "p1", "p2"])


def test_questions_of_each_kind_of_task():
    (asked,) = questions(tasks.referable_dr(), np.array([0, 1]), np.array([[0.7, 0.3], [0.2, 0.8]]), PATIENTS[:2])
    assert asked.name == "referable" and asked.scores.tolist() == [0.3, 0.8] and asked.labels.tolist() == [0, 1]
    scores = np.array([[0.5, 0.3, 0.1, 0.1, 0.0], [0, 0, 1, 0, 0], [0.2] * 5])
    (asked,) = questions(tasks.dr_grade(), np.array([1, 2, 4]), scores, PATIENTS)
    assert asked.labels.tolist() == [0, 1, 1] and asked.scores == pytest.approx([0.2, 1.0, 0.6])
    task = tasks.diseases(labels=("glaucoma", "diabetic_retinopathy"))
    first, second = questions(task, np.array([[1, MISSING], [0, 1]]), np.array([[0.9, 0.8], [0.2, 0.4]]), PATIENTS[:2])
    assert first.name == "glaucoma" and first.labels.tolist() == [1, 0] and first.scores.tolist() == [0.9, 0.2]
    assert second.labels.tolist() == [1] and second.scores.tolist() == [0.4] and second.groups.tolist() == ["p1"]
