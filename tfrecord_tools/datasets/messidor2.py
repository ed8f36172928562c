"""Messidor-2: `IMAGES/`, `messidor-2.csv` (left;right photographs of one examination), and the adjudicated grades.

The grades are a second download, `messidor_data.csv` (Krause et al., "Grader variability and the importance of
reference standards", Ophthalmology 2018): `image_id, adjudicated_dr_grade, adjudicated_dme, adjudicated_gradable`. Its
names may carry another extension than the photographs.
"""

from __future__ import annotations

import csv
from pathlib import Path

from dr_edge.data.tasks import GRADE_NAMES
from tfrecord_tools.datasets.graded_table import Identity, graded_table
from tfrecord_tools.items import DatasetError, Listing, Request
from tfrecord_tools.layout import checked_directory, class_index, column, find_one
from tfrecord_tools.matching import Row, index_images
from tfrecord_tools.sources import SOURCES

LABELS = {"dr_grade": ("adjudicated_dr_grade", 5), "referable_macular_oedema": ("adjudicated_dme", 2)}


def listing(request: Request) -> Listing:
    """Reads the adjudicated ICDR grade and referable macular oedema; the two eyes of an examination are one patient."""
    root = checked_directory(request.data_dir, "messidor2")
    table = find_one(root, ("**/messidor_data.csv",), "messidor_data.csv, the adjudicated grades")
    pairs = read_pairs(find_one(root, ("**/messidor-2.csv",), "messidor-2.csv, the pairs of eyes"))
    folder = find_one(root, ("IMAGES", "**/IMAGES", "**/images"), "IMAGES/")
    images = index_images([folder], recursive=True)

    def eye(row: Row) -> Identity:
        return Identity(row.path.stem, *pairs.get(row.path.stem.lower(), ()))

    def ungradable(row: Row) -> str:
        gradable = class_index(column(row.cells, ("adjudicated_gradable",), table), 2, row.where)
        return f"{row.where}: ungradable according to its adjudication" if gradable == 0 else ""

    items, rejected = graded_table(
        table, images, root, name="image_id", labels=LABELS, identity=eye, excluded=ungradable
    )
    return Listing(
        labels={"dr_grade": GRADE_NAMES, "referable_macular_oedema": ("absent", "present")},
        items=items,
        rejected=rejected,
        source=SOURCES["messidor2"].stated(),
    )


def read_pairs(path: Path) -> dict[str, tuple[str, str]]:
    """Returns lower-case name without extension -> (examination, side); a header line is skipped.

    Raises:
      DatasetError: a line that is no pair, or a photograph in two examinations.
    """
    eyes: dict[str, tuple[str, str]] = {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        for number, line in enumerate(csv.reader(file, delimiter=";"), 1):
            names = [Path(cell.strip()).stem.lower() for cell in line if cell.strip()]
            if not names or names == ["left", "right"]:
                continue
            if len(names) != 2:
                raise DatasetError(f"{path.name}, line {number}: expected left;right. Received: {';'.join(line)}.")
            for name, side in zip(names, ("left", "right"), strict=True):
                if name in eyes:
                    raise DatasetError(f"{path.name}, line {number}: {name} is in two pairs. Check the download.")
                eyes[name] = (f"examination-{names[0]}", side)
    return eyes
