"""dr_edge.metrics.classification against scikit-learn, formulas worked by hand, and bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as reference

from dr_edge.metrics import classification, multilabel

NAMES = ("non-referable", "referable")


def random_answers(count: int, classes: int, seed: int = 0, strength: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels [N] and probabilities [N, C] that know something of them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) + strength * np.eye(classes)[labels]
    probabilities = np.exp(logits)
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


def test_binary_equals_scikit_learn():
    labels, probabilities = random_answers(300, 2)
    result = classification.classification_metrics(labels, probabilities, NAMES)
    predicted = probabilities.argmax(axis=1)
    assert result["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    assert result["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
    assert result["auc"] == pytest.approx(reference.roc_auc_score(labels, probabilities[:, 1]))
    assert result["qwk"] == pytest.approx(reference.cohen_kappa_score(labels, predicted, weights="quadratic"))
    assert result["confusion"] == reference.confusion_matrix(labels, predicted).tolist()
    assert result["log_loss"] == pytest.approx(reference.log_loss(labels, probabilities))
    report = reference.classification_report(labels, predicted, target_names=NAMES, output_dict=True)
    for name in NAMES:
        assert result["per_class"][name]["precision"] == pytest.approx(report[name]["precision"])
        assert result["per_class"][name]["recall"] == pytest.approx(report[name]["recall"])
        assert result["per_class"][name]["f1"] == pytest.approx(report[name]["f1-score"])
        assert result["per_class"][name]["support"] == report[name]["support"]
    low, high = result["auc_interval"]
    assert low < result["auc"] < high
    assert result["auc_draws"] == 2000


def test_five_grades_equal_scikit_learn():
    labels, probabilities = random_answers(400, 5)
    names = tuple("01234")
    result = classification.classification_metrics(labels, probabilities, names, ordered=True)
    assert result["auc"] == pytest.approx(
        reference.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    )
    expected = reference.cohen_kappa_score(labels, probabilities.argmax(axis=1), weights="quadratic")
    assert result["qwk"] == pytest.approx(expected)
    assert result["macro_f1"] == pytest.approx(
        reference.f1_score(labels, probabilities.argmax(axis=1), average="macro")
    )
    # No order is stated.
    assert classification.classification_metrics(labels, probabilities, names, draws=0)["qwk"] is None


def test_published_kappa_by_hand():
    """Cohen 1968's formula on a table small enough for paper: 4 right, 1 off by one, 1 off by two of three grades."""
    labels = np.array([0, 0, 1, 1, 2, 2])
    probabilities = np.eye(3)[[0, 0, 1, 2, 2, 0]]
    observed = (1 + 4) / 6
    marginal_label, marginal_predicted = np.array([2, 2, 2]) / 6, np.array([3, 1, 2]) / 6
    expected = sum(marginal_label[i] * marginal_predicted[j] * (i - j) ** 2 for i in range(3) for j in range(3))
    result = classification.classification_metrics(labels, probabilities, tuple("abc"), ordered=True, draws=0)
    assert result["qwk"] == pytest.approx(1 - observed / expected)


def test_one_class_absent_gives_none_and_says_why():
    labels = np.zeros(20, dtype=int)
    _, probabilities = random_answers(20, 2)
    result = classification.classification_metrics(labels, probabilities, NAMES)
    assert result["auc"] is None and result["auc_interval"] is None
    assert any("AUC is undefined" in note for note in result["notes"])
    assert any("referable" in note for note in result["notes"])
    json.dumps(result, allow_nan=False)


def test_absent_grade_keeps_the_mean_of_the_others():
    labels, probabilities = random_answers(200, 4)
    probabilities = np.hstack([probabilities * 0.9, np.full((200, 1), 0.1)])
    result = classification.classification_metrics(labels, probabilities, tuple("01234"), ordered=True, draws=200)
    each = [reference.roc_auc_score(labels == index, probabilities[:, index]) for index in range(4)]
    assert result["auc"] == pytest.approx(np.mean(each))
    assert result["per_class"]["4"]["recall"] is None
    assert result["auc_interval"] is not None
    json.dumps(result, allow_nan=False)


def test_all_one_class_predicted_right():
    result = classification.classification_metrics(np.zeros(5, int), np.tile([0.9, 0.1], (5, 1)), NAMES)
    assert result["accuracy"] == 1.0 and result["qwk"] is None
    json.dumps(result, allow_nan=False)


