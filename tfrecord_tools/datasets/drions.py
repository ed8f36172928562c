"""DRIONS-DB: `images/image_001.jpg`, two contours of the disc `experts_anotation/anotExpert1_001.txt` ('x , y').

The disc is the mean of the two contours. Patients are not published.
"""

from __future__ import annotations

from tfrecord_tools.items import Item, Listing, MaskSource, Request
from tfrecord_tools.layout import checked_directory, find_one, list_images, relative
from tfrecord_tools.sources import SOURCES


def listing(request: Request) -> Listing:
    """Lists the photographs with the mask of the optic disc."""
    root = checked_directory(request.data_dir, "drions")
    images = find_one(root, ("images", "**/images"), "images/")
    truth = find_one(root, ("expert*_an*otation*", "**/expert*_an*otation*"), "experts_anotation/")
    items: list[Item] = []
    rejected: list[tuple[str, str]] = []
    for path in list_images(images):
        number = path.stem.rpartition("_")[2]
        contours = [truth / f"anotExpert{expert}_{number}.txt" for expert in (1, 2)]
        missing = [contour.name for contour in contours if not contour.is_file()]
        if missing:
            rejected.append((relative(path, root), f"the contour {missing[0]} is missing"))
            continue
        mask = MaskSource(tuple(relative(contour, root) for contour in contours), "contours")
        items.append(Item(path.stem, relative(path, root), patient=path.stem, masks={"optic_disc": mask}))
    return Listing(
        labels={},
        items=items,
        masks=("optic_disc",),
        rejected=rejected,
        source=SOURCES["drions"].stated(),
    )
