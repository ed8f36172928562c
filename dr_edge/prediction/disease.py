"""Which classes of a bundle are the disease; what a bundle of an earlier release does not say of it is filled in here.

Those releases took the second of two classes for the disease and chose every threshold for it, whatever its name. Where
the names say otherwise, the same decisions are told the other way round; where they say nothing, the second stays it,
with a caution for whoever reads the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr_edge.data import positive

CHOSEN_FOR = (1,)  # what earlier releases chose thresholds for
OWN_NAMES = ("referable_dr", "any_dr", "messidor_any_dr", "dr_grade")  # tasks whose class names nobody typed


def stated(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a manifest whose classification says which classes are the disease.

    Args:
      manifest: the content of metadata.json, checked (`dr_edge.bundle_files`).

    Returns:
      The same with task.positive_class, negative_class, positive_index and positive_indices, operating points of that
      disease, and a warning where something had to be assumed.
    """
    task = manifest["task"]
    if task["kind"] != "classification":
        return dict(manifest)
    if "positive_indices" in task:
        return dict(manifest)
    names, label = task["class_names"], str(task.get("name", ""))
    read = positive.guess(names, label)
    ill = read or (CHOSEN_FOR if len(names) == 2 else ())
    others = [index for index in range(len(names)) if index not in ill]
    said = {
        "positive_class": positive.named(names, ill, label) or None,
        "negative_class": (positive.named(names, others, label) or None) if ill else None,
        "positive_index": ill[0] if len(ill) == 1 else None,
        "positive_indices": list(ill),
    }
    warnings = [manifest.get("warning"), _caution(names, read), None if label in OWN_NAMES else _typed(names)]
    return {
        **_told(manifest, ill),
        "task": {**task, **said},
        "artifacts": {key: _told(entry, ill) for key, entry in manifest["artifacts"].items()},
        "warning": " ".join(text for text in warnings if text) or None,
    }


def _told(content: Mapping[str, Any], ill: tuple[int, ...]) -> dict[str, Any]:
    """Returns a part of the manifest with the operating points that it has, if any, as those of the disease."""
    points = content.get("operating_points")
    if not points:
        return dict(content)
    return {**content, "operating_points": positive.of_disease(points, CHOSEN_FOR, ill)}


def _typed(names: list[str]) -> str:
    """Returns the caution of class names that were typed beside a training command, whose README swapped them."""
    return (
        f"An earlier release exported this bundle and did not compare the names {', '.join(names)} with those of its "
        "records: where they were typed in another order, each class is called by another's name. Compare them with"
        ' "labels" in the records\' dataset.json, or train again.'
    )


def _caution(names: list[str], read: tuple[int, ...]) -> str | None:
    """Returns what to say of a bundle of two classes of an earlier release; None where it took the right one."""
    if len(names) != 2 or read == CHOSEN_FOR:
        return None
    if not read:
        return positive.assumed_words(names)
    return (
        f"An earlier release exported this bundle, which took {names[1]!r} for the disease: its thresholds were chosen "
        f"for that, and are told here for {names[0]!r}. Train and export again with this release."
    )
