"""IDRiD, B. Disease Grading: `1. Original Images/{a. Training Set,b. Testing Set}`, a CSV each in `2. Groundtruths`.

The official test set is kept. Numbers have gaps and start again in each part, so that rows are joined on part and name.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from dr_edge.data.tasks import GRADE_NAMES
from tfrecord_tools.datasets.graded_table import Identity, graded_table
from tfrecord_tools.items import Item, Listing, Request
from tfrecord_tools.layout import checked_directory, find_one
from tfrecord_tools.matching import Row, index_images
from tfrecord_tools.sources import SOURCES

OEDEMA_NAMES = ("none", "outside one disc diameter of the fovea", "within one disc diameter of the fovea")
PARTS = (("train", "a. Training Set"), ("test", "b. Testing Set"))
LABELS = {"dr_grade": ("Retinopathy grade", 5), "macular_oedema_risk": ("Risk of macular edema", 3)}
SOURCE = SOURCES["idrid"].stated()  # of its three readers


def official_parts(root: Path, task: str) -> Iterator[tuple[str, Path, Path]]:
    """Yields (split, folder of photographs, folder of the task) of the training and the test set.

    Args:
      root: the data directory.
      task: the folder of one of IDRiD's three tasks, for example "B. Disease Grading".

    Raises:
      LayoutError: a folder is missing.
    """
    patterns = (f"**/{task}/1. Original Images", "1. Original Images")
    base = find_one(root, patterns, f"'{task}' with '1. Original Images' in it").parent
    for split, name in PARTS:
        yield split, find_one(base, (f"1. Original Images/{name}",), f"'1. Original Images/{name}'"), base


def listing(request: Request) -> Listing:
    """Reads the ICDR grade and the risk of macular oedema; patients are unpublished: each photograph is its own."""
    root = checked_directory(request.data_dir, "idrid")
    items: list[Item] = []
    rejected: list[tuple[str, str]] = []
    for split, folder, base in official_parts(root, "B. Disease Grading"):
        pattern = f"2. Groundtruths/{folder.name[:2]}*Disease Grading*.csv"
        found, missing = graded_table(
            find_one(base, (pattern,), f"grading CSV of '{folder.name}'"),
            index_images([folder]),
            root,
            name="Image name",
            labels=LABELS,
            identity=functools.partial(_in_part, split),
            split=split,
        )
        items += found
        rejected += missing
    return Listing(
        labels={"dr_grade": GRADE_NAMES, "macular_oedema_risk": OEDEMA_NAMES},
        items=items,
        rejected=rejected,
        source=SOURCE,
    )


def _in_part(split: str, row: Row) -> Identity:
    return Identity(f"{split}/{row.path.stem}")
