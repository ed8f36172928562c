"""What dataset.json says of the patients of its photographs. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOT_KNOWN = (  # the beginning of the sentence that a build writes where names and tables tell none
    "Patients are not known"
)
BY_PHOTOGRAPH = (
    "Which photographs are of one patient is not known: splits are by photograph, two of one patient may stand in "
    "training and in test, and each counts as a patient of its own. The figures may look better than they are for new "
    "patients."
)
EACH_ITS_OWN = (
    "Each photograph counts as a patient of its own; whether two are of one person the data set does not say."
)
KEPT_APART = "Patients do not cross splits."


def patients_sentence(content: Mapping[str, Any]) -> str:
    """Returns a sentence that says whether patients cross splits, as far as the records know.

    Args:
      content: of dataset.json.
    """
    if not_known(content):
        return BY_PHOTOGRAPH
    splits = list(content["splits"].values())
    if all(split["examples"] == split.get("patients") for split in splits) and not content.get("patients"):
        return EACH_ITS_OWN
    return KEPT_APART


def not_known(content: Mapping[str, Any]) -> list[str]:
    """Returns [BY_PHOTOGRAPH], for the reader, where nobody said which photographs are of one patient, else []."""
    return [BY_PHOTOGRAPH] if str(content.get("patients") or "").startswith(NOT_KNOWN) else []


def are_known(content: Mapping[str, Any]) -> bool:
    """Says whether the records know which photographs are of one patient, so that patients can be counted."""
    return patients_sentence(content) == KEPT_APART


def counted(images: int, patients: int | None, of: str = "images") -> str:
    """Returns "48 images of 30 patients", or, where the records name no patients, "48 images of unknown patients".

    Args:
      images: how many.
      patients: theirs; None where they are not known.
      of: what the images are called: "test images".
    """
    return f"{images} {of} of {'unknown' if patients is None else patients} patients"
