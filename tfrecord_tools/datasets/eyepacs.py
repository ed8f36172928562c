"""EyePACS (Kaggle, Diabetic Retinopathy Detection, 2015): `train/<patient>_<left|right>.jpeg`, `trainLabels.csv`.

The test part (`test/`, `retinopathy_solution.csv`) is read as the official test split where it is there.
"""

from __future__ import annotations

from pathlib import Path

from dr_edge.data.tasks import GRADE_NAMES
from tfrecord_tools.items import DatasetError, Item, Listing, Request
from tfrecord_tools.layout import (
    Row,
    checked_directory,
    class_index,
    column,
    find_one,
    index_images,
    match_rows,
    read_table,
    relative,
)


def listing(request: Request) -> Listing:
    """Reads the ICDR grade of each eye; the patient is the number before `_left` or `_right`."""
    root = checked_directory(request.data_dir, "eyepacs")
    train = find_one(root, ("trainLabels.csv", "**/trainLabels*.csv"), "trainLabels.csv")
    official = sorted(root.glob("**/retinopathy_solution.csv"))
    parts = [("train", train, "train" if official else None)] + [
        ("test", table, "test") for table in official[:1]
    ]
    items: list[Item] = []
    rejected: list[tuple[str, str]] = []
    for folder_name, table, split in parts:
        folder = find_one(root, (folder_name, f"*/{folder_name}"), f"{folder_name}/ with photographs")
        images = index_images([folder], recursive=True)
        rows, missing = match_rows(table, read_table(table), ("image",), images, root)
        items += [_item(row, table, root, split) for row in rows]
        rejected += missing
    return Listing(
        labels={"dr_grade": GRADE_NAMES},
        items=items,
        rejected=rejected,
        source={
            "title": "EyePACS, Kaggle Diabetic Retinopathy Detection (2015)",
            "address": "https://www.kaggle.com/c/diabetic-retinopathy-detection",
            "licence": "Kaggle competition rules",
        },
    )


def _item(row: Row, table: Path, root: Path, split: str | None) -> Item:
    patient, _, side = row.name.rpartition("_")
    if not patient or side not in ("left", "right"):
        raise DatasetError(
            f"{row.where}: the name is not <patient>_left or <patient>_right. Correct the file."
        )
    grade = class_index(column(row.cells, ("level",), table), 5, row.where)
    path = relative(row.path, root)
    return Item(row.name, path, patient, labels={"dr_grade": grade}, split=split, laterality=side)
