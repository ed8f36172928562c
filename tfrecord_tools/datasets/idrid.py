"""IDRiD, B. Disease Grading: `1. Original Images/{a. Training Set,b. Testing Set}`, a CSV for each in `2. Groundtruths`.

The official test set is kept. Numbers have gaps and start again in each part, so that rows are joined on part and name.
"""

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

OEDEMA_NAMES = ("none", "outside one disc diameter of the fovea", "within one disc diameter of the fovea")
PARTS = (("train", "a. Training Set", "a."), ("test", "b. Testing Set", "b."))
GRADING = "'B. Disease Grading' with '1. Original Images' in it"
SOURCE = {
    "title": "Indian Diabetic Retinopathy Image Dataset (IDRiD)",
    "address": "https://ieee-dataport.org/open-access/indian-diabetic-retinopathy-image-dataset-idrid",
    "licence": "CC BY 4.0 as stated by its publisher",
}


def listing(request: Request) -> Listing:
    """Reads the ICDR grade and the risk of macular oedema; patients are not published, so each photograph is its own."""
    root = checked_directory(request.data_dir, "idrid")
    items: list[Item] = []
    rejected: list[tuple[str, str]] = []
    base = find_one(root, ("**/B. Disease Grading/1. Original Images", "1. Original Images"), GRADING).parent
    for split, folder_name, letter in PARTS:
        folder = find_one(base, (f"1. Original Images/{folder_name}",), f"'1. Original Images/{folder_name}'")
        pattern = f"2. Groundtruths/{letter}*Disease Grading*.csv"
        table = find_one(base, (pattern,), f"grading CSV of '{folder_name}'")
        rows, missing = match_rows(table, read_table(table), ("Image name",), index_images([folder]), root)
        rejected += missing
        for row in rows:
            image_id = f"{split}/{row.path.stem}"
            labels = {
                "dr_grade": class_index(column(row.cells, ("Retinopathy grade",), table), 5, row.where),
                "macular_oedema_risk": class_index(
                    column(row.cells, ("Risk of macular edema",), table), 3, row.where
                ),
            }
            items.append(Item(image_id, relative(row.path, root), image_id, labels=labels, split=split))
    return Listing(
        labels={"dr_grade": GRADE_NAMES, "macular_oedema_risk": OEDEMA_NAMES},
        items=items,
        rejected=rejected,
        source=SOURCE,
    )
