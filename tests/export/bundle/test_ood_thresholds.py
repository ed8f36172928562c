"""The threshold of the distance is each artifact's own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from export.bundle import ood_thresholds
from export.formats import FORMATS


def artifact(distances):
    """Returns what runs as an artifact whose distances are these, one photograph after another."""
    waiting = iter(distances)
    return lambda photograph: {"masks": photograph, "ood_distance": np.array([[next(waiting)]], np.float32)}


def photographs(count):
    return itertools.repeat(np.zeros((1, 8, 8, 3), np.uint8), count)


def test_the_threshold_is_the_quantile_of_the_artifacts_own_distances():
    distances = np.random.default_rng(0).normal(30, 1, 300)
    own = ood_thresholds.own_threshold(artifact(distances), photographs(300))
    assert own["threshold"] == pytest.approx(np.quantile(distances, 0.99), rel=1e-5) == own["quantiles"]["0.99"]
    assert own["quantiles"]["0.95"] == pytest.approx(np.quantile(distances, 0.95), rel=1e-5)
    assert own["photographs"] == 300


def test_a_large_split_is_not_read_to_its_end():
    own = ood_thresholds.own_threshold(artifact(itertools.repeat(2.0)), photographs(10**9))
    assert own["photographs"] == ood_thresholds.PHOTOGRAPHS


def test_without_the_runs_records_eight_bits_have_no_threshold(tmp_path):
    formats = [FORMATS[name] for name in ("float32", "float16", "dynamic_int8", "static_int8", "onnx_float32")]
    found = ood_thresholds.thresholds(tmp_path, formats, {"threshold": 3.0}, None, None)
    assert set(found) == {"model.dynamic_int8.tflite", "model.static_int8.tflite"}
    assert all("not there" in ood["reason"] and ood_thresholds.share_beyond({}, ood) is None for ood in found.values())
    assert ood_thresholds.thresholds(tmp_path, formats, {"reason": "no features"}, None, None) == {}


def test_no_photograph_and_no_number_are_refused():
    with pytest.raises(ValueError, match="no photograph"):
        ood_thresholds.own_threshold(artifact([]), photographs(0))
    with pytest.raises(FloatingPointError, match="not finite"):
        ood_thresholds.own_threshold(artifact([1.0, np.nan]), photographs(2))
