"""Probabilities that mean nothing are called so, and those of few images that may be right are not."""

from __future__ import annotations

import numpy as np
import pytest

from dr_edge.calibration import usable


def answers(says: float, right: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns `count` answers that all say `says` and are right in the share `right`."""
    return np.full(count, says), np.arange(count) < round(right * count)


@pytest.mark.parametrize("temperature", [19.999, 19.9, 0.05, 0.0503])
def test_a_temperature_at_an_end_of_its_range(temperature):
    said = usable.caution(temperature, *answers(0.42, 0.42, 48), "48 test images")
    assert (
        said is not None
        and said.startswith("The probabilities are not usable as such")
        and f"{temperature:.3f}" in said
    )
    assert ("knows nothing" in said) is (temperature > 1)


@pytest.mark.parametrize(("temperature", "when"), [(1.4, "after the temperature"), (None, "without a temperature")])
def test_an_error_that_stays_large(temperature, when):
    said = usable.caution(temperature, *answers(0.9, 0.6, 200), "200 test images")
    assert said is not None and "on 200 test images the calibration error is 0.300 " + when in said


@pytest.mark.parametrize(
    ("says", "right", "count"),
    [(0.9, 0.9, 200), (0.9, 0.82, 2000), (0.5, 0.4, 12)],
    ids=["calibrated", "off by less than a tenth", "so few images that chance explains it"],
)
def test_what_is_no_reason(says, right, count):
    assert usable.caution(1.4, *answers(says, right, count), "images") is None


def test_chance_by_hand():
    """Of 100 answers of 50 % in one bin the error is a folded normal of standard deviation 0.05: its 99th percentile is
    0.129.
    """
    assert usable.error_by_chance(np.full(100, 0.5)) == pytest.approx(2.576 * 0.05, abs=0.015)
    assert usable.error_by_chance(np.full(10_000, 0.5)) < 0.02


def test_evaluation_says_it(stand_in_run, tmp_path, monkeypatch):
    """A run with temperature 19.999, every answer 40 to 43 %, was reported like any other."""
    import dataclasses
    import shutil

    from dr_edge.calibration import store
    from dr_edge.evaluation import flow, number_text

    run = shutil.copytree(stand_in_run, tmp_path / "run")
    basis = store.basis

    def at_the_end(*given):
        found = basis(*given)
        return dataclasses.replace(found, fit=dataclasses.replace(found.fit, temperature=19.999))

    settings = flow.Settings(examples=0, heatmap_checks=False, stability=False)
    sound = flow.evaluate(run, settings)
    assert "end of its range" not in (sound["calibration"]["caution"] or "")
    monkeypatch.setattr(store, "basis", at_the_end)
    content = flow.evaluate(run, settings)
    caution = content["calibration"]["caution"]
    assert "the temperature 19.999 stands at an end of its range (0.05 to 20)" in caution
    assert caution in number_text.said(content)
    page = (run / "evaluation" / "test" / flow.REPORT_FILE).read_text()
    assert page.count(caution) == 2 and "too sure of itself" not in page
