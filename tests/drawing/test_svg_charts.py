"""Charts: well-formed, inside their frame, escaped; ROC curve and band against scikit-learn."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from sklearn.metrics import auc, roc_auc_score

from dr_edge.drawing import svg_charts
from dr_edge.evaluation import roc


def parsed(svg):
    return ElementTree.fromstring(re.sub(r"&nbsp;", " ", str(svg)))


def random_scores(count=120):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    return labels == 1, np.round(rng.normal(size=count) + labels, 1)


def test_curve_has_the_area_of_scikit_learn_and_lies_in_its_band():
    positive, scores = random_scores()
    curve = roc.curve("AUC", positive, scores)
    assert auc(curve.x, curve.y) == pytest.approx(roc_auc_score(positive, scores))
    x, low, high = roc.band(positive, scores, np.arange(120), draws=200)
    inside = np.interp(x, curve.x, curve.y)[5:-5]
    assert ((low[5:-5] <= inside + 0.02) & (inside <= high[5:-5] + 0.02)).mean() > 0.95
    assert (low <= high).all() and high.max() <= 1


def test_no_curve_without_both_classes():
    assert roc.curve("x", np.ones(4, bool), np.arange(4.0)) is None
    assert roc.band(np.ones(4, bool), np.arange(4.0), np.arange(4)) is None
    assert roc.band(np.array([True, False]), np.arange(2.0), np.zeros(2)) is None  # one patient


def test_every_chart_is_well_formed_and_escapes_names():
    positive, scores = random_scores()
    evil = "<script>alert(1)</script> & co"
    curve = svg_charts.Curve(evil, *(getattr(roc.curve("", positive, scores), axis) for axis in "xy"))
    edges = np.linspace(0, 1, 6)
    made = [
        svg_charts.roc([curve], roc.band(positive, scores, np.arange(120), 50), [svg_charts.Dot(evil, 0.2, 0.8)]),
        svg_charts.reliability([(evil, np.array([0.6, 0.9]), np.array([0.5, 0.8]), np.array([3, 9]))]),
        svg_charts.histogram(edges, [(evil, np.array([1, 0, 4, 2, 9]))], evil),
        svg_charts.scatter(np.array([0.1, 0.9]), np.array([0.2, 5.0]), (evil, "y"), [(evil, 0.3)], (0, 1, -1, 1)),
        svg_charts.balance([(evil, [3, 0, 97])], [evil, "b", "c"]),
    ]
    for svg in made:
        assert "<script" not in svg
        tree = parsed(svg)
        width, height = (float(value) for value in tree.attrib["viewBox"].split()[2:])
        for circle in tree.iter("circle"):
            assert 0 <= float(circle.attrib["cx"]) <= width and 0 <= float(circle.attrib["cy"]) <= height
        for box in tree.iter("rect"):
            assert float(box.attrib["height"]) >= 0 and float(box.attrib["width"]) >= 0


def test_histogram_bars_add_up():
    tree = parsed(svg_charts.histogram(np.linspace(0, 1, 3), [("a", np.array([10, 5])), ("b", np.array([0, 5]))], "x"))
    heights = [float(box.attrib["height"]) for box in tree.iter("rect")]
    assert sum(heights) == pytest.approx(2 * svg_charts.SIDE, abs=0.5)  # two full columns of ten
