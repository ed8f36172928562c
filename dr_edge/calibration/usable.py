"""Whether probabilities may be read as such after the temperature: "90 %" is right nine times out of ten, or is it?

A temperature at an end of its range, or an error that stays large, is measured like any other; nothing else says that
the probabilities of such a model mean nothing.
"""

from __future__ import annotations

import numpy as np

from dr_edge.calibration.statistics import TEMPERATURES, expected_calibration_error

AT_THE_END = 0.01  # relative; the search for the temperature stops just short of an end
LARGE = 0.1  # off by ten points on average: "90 %" may be 80 %
DRAWS = 1000
CHANCE = 0.99  # of draws that a well calibrated model stays below
SEED = 0


def error_by_chance(confidences: np.ndarray) -> float:
    """Returns the expected calibration error that a perfectly calibrated model stays below in 99 of 100 such samples.

    Each answer is drawn to be right as often as it says (consistency resampling, Broecker and Smith, 2007): of few
    images the error is large by chance alone.

    Args:
      confidences: [N] in 0..1.
    """
    rng = np.random.default_rng(SEED)
    confidences = np.asarray(confidences, np.float64)
    drawn = [expected_calibration_error(confidences, rng.random(len(confidences)) < confidences) for _ in range(DRAWS)]
    return float(np.quantile(drawn, CHANCE))


def at_the_end(temperature: float) -> bool:
    """Says whether a temperature stands at an end of its range."""
    low, high = TEMPERATURES
    return temperature <= low * (1 + AT_THE_END) or temperature >= high * (1 - AT_THE_END)


def caution(temperature: float | None, confidences: np.ndarray, correct: np.ndarray, judged_on: str) -> str | None:
    """Returns why the probabilities must not be read as such; None where nothing measured speaks against it.

    Args:
      temperature: that the logits were divided by; None where none was fitted.
      confidences, correct: [N] of the answers after it (see `expected_calibration_error`).
      judged_on: in words: "48 test images".
    """
    reasons = []
    if temperature is not None and at_the_end(temperature):
        low, high = TEMPERATURES
        sign = (
            "the sign of a model that knows nothing"
            if temperature > 1
            else "no temperature makes its answers as sure as they are right"
        )
        reasons.append(f"the temperature {temperature:.3f} stands at an end of its range ({low:g} to {high:g}), {sign}")
    error = expected_calibration_error(confidences, correct)
    if error > LARGE and error > (chance := error_by_chance(confidences)):
        when = "without a temperature" if temperature is None else "after the temperature"
        reasons.append(
            f"on {judged_on} the calibration error is {error:.3f} {when}, where chance explains up to {chance:.3f}"
        )
    if not reasons:
        return None
    return (
        f"The probabilities are not usable as such: {'; '.join(reasons)}. A stated 90\u00a0% is not right nine times "
        "out of ten."
    )
