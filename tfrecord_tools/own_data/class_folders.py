"""Folders that stand beside the classes and are none: copies of a class, and names that no class has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tfrecord_tools.items import DatasetError
from tfrecord_tools.own_data.class_names import plain

# What people call folders that stand beside the classes; each would be taken for a disease.
NO_CLASSES = (
    "augmented", "augmentation", "original", "thumb", "thumbnail", "new folder", "untitled folder", "neuer ordner",
    "nouveau dossier", "nueva carpeta", "backup", "raw", "processed", "preprocessed", "resized", "cropped", "output",
    "result", "image", "label", "picture", "photo", "photograph", "tmp", "temp", "unsorted", "todo", "heatmap",
    "overlay", "download", "export", "archive", "trash", "old", "new",
)  # fmt: skip
_COPY = re.compile(
    r"(?P<of>.+?)[\s_-]*(?:\(\d+\)|[\s_-](?:copy|copie|kopie|copia|backup)(?:\s*\(?\d+\)?)?)", re.IGNORECASE
)


def check_no_classes(names: Sequence[str], root: Path) -> None:
    """Raises DatasetError where a folder is a copy of another class, or is called as no class is."""
    folded = {plain(name): name for name in names}
    for name in names:
        copied = _COPY.fullmatch(name)
        if copied and plain(copied["of"]) in folded:
            raise DatasetError(
                f"{root}: {name!r} looks like a copy of the class {folded[plain(copied['of'])]!r}. Put the photographs "
                "of each class into one folder."
            )
        word = plain(name)
        if word.rstrip("s") in map(plain, NO_CLASSES) or word in map(plain, NO_CLASSES):
            raise DatasetError(
                f"{root} holds a folder {name!r} beside the others "
                f"({', '.join(other for other in names if other != name)[:80]}), which is called as no class is. Move "
                "it away, or give it the name of its class. (Copies made by augmentation do not belong among "
                "photographs: train makes its own.)"
            )