def test_perfect_separation_is_noted():
    labels = np.array([0, 1] * 10)
    result = classification.classification_metrics(labels, np.eye(2)[labels], NAMES)
    assert result["auc"] == 1.0 and result["auc_interval"] == [1.0, 1.0]
    assert any("no width" in note for note in result["notes"])


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        (np.array([0, 2]), np.full((2, 2), 0.5), "from 0 to 1"),
        (np.array([0, -1]), np.full((2, 2), 0.5), "from 0 to 1"),
        (np.array([0.0, 1.0]), np.full((2, 2), 0.5), "integers"),
        (np.array([0, 1]), np.array([[3.0, -1.0], [0.5, 0.5]]), "logits"),
        (np.array([0, 1]), np.array([[np.nan, 1.0], [0.5, 0.5]]), "1 of 2 images are not finite"),
        (np.array([0, 1]), np.full((3, 2), 0.5), r"\(3, 2\)"),
        (np.array([], int), np.zeros((0, 2)), "N >= 1"),
    ],
)
def test_bad_input_is_refused(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        classification.classification_metrics(labels, probabilities, NAMES)


def test_multilabel_masks_missing_labels():
    rng = np.random.default_rng(3)
    labels = rng.integers(-1, 2, (200, 2))
    probabilities = np.clip(labels * 0.3 + rng.uniform(0.1, 0.6, (200, 2)), 0, 1)
    result = multilabel.multilabel_metrics(labels, probabilities, ("glaucoma", "DR"), draws=200)
    scores = []
    for index, name in enumerate(("glaucoma", "DR")):
        known = labels[:, index] >= 0
        truth, predicted = labels[known, index], probabilities[known, index] >= 0.5
        values = result["per_class"][name]
        scores.append(reference.f1_score(truth, predicted))
        assert values["images"] == known.sum() and values["f1"] == pytest.approx(scores[-1])
        assert values["auc"] == pytest.approx(reference.roc_auc_score(truth, probabilities[known, index]))
        assert values["specificity"] == pytest.approx(reference.recall_score(truth, predicted, pos_label=0))
        assert values["auc_interval"][0] < values["auc"] < values["auc_interval"][1]
    assert result["mean_f1"] == pytest.approx(np.mean(scores))


@pytest.mark.slow
def test_means_of_several_diseases_have_intervals_by_the_plain_definition():
    """Against a loop over draws of patients, each scored by scikit-learn; one disease is so rare that draws lack it."""
    rng = np.random.default_rng(5)
    labels = (rng.random((60, 3)) < 0.4).astype(int)
    labels[:, 2] = 0
    labels[7, 2], labels[rng.random(60) < 0.2, 1] = 1, -1
    probabilities = np.clip(0.35 * labels + rng.uniform(0, 0.6, (60, 3)), 0, 1)
    groups = np.arange(60) // 2
    means = {"mean_auc": [], "mean_f1": []}
    for _ in range(1500):
        rows = np.concatenate([np.flatnonzero(groups == patient) for patient in rng.integers(0, 30, 30)])
        areas, f1 = [], []
        for index in range(3):
            known = rows[labels[rows, index] >= 0]
            truth, scores = labels[known, index], probabilities[known, index]
            if 0 < truth.sum() < truth.size:
                areas.append(reference.roc_auc_score(truth, scores))
            if truth.any() or (scores >= 0.5).any():
                f1.append(reference.f1_score(truth, scores >= 0.5))
        means["mean_auc"].append(np.mean(areas))
        means["mean_f1"].append(np.mean(f1))
    result = multilabel.multilabel_metrics(labels, probabilities, tuple("abc"), groups)
    for name, values in means.items():
        low, high = np.quantile(values, [0.025, 0.975])
        assert result[f"{name}_interval"] == pytest.approx([low, high], abs=0.1 * (high - low)), name
        assert result[f"{name}_interval"][0] < result[name] < result[f"{name}_interval"][1]
    without = multilabel.multilabel_metrics(labels, probabilities, tuple("abc"), groups, draws=0)
    assert without["mean_auc_interval"] is None and without["mean_f1_interval"] is None
    one = multilabel.multilabel_metrics(labels, probabilities, tuple("abc"), np.zeros(60, int))
    assert one["mean_auc_interval"] is None


def test_multilabel_without_any_label_of_a_disease():
    labels = np.array([[1, -1], [0, -1], [1, -1]])
    result = multilabel.multilabel_metrics(labels, np.full((3, 2), 0.7), ("glaucoma", "DR"))
    assert result["per_class"]["DR"]["f1"] is None and result["per_class"]["DR"]["images"] == 0
    assert result["exact_match"] is None
    assert set(result["per_class"]["DR"]) == set(result["per_class"]["glaucoma"])
    assert any("'DR'" in note for note in result["notes"])
    json.dumps(result, allow_nan=False)
