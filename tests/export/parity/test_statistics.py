"""Paired comparison against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from dr_edge.data import tasks
from export.parity import statistics


def _binary(seed: int = 0, count: int = 300):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    score = 1 / (1 + np.exp(-(2 * labels - 1 + rng.normal(0, 1, count))))
    return labels, np.stack([1 - score, score], axis=1), np.arange(count) // 2


def _value(statistic, count: int) -> float:
    return float(statistic(np.ones((1, count)))[0])


def test_values_are_those_of_scikit_learn():
    labels, probabilities, _ = _binary()
    found = statistics.class_statistics(tasks.referable_dr(), labels, probabilities, threshold=0.4)
    predicted = probabilities.argmax(axis=1)
    positive = probabilities[:, 1] >= 0.4
    expected = {
        "auc": metrics.roc_auc_score(labels, probabilities[:, 1]),
        "accuracy": metrics.accuracy_score(labels, predicted),
        "qwk": metrics.cohen_kappa_score(labels, predicted, weights="quadratic"),
        "sensitivity": metrics.recall_score(labels, positive),
        "specificity": metrics.recall_score(labels, positive, pos_label=0),
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert _value(found[name], len(labels)) == pytest.approx(value), name


def test_five_grades_and_several_diseases():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 400)
    probabilities = rng.dirichlet(np.ones(5), 400) + 0.5 * np.eye(5)[labels]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found = statistics.class_statistics(tasks.dr_grade(), labels, probabilities)
    expected = metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert _value(found["auc"], 400) == pytest.approx(expected)
    diseases = rng.integers(-1, 2, (400, 2))
    scores = np.clip(rng.normal(0.5 + 0.2 * (diseases == 1), 0.2), 0, 1)
    found = statistics.class_statistics(tasks.diseases(), diseases, scores)
    areas = [metrics.roc_auc_score(diseases[diseases[:, i] >= 0, i], scores[diseases[:, i] >= 0, i]) for i in (0, 1)]
    assert _value(found["auc"], 400) == pytest.approx(np.mean(areas))


def test_equal_outputs_drop_by_nothing_with_certainty():
    labels, probabilities, groups = _binary()
    own = statistics.class_statistics(tasks.referable_dr(), labels, probabilities, 0.5)
    row = statistics.compare(own, own, groups)
    assert set(row["drop"].values()) == {0.0}
    assert all(bounds == [0.0, 0.0] for bounds in row["drop_interval"].values())


def test_a_worse_model_drops_and_the_interval_says_so():
    labels, probabilities, groups = _binary(count=1000)
    worse = 0.5 * probabilities + 0.5 * np.random.default_rng(3).dirichlet((1, 1), len(labels))
    task = tasks.referable_dr()
    row = statistics.compare(
        statistics.class_statistics(task, labels, worse),
        statistics.class_statistics(task, labels, probabilities),
        groups,
    )
    low, high = row["drop_interval"]["auc"]
    assert 0 < low < row["drop"]["auc"] < high
    assert row["drop"]["auc"] == pytest.approx(
        metrics.roc_auc_score(labels, probabilities[:, 1]) - metrics.roc_auc_score(labels, worse[:, 1])
    )


def test_one_class_gives_none_and_not_nan():
    labels = np.zeros(10, int)
    probabilities = np.full((10, 2), 0.5)
    own = statistics.class_statistics(tasks.referable_dr(), labels, probabilities, 0.5)
    row = statistics.compare(own, own, np.arange(10))
    assert row["auc"] is None and row["drop"]["auc"] is None and row["drop_interval"]["auc"] is None
    assert row["sensitivity"] is None and row["accuracy"] == 1.0


def test_masks_are_judged_by_overlap_and_cup_to_disc_ratio():
    labels = np.zeros((3, 20, 20, 2))
    labels[:2, 4:14, 4:14, 0], labels[:2, 6:11, 6:11, 1] = 1, 1
    labels[2] = -1
    masks = np.where(labels == 1, 0.9, 0.1)
    task = tasks.optic_disc_and_cup()
    row = statistics.compare(*(statistics.mask_statistics(task, labels, masks) for _ in range(2)), np.arange(3))
    assert row["dice optic disc"] == 1.0 and row["dice optic cup"] == 1.0 and row["vcdr_accuracy"] == 1.0
    smaller = masks.copy()
    smaller[:2, 10, :, 1] = 0.1  # the cup loses one of five rows: vCDR 0.4, not 0.5
    row = statistics.compare(
        statistics.mask_statistics(task, labels, smaller), statistics.mask_statistics(task, labels, masks), np.arange(3)
    )
    assert row["vcdr_accuracy"] == pytest.approx(0.9)
    assert row["drop"]["dice optic cup"] == pytest.approx(1 - 2 * 20 / 45)


def test_a_cup_that_is_lost_is_an_error_and_not_left_out():
    labels = np.zeros((4, 20, 20, 2))
    labels[:3, 4:14, 4:14, 0] = 1
    labels[:3, 6:11, 6:11, 1] = 1
    labels[3, 4:14, 4:14, 0] = 1  # no cup is labelled here
    exact = np.where(labels == 1, 0.9, 0.1)
    own, reference = exact.copy(), exact.copy()
    reference[0, 9:11, :, 1] = 0.1  # cup of 3 rows for 5: 0.3 for 0.5
    own[0, ..., 1] = 0.1  # the artifact loses the cup on the same, hard, image
    task = tasks.optic_disc_and_cup()
    row = statistics.compare(
        *(statistics.mask_statistics(task, labels, masks) for masks in (own, reference)), np.arange(4)
    )
    assert row["vcdr_accuracy"] == pytest.approx(2 / 3) and row["vcdr_found"] == pytest.approx(2 / 3)
    assert row["drop"]["vcdr_accuracy"] == pytest.approx((1 - 0.2) / 3)  # worse, though its other images are exact
    assert row["drop"]["vcdr_found"] == pytest.approx(1 / 3)
    own[3, 6:11, 6:11, 1] = 0.9  # a cup where none is labelled says nothing of the ratio
    assert _value(statistics.mask_statistics(task, labels, own)["vcdr_accuracy"], 4) == pytest.approx(2 / 3)


def test_intervals_of_masks_hold_their_values():
    labels = np.zeros((6, 16, 16, 2))
    labels[:, 2:12, 2:12, 0], labels[:, 4:9, 4:9, 1] = 1, 1
    masks = np.where(labels == 1, 0.9, 0.1)
    for image in range(6):
        masks[image, 4 : 4 + image // 2, :, 1] = 0.1
    own = statistics.mask_statistics(tasks.optic_disc_and_cup(), labels, masks)
    found = statistics.with_intervals(own, np.arange(6))
    low, high = found["dice optic cup_interval"]
    assert low < found["dice optic cup"] < high and found["dice optic disc_interval"] == [1.0, 1.0]
    assert statistics.with_intervals(own, np.zeros(6))["dice optic cup_interval"] is None


def test_operating_points_are_those_of_scikit_learn():
    labels, probabilities, groups = _binary()
    (row,) = statistics.at_operating_points(
        tasks.referable_dr(), [{"name": "p", "threshold": 0.3}], labels, probabilities, groups
    )
    positive = probabilities[:, 1] >= 0.3
    assert row["sensitivity"] == pytest.approx(metrics.recall_score(labels, positive))
    assert row["specificity"] == pytest.approx(metrics.recall_score(labels, positive, pos_label=0))
    assert row["sensitivity_interval"][0] < row["sensitivity"] < row["sensitivity_interval"][1]
    (row,) = statistics.at_operating_points(
        tasks.referable_dr(), [{"name": "p", "threshold": 0.3}], np.ones(300, int), probabilities, groups
    )
    assert row["specificity"] is None and row["specificity_interval"] is None
