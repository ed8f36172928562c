"""APTOS 2019 Blindness Detection (Kaggle): `train_images/<id_code>.png`, `train.csv` (`id_code,diagnosis`)."""

from __future__ import annotations

from dr_edge.data.tasks import GRADE_NAMES
from tfrecord_tools.datasets.graded_table import Identity, graded_table
from tfrecord_tools.items import Listing, Request
from tfrecord_tools.layout import checked_directory, find_one
from tfrecord_tools.matching import index_images
from tfrecord_tools.sources import SOURCES


def listing(request: Request) -> Listing:
    """Reads the ICDR grade of each photograph; patients are not published, so each photograph is its own."""
    root = checked_directory(request.data_dir, "aptos")
    table = find_one(root, ("train.csv", "*/train.csv"), "train.csv")
    folder = find_one(root, ("train_images", "*/train_images"), "train_images/")
    items, rejected = graded_table(
        table,
        index_images([folder], recursive=True),
        root,
        name="id_code",
        labels={"dr_grade": ("diagnosis", 5)},
        identity=lambda row: Identity(row.name),
    )
    return Listing(
        labels={"dr_grade": GRADE_NAMES},
        items=items,
        rejected=rejected,
        source=SOURCES["aptos"].stated(),
    )
