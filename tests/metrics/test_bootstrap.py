"""dr_edge.metrics.bootstrap against plain resampling with scikit-learn, and its statistical meaning."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from dr_edge.metrics import bootstrap


def resampled(weights: np.ndarray) -> np.ndarray:
    """Returns the image indices that a row of weights stands for."""
    return np.repeat(np.arange(weights.size), weights.astype(int))


def test_each_draw_equals_scikit_learn_on_the_resampled_images():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 2)
    labels = rng.integers(0, 2, 80)
    scores = np.round(rng.normal(size=80) + labels, 1)  # rounding makes ties
    grades, predicted = rng.integers(0, 5, 80), rng.integers(0, 5, 80)
    weights = next(bootstrap.patient_draws(groups, draws=50, seed=1))
    areas = bootstrap.weighted_auc(labels == 1, scores)(weights)
    kappas = bootstrap.weighted_kappa(grades, predicted, 5)(weights)
    shares = bootstrap.weighted_share(scores > 0.5, labels == 1)(weights)
    for row, area, kappa, share in zip(weights, areas, kappas, shares, strict=True):
        index = resampled(row)
        assert area == pytest.approx(roc_auc_score(labels[index], scores[index]))
        assert kappa == pytest.approx(cohen_kappa_score(grades[index], predicted[index], weights="quadratic"))
        assert share == pytest.approx((scores[index] > 0.5)[labels[index] == 1].mean())


def test_patients_are_drawn_whole():
    groups = np.array(["b", "a", "b", "c", "a"])
    weights = np.concatenate(list(bootstrap.patient_draws(groups, draws=200)))
    assert weights.shape == (200, 5)
    assert (weights[:, 0] == weights[:, 2]).all() and (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()  # as many patients as there are


def test_interval_of_a_mean_has_the_textbook_width():
    values = np.random.default_rng(0).normal(size=400)
    interval = bootstrap.bootstrap_interval(bootstrap.weighted_mean(values), np.arange(400))
    expected = 2 * 1.96 * values.std() / 20
    assert interval.high - interval.low == pytest.approx(expected, rel=0.08)
    assert interval.draws == 2000


def test_correlated_eyes_widen_the_interval():
    rng = np.random.default_rng(2)
    values = np.repeat(rng.normal(size=200), 2)  # both eyes the same
    by_eye = bootstrap.bootstrap_interval(bootstrap.weighted_mean(values), np.arange(400))
    by_patient = bootstrap.bootstrap_interval(bootstrap.weighted_mean(values), np.repeat(np.arange(200), 2))
    ratio = (by_patient.high - by_patient.low) / (by_eye.high - by_eye.low)
    assert ratio == pytest.approx(np.sqrt(2), rel=0.1)


def test_same_seed_same_interval_and_chunks_do_not_matter(monkeypatch):
    groups, values = np.arange(30), np.random.default_rng(0).normal(size=30)
    whole = bootstrap.bootstrap_interval(bootstrap.weighted_mean(values), groups, seed=5)
    assert whole == bootstrap.bootstrap_interval(bootstrap.weighted_mean(values), groups, seed=5)
    monkeypatch.setattr(bootstrap, "CELLS_PER_CHUNK", 64 * 30)
    assert bootstrap.bootstrap_interval(bootstrap.weighted_mean(values), groups, seed=5) == whole


def test_draws_without_a_value_are_counted_out():
    labels = np.zeros(30, bool)
    labels[0] = True  # absent from about 36 % of the draws
    interval = bootstrap.bootstrap_interval(bootstrap.weighted_auc(labels, np.arange(30.0)), np.arange(30))
    assert 1150 < interval.draws < 1400
    nothing = bootstrap.bootstrap_interval(bootstrap.weighted_auc(np.zeros(30, bool), np.arange(30.0)), np.arange(30))
    assert nothing.to_json() is None and nothing.draws == 0


def test_one_patient_has_no_interval():
    interval = bootstrap.bootstrap_interval(bootstrap.weighted_mean(np.ones(4)), np.zeros(4))
    assert (interval.low, interval.high, interval.draws) == (None, None, 0)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="draws >= 1"):
        next(bootstrap.patient_draws(np.arange(3), draws=0))
    with pytest.raises(ValueError, match="draws >= 1"):
        next(bootstrap.patient_draws(np.array([])))
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap.percentile_interval(np.ones(3), level=95)


def test_two_thousand_draws_of_five_thousand_images_take_seconds():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 5000)
    start = time.process_time()  # of this process: what else the machine does is not counted
    bootstrap.bootstrap_interval(bootstrap.weighted_auc(labels == 1, rng.normal(size=5000)), np.arange(5000))
    assert time.process_time() - start < 20  # 0.6 s of one core; drawn image by image in Python it takes minutes on any
