"""What dataset.json says of the patients of its photographs. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOT_KNOWN = "Patients are not known"  # how tfrecord_tools.eyes.patients_in_words begins where names and tables tell none
BY_PHOTOGRAPH = (
    "Which photographs are of one patient is not known: splits are by photograph, two of one patient may stand in training and in test, "
    "and each counts as a patient of its own. The figures may look better than they are for new patients."
)


def patients_sentence(content: Mapping[str, Any]) -> str:
    """Returns a sentence that says whether patients cross splits, as far as the records know.

    Args:
      content: of dataset.json.
    """
    if str(content.get("patients") or "").startswith(NOT_KNOWN):
        return BY_PHOTOGRAPH
    splits = list(content["splits"].values())
    if all(split["examples"] == split.get("patients") for split in splits) and not content.get("patients"):
        return "Each photograph counts as a patient of its own; whether two are of one person the data set does not say."
    return "Patients do not cross splits."


def not_known(content: Mapping[str, Any]) -> list[str]:
    """Returns [BY_PHOTOGRAPH] for the reader of the figures where nobody said which photographs are of one patient, else []."""
    return [BY_PHOTOGRAPH] if str(content.get("patients") or "").startswith(NOT_KNOWN) else []
