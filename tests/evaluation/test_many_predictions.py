"""What makes a million predictions fit: columns filled in place, thresholds on the same draws, distances in parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dr_edge.calibration import statistics
from dr_edge.evaluation import columns, operating_points, roc
from dr_edge.metrics import bootstrap


@pytest.mark.parametrize("expected", [3, 10, 50])
@pytest.mark.parametrize("large", [1, 1 << 28])
def test_columns_hold_what_came(expected: int, large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(columns, "LARGE", large)
    rng = np.random.default_rng(0)
    parts = [
        {"id": np.array([b"a", b"bc"][: size], object), "features": rng.random((size, 5), np.float32)}
        for size in (2, 2, 2, 2, 1)
    ]  # fmt: skip
    filled = columns.Columns(expected, tmp_path)
    assert filled.joined() == {}
    for part in parts:
        filled.add(part)
    joined = filled.joined()
    assert joined["id"].tolist() == [name for part in parts for name in part["id"]]
    np.testing.assert_array_equal(joined["features"], np.concatenate([part["features"] for part in parts]))
    assert isinstance(joined["features"], np.memmap) == (large == 1) and not list(tmp_path.iterdir())


def test_thresholds_together_give_what_each_gives_alone():
    rng = np.random.default_rng(1)
    labels = (rng.random(300) < 0.3).astype(int)
    scores = np.round(rng.random(300) * 0.6 + 0.3 * labels, 2)  # with ties, also at the thresholds
    groups = rng.integers(0, 170, 300)
    thresholds = [0.5, 0.31, 0.31, 0.0, 2.0, float(scores.max())]
    found = operating_points.apply_thresholds(labels, scores, groups, thresholds, draws=200)
    positive = labels == 1
    for threshold, applied in zip(thresholds, found, strict=True):
        called = scores >= threshold
        shares = {
            "sensitivity": (called, positive),
            "specificity": (~called, ~positive),
            "ppv": (positive, called),
            "npv": (~positive, ~called),
        }
        drawn = bootstrap.bootstrap({n: bootstrap.weighted_share(*pair) for n, pair in shares.items()}, groups, 200)
        for name, (hit, among) in shares.items():
            bounds = bootstrap.percentile_interval(drawn[name]).to_json()
            if bounds is not None and bounds[0] < bounds[1]:
                assert applied[f"{name}_interval"] == bounds, (name, threshold)
            assert applied[name] == (hit[among].mean() if among.any() else None)
        assert applied == operating_points.apply_threshold(labels, scores, groups, threshold, draws=200)
    assert found[4]["ppv"] is None and found[4]["ppv_interval"] is None and found[3]["sensitivity"] == 1.0


def test_the_curve_of_many_images_is_drawn_by_few_points():
    from sklearn.metrics import auc, roc_auc_score

    rng = np.random.default_rng(3)
    positive = rng.random(50_000) < 0.2
    scores = rng.normal(size=50_000) + positive
    drawn = roc.curve("x", positive, scores)
    assert drawn is not None and 500 < len(drawn.x) < 4 * roc.STEPS
    assert (drawn.x[0], drawn.y[0], drawn.x[-1], drawn.y[-1]) == (0, 0, 1, 1)
    assert abs(auc(drawn.x, drawn.y) - roc_auc_score(positive, scores)) < 2 / roc.STEPS


def test_distances_in_parts_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(2)
    features = rng.normal(size=(60, 6)).astype(np.float32)
    fitted = statistics.fit_features(features, rng.integers(0, 3, 60))
    whole = statistics.mahalanobis_distance(features, fitted)
    monkeypatch.setattr(statistics, "ROWS", 7)
    np.testing.assert_allclose(statistics.mahalanobis_distance(features, fitted), whole, rtol=1e-5)
    assert statistics.mahalanobis_distance(features[:0], fitted).shape == (0,)
