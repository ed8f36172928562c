"""Whether the heat maps passed their checks, and what that means for whoever looks at them.

ALIKE: the randomisation test of Adebayo et al. ("Sanity checks for saliency maps", NeurIPS 2018) states no number. At
a rank correlation of 0.5, or -0.5, which is the same map with dark for light, a quarter of the ranks' variance (0.5
squared) would be owed to the photograph and the architecture alone, and the map is half way from an unrelated one (0)
to the very same (1). The test is judged with all weights shuffled. With the last layers alone shuffled most maps stay
alike for reasons that have little to do with the map (Binder et al., "Shortcomings of top-down randomization-based
sanity checks", CVPR 2023), so that this is said and fails nothing.

TIMES_CHANCE: the aim of this project for the drawn photographs of `synthetic`, where every lesion's mask is known. On
photographs of people lesions may be unmarked, so that a ratio there is stated and not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dr_edge.evaluation.number_text import number
from dr_edge.explanation.heatmaps import TITLES

ALIKE = 0.5
TIMES_CHANCE = 2.0
SYNTHETIC = "synthetic"  # the dataset whose lesion masks are complete
LAST, ALL = "last layers", "all layers"


def judge(randomisation: Mapping[str, Any], lesions: Mapping[str, Any] | None, dataset: str) -> dict[str, Any]:
    """Judges what `heatmap_checks.check` measured.

    Args:
      randomisation, lesions: as `heatmap_checks.check` returns them.
      dataset: name of the records' dataset.

    Returns:
      passed (of all checks that could be judged; None where none could), randomisation {threshold, passed, methods
      {method: passed}}, lesions (the same, or None where it was not judged), and says: sentences {passed, text}. A
      method is None, not judged, where on no image both maps hold heat.
    """
    maps = {method: entry[ALL]["changed"] for method, entry in randomisation.items()}
    parts: dict[str, Any] = {"randomisation": {"threshold": ALIKE, "passed": _all(maps.values()), "methods": maps}}
    says = _randomisation_words(randomisation, maps)
    parts["lesions"] = None
    if lesions is not None and dataset == SYNTHETIC:
        found = {method: bool(lesions[method]["ratio"] >= TIMES_CHANCE) for method in randomisation}
        parts["lesions"] = {"threshold": TIMES_CHANCE, "passed": _all(found.values()), "methods": found}
        says += _lesion_words(lesions, found)
    passed = _all(part["passed"] for part in parts.values() if part is not None)
    return {"passed": passed, **parts, "says": says}


def warnings(verdict: Mapping[str, Any]) -> list[str]:
    """Returns the sentences of a verdict that a user must not miss."""
    return [line["text"] for line in verdict["says"] if line["passed"] is not True]


def _all(results: Any) -> bool | None:
    """Returns False where one failed, else None where none was judged, else True."""
    judged = [result for result in results if result is not None]
    return all(judged) if judged else None


def _randomisation_words(randomisation: Mapping[str, Any], maps: Mapping[str, bool | None]) -> list[dict[str, Any]]:
    good, bad, unknown = (_with(maps, wanted) for wanted in (True, False, None))
    # None of the shuffled model's maps holds heat: nothing to compare with, whatever the trained model's show.
    lost = [method for method in unknown if randomisation[method][ALL]["blank_shuffled"]]
    blank = [method for method in unknown if method not in lost]
    says = []
    if good:
        text = (
            f"Passed: the maps of {_names(good)} turn into others when all weights are shuffled (rank correlation, "
            f"without its sign, below {ALIKE}). They depend on what the model learned."
        )
        says.append(_line(True, text))
    if bad:
        text = (
            f"Not passed: the maps of {_names(bad)} stay much alike when all weights are shuffled (rank correlation, "
            f"without its sign, {_values([randomisation[method][ALL]['rank_correlation'] for method in bad], 2)}, "
            f"allowed is below {ALIKE}). They show the photograph more than what the model learned: do not take them "
            "as the reason of an answer."
        )
        says.append(_line(False, text))
    if blank:
        text = (
            f"Not judged: the maps of {_names(blank)} hold no heat on any of these images, so that there is nothing to "
            "explain an answer with."
        )
        says.append(_line(None, text))
    if lost:
        text = (
            f"Not judged: with all weights shuffled, the maps of {_names(lost)} hold no heat on any image where the "
            "trained model's do, so that there is nothing to compare with. Whether they depend on what the model "
            "learned is not known."
        )
        says.append(_line(None, text))
    says += _fewer_words(randomisation, good + bad)
    same = [method for method in good if randomisation[method][LAST]["changed"] is False]
    if same:
        text = (
            f"With the last layers alone shuffled, the maps of {_names(same)} stay alike "
            f"({_values([randomisation[method][LAST]['rank_correlation'] for method in same], 2)}): they show where "
            "the network looks, and hardly why it named this class and no other."
        )
        says.append(_line(True, text))
    return says


def _fewer_words(randomisation: Mapping[str, Any], methods: Sequence[str]) -> list[dict[str, Any]]:
    """Returns a sentence on each method that was judged on a part of the images."""
    says = []
    for method in methods:
        entry = randomisation[method][ALL]
        images = entry["images"] + entry["blank_trained"] + entry["blank_shuffled"]
        if entry["images"] < images:
            text = (
                f"{TITLES[method]} was judged on {entry['images']} of {images} images; on the others the map holds no "
                f"heat ({entry['blank_trained']} of the trained model, {entry['blank_shuffled']} of the shuffled one)."
            )
            says.append(_line(True, text))
    return says


def _lesion_words(lesions: Mapping[str, Any], found: Mapping[str, bool]) -> list[dict[str, Any]]:
    good, bad = (_with(found, wanted) for wanted in (True, False))
    says = []
    if good:
        text = (
            f"Passed: the share of heat inside the drawn lesions, in the maps of {_names(good)}, is "
            f"{_values([lesions[method]['ratio'] for method in good], 1)} times that by chance (wanted: "
            f"{TIMES_CHANCE:.0f})."
        )
        says.append(_line(True, text))
    if bad:
        text = (
            f"Not passed: the share of heat inside the drawn lesions, in the maps of {_names(bad)}, is only "
            f"{_values([lesions[method]['ratio'] for method in bad], 1)} times that by chance (wanted: "
            f"{TIMES_CHANCE:.0f}). Do not use these maps to find or to confirm lesions."
        )
        if lesions["ceiling"] is not None and lesions["ceiling"] < TIMES_CHANCE:
            text += (
                f" Even the lesions themselves, drawn in {lesions['cells']} × {lesions['cells']} cells, reach "
                f"{number(lesions['ceiling'], 1)}: train at a larger image size."
            )
        says.append(_line(False, text))
    return says


def _line(passed: bool | None, text: str) -> dict[str, Any]:
    return {"passed": passed, "text": text}


def _with(results: Mapping[str, bool | None], wanted: bool | None) -> list[str]:
    return [method for method, result in results.items() if result is wanted]


def _names(methods: Sequence[str]) -> str:
    return _listed([TITLES[method] for method in methods])


def _values(values: Sequence[float], digits: int) -> str:
    return _listed([number(value, digits) for value in values])


def _listed(words: Sequence[str]) -> str:
    """Returns "a", "a and b" or "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
