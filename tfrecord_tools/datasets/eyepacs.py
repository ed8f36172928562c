"""EyePACS (Kaggle, Diabetic Retinopathy Detection, 2015): `train/<patient>_<left|right>.jpeg`, `trainLabels.csv`.

The test part (`test/`, `retinopathy_solution.csv`) is read as the official test split where it is there.
"""

from __future__ import annotations

from dr_edge.data.tasks import GRADE_NAMES
from tfrecord_tools.datasets.graded_table import Identity, graded_table
from tfrecord_tools.items import DatasetError, Item, Listing, Request
from tfrecord_tools.layout import checked_directory, find_one
from tfrecord_tools.matching import Row, index_images
from tfrecord_tools.on_disk import DiskList
from tfrecord_tools.sources import SOURCES


def listing(request: Request) -> Listing:
    """Reads the ICDR grade of each eye; the patient is the number before `_left` or `_right`."""
    root = checked_directory(request.data_dir, "eyepacs")
    train = find_one(root, ("trainLabels.csv", "**/trainLabels*.csv"), "trainLabels.csv")
    official = sorted(root.glob("**/retinopathy_solution.csv"))
    parts = [("train", train, "train" if official else None)] + [("test", table, "test") for table in official[:1]]
    items: DiskList[Item] = DiskList()
    rejected: DiskList[tuple[str, str]] = DiskList()
    for folder_name, table, split in parts:
        folder = find_one(root, (folder_name, f"*/{folder_name}"), f"{folder_name}/ with photographs")
        images = index_images([folder], recursive=True)
        found, missing = graded_table(
            table, images, root, name="image", labels={"dr_grade": ("level", 5)}, identity=_eye, split=split
        )
        items.extend(found)
        rejected.extend(missing)
    return Listing(
        labels={"dr_grade": GRADE_NAMES},
        items=items,
        rejected=rejected,
        source=SOURCES["eyepacs"].stated(),
    )


def _eye(row: Row) -> Identity:
    patient, _, side = row.name.rpartition("_")
    if not patient or side not in ("left", "right"):
        raise DatasetError(f"{row.where}: the name is not <patient>_left or <patient>_right. Correct the file.")
    return Identity(row.name, patient, side)
