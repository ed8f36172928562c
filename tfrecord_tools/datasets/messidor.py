"""Messidor: twelve archives Base11 .. Base34 of TIFFs, each with `Annotation_BaseNN.xls`, unpacked anywhere below.

The retinopathy grade is Messidor's own, 0-3, not the ICDR scale, and therefore a label of its own. Patients are not
published. The doubles in Base33 need no list: exact duplicates are found in every data set.
"""

from __future__ import annotations

import dataclasses

from tfrecord_tools.datasets.graded_table import graded_table
from tfrecord_tools.datasets.idrid import OEDEMA_NAMES
from tfrecord_tools.items import DatasetError, Item, Listing, Request
from tfrecord_tools.layout import checked_directory, relative
from tfrecord_tools.matching import index_images
from tfrecord_tools.sources import SOURCES

GRADE_NAMES = (
    "0: nothing",
    "1: 1-5 microaneurysms",
    "2: more, few haemorrhages",
    "3: many, or neovascularisation",
)
LABELS = {"messidor_grade": ("Retinopathy grade", 4), "macular_oedema_risk": ("Risk of macular edema", 3)}
# Corrections to the annotation files that the publisher lists on the page of the data set.
ERRATA = {
    "20051020_63045_0100_PP": 0,
    "20051020_63936_0100_PP": 1,
    "20051020_64007_0100_PP": 3,
    "20060523_48477_0100_PP": 3,
}


def listing(request: Request) -> Listing:
    """Reads Messidor's retinopathy grade and the risk of macular oedema of each photograph."""
    root = checked_directory(request.data_dir, "messidor")
    tables = sorted(path for path in root.glob("**/*nnotation*ase*.xls*") if not path.name.startswith((".", "~")))
    if not tables:
        raise DatasetError(f"{root} holds no Annotation_BaseNN.xls. Download them beside the twelve Base archives.")
    images = index_images([root], recursive=True)
    items: list[Item] = []
    rejected: list[tuple[str, str]] = []
    for table in tables:
        found, missing = graded_table(table, images, root, name="Image name", labels=LABELS, leftovers=False)
        items += [_corrected(item) for item in found]
        rejected += missing
    rejected += [(relative(path, root), "no row in any Annotation_Base table") for path in images.values()]
    return Listing(
        labels={"messidor_grade": GRADE_NAMES, "macular_oedema_risk": OEDEMA_NAMES},
        items=items,
        rejected=rejected,
        source=SOURCES["messidor"].stated(),
    )


def _corrected(item: Item) -> Item:
    grade = ERRATA.get(item.image_id, item.labels["messidor_grade"])
    return dataclasses.replace(item, labels={**item.labels, "messidor_grade": grade})
