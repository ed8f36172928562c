"""ODIR-5K: `ODIR-5K_Training_*/<id>_<left|right>.jpg` and `ODIR-5K_Training_Annotations*.xlsx` (or full_df.csv).

The columns N, D, G ... speak of the patient; the diagnostic keywords speak of each eye, and labels are taken from
those. A suspected disease is neither: its label is missing (-1). Photographs whose keywords say that they show no
fundus are rejected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from dr_edge.data.tasks import GRADE_NAMES
from tfrecord_tools.datasets.graded_table import read_rows
from tfrecord_tools.items import DatasetError, Item, Listing, Request
from tfrecord_tools.layout import checked_directory, column, find_one, relative
from tfrecord_tools.matching import index_images
from tfrecord_tools.sources import SOURCES

EYES = {
    "left": ("Left-Fundus", "Left-Diagnostic Keywords"),
    "right": ("Right-Fundus", "Right-Diagnostic Keywords"),
}
NO_FUNDUS = ("anterior segment image", "no fundus image")
# keyword -> ICDR grade; "diabetic retinopathy" alone states no grade
GRADES = {
    "mild nonproliferative retinopathy": 1,
    "moderate non proliferative retinopathy": 2,
    "severe nonproliferative retinopathy": 3,
    "proliferative diabetic retinopathy": 4,
    "severe proliferative diabetic retinopathy": 4,
}
UNGRADED = "diabetic retinopathy"


def listing(request: Request) -> Listing:
    """Reads DR grade, DR and glaucoma of each eye from its keywords; both eyes of a patient belong together."""
    root = checked_directory(request.data_dir, "odir")
    table = find_one(root, ("**/*Annotations*.xlsx", "**/full_df.csv"), "ODIR-5K_Training_Annotations*.xlsx")
    rows = read_rows(table)
    folder = find_one(
        root, ("**/ODIR-5K_Training_*/", "**/Training Images", "**/preprocessed_images"), "the photographs"
    )
    images = index_images([folder], recursive=True)
    items: dict[str, Item] = {}
    rejected: list[tuple[str, str]] = []
    for row in rows:
        patient = column(row, ("ID",), table)
        for side, (name_column, words_column) in EYES.items():
            name = column(row, (name_column,), table)
            if name in items:
                continue  # full_df.csv repeats the patient for each eye
            path = images.pop(Path(name).stem.lower(), None)
            words = split_keywords(column(row, (words_column,), table))
            reason = next((word for word in words if word in NO_FUNDUS), "")
            if path is None:
                rejected.append((name, f"{table.name} ({patient}): the photograph is missing"))
            elif reason:
                rejected.append((relative(path, root), f"its keywords say: {reason}"))
            else:
                items[name] = _item(path, root, patient, side, words, f"{table.name} ({name})")
    rejected += [(relative(path, root), f"no row in {table.name}") for path in images.values()]
    yes_no = ("absent", "present")
    return Listing(
        labels={"dr_grade": GRADE_NAMES, "diabetic_retinopathy": yes_no, "glaucoma": yes_no},
        items=list(items.values()),
        rejected=sorted(set(rejected)),
        stratify=("diabetic_retinopathy", "glaucoma"),
        source=SOURCES["odir"].stated(),
    )


def split_keywords(text: str) -> list[str]:
    """Returns the keywords of an eye in lower case; commas may be Latin or full-width."""
    return [" ".join(word.lower().split()) for word in re.split("[,\uff0c]", text) if word.strip()]


def read_labels(words: list[str]) -> Mapping[str, int]:
    """Returns dr_grade, diabetic_retinopathy and glaucoma that an eye's keywords state; -1 where they leave it open."""
    grades = [GRADES[word] for word in words if word in GRADES]
    ill = bool(grades) or UNGRADED in words
    suspected = any(word.startswith("suspected") and "diabetic" in word for word in words)
    grade = max(grades) if grades else -1 if ill or suspected else 0
    glaucoma = 1 if "glaucoma" in words else -1 if "suspected glaucoma" in words else 0
    return {
        "dr_grade": grade,
        "diabetic_retinopathy": 1 if ill else -1 if suspected else 0,
        "glaucoma": glaucoma,
    }


def _item(path: Path, root: Path, patient: str, side: str, words: list[str], where: str) -> Item:
    if not words or not patient:
        raise DatasetError(f"{where}: no diagnostic keywords or no ID. Correct the file.")
    return Item(path.stem, relative(path, root), patient, labels=read_labels(words), laterality=side)
