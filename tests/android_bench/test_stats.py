"""android_bench.stats against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from android_bench import stats

SAMPLES = st.lists(st.floats(0.001, 1e5), min_size=1, max_size=60)


@given(SAMPLES, st.floats(0, 1))
def test_quantile_is_numpys(samples, q):
    assert stats.quantile(samples, q) == pytest.approx(np.quantile(samples, q), rel=1e-9)


@given(SAMPLES)
def test_summary_is_numpys(samples):
    found = stats.summarise(samples)
    assert found["median"] == pytest.approx(np.median(samples))
    assert found["p90"] == pytest.approx(np.quantile(samples, 0.9))
    assert found["p95"] == pytest.approx(np.quantile(samples, 0.95))
    assert found["mean"] == pytest.approx(np.mean(samples))
    assert found["std"] == pytest.approx(np.std(samples, ddof=1) if len(samples) > 1 else 0.0, abs=1e-6)
    assert (found["min"], found["max"], found["runs"]) == (min(samples), max(samples), len(samples))


@pytest.mark.parametrize(("samples", "q"), [([], 0.5), ([1.0], 1.1), ([1.0], -0.1)])
def test_quantile_refuses(samples, q):
    with pytest.raises(ValueError, match="quantile"):
        stats.quantile(samples, q)


def session(samples, **latency):
    return {"samples_ms": samples, "latency_ms": {**stats.summarise(samples or [1.0]), **latency}}


def test_raw_samples_are_pooled():
    sessions = [session([1.0, 2.0, 3.0]), session([4.0, 5.0])]
    found = stats.over_sessions(sessions)
    assert (found["median"], found["runs"], found["sessions"]) == (3.0, 5, 2)
    assert found["p90"] == pytest.approx(np.quantile([1, 2, 3, 4, 5], 0.9))
    assert found["session_range"] == [2.0, 4.5]
    assert found["mean"] == pytest.approx(3.0)


def test_without_samples_there_is_no_p90():
    tool = {"median": 2.0, "p95": 3.0, "mean": 2.2, "min": 1.0, "max": 9.0, "runs": 50}
    sessions = [{"latency_ms": {**tool, "median": m}, "samples_ms": []} for m in (2.0, 8.0, 3.0)]
    found = stats.over_sessions(sessions)
    assert (found["median"], found["p90"], found["p95"], found["session_range"]) == (
        3.0,
        None,
        3.0,
        [2.0, 8.0],
    )


def test_a_mean_is_not_passed_off_as_a_median():
    old = {"median": None, "p95": None, "mean": 2.0, "min": 1.0, "max": 9.0, "runs": 10}
    newer = {**old, "mean": 5.0, "runs": 30}
    found = stats.over_sessions([{"latency_ms": old}, {"latency_ms": newer}])
    assert found["median"] is None and found["p95"] is None
    assert found["mean"] == pytest.approx((2.0 * 10 + 5.0 * 30) / 40)
    assert stats.centre(found) == (found["mean"], "mean")
    assert stats.centre({"median": 1.0, "mean": 2.0}) == (1.0, "median")


def test_no_session():
    with pytest.raises(ValueError, match="No session"):
        stats.over_sessions([])
