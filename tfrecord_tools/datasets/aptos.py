"""APTOS 2019 Blindness Detection (Kaggle): `train_images/<id_code>.png`, `train.csv` (`id_code,diagnosis`)."""

from __future__ import annotations

from dr_edge.data.tasks import GRADE_NAMES
from tfrecord_tools.items import Item, Listing, Request
from tfrecord_tools.layout import (
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
    """Reads the ICDR grade of each photograph; patients are not published, so each photograph is its own."""
    root = checked_directory(request.data_dir, "aptos")
    table = find_one(root, ("train.csv", "*/train.csv"), "train.csv")
    folder = find_one(root, ("train_images", "*/train_images"), "train_images/")
    rows, rejected = match_rows(
        table, read_table(table), ("id_code",), index_images([folder], recursive=True), root
    )
    items = [
        Item(
            image_id=row.name,
            path=relative(row.path, root),
            patient=row.name,
            labels={"dr_grade": class_index(column(row.cells, ("diagnosis",), table), 5, row.where)},
        )
        for row in rows
    ]
    return Listing(
        labels={"dr_grade": GRADE_NAMES},
        items=items,
        rejected=rejected,
        source={
            "title": "APTOS 2019 Blindness Detection",
            "address": "https://www.kaggle.com/c/aptos2019-blindness-detection",
            "licence": "Kaggle competition rules",
        },
    )
