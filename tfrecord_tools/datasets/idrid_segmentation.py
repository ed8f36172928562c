"""IDRiD, A. Segmentation: lesions and disc `IDRiD_01_MA.tif` in five folders of `2. All Segmentation Groundtruths`.

A photograph without a file for a lesion was looked at and has none: it gets an empty mask. One without a disc mask has
no disc mask.
"""

from __future__ import annotations

from pathlib import Path

from tfrecord_tools.datasets.idrid import SOURCE, official_parts
from tfrecord_tools.items import Item, Listing, MaskSource, Request
from tfrecord_tools.layout import checked_directory, find_one, list_images, relative

# mask name -> (folder, suffix of the file); a lit pixel is 76 or 255, as red or as grey
STRUCTURES = {
    "microaneurysms": ("1. Microaneurysms", "MA"),
    "haemorrhages": ("2. Haemorrhages", "HE"),
    "hard_exudates": ("3. Hard Exudates", "EX"),
    "cotton_wool_spots": ("4. Soft Exudates", "SE"),
    "optic_disc": ("5. Optic Disc", "OD"),
}


def listing(request: Request) -> Listing:
    """Lists the photographs of the official training and test sets with their masks."""
    root = checked_directory(request.data_dir, "idrid_segmentation")
    items: list[Item] = []
    for split, folder, base in official_parts(root, "A. Segmentation"):
        truth = find_one(base, (f"2. All Segmentation Groundtruths/{folder.name}",), f"masks of '{folder.name}'")
        for path in list_images(folder):
            image_id = f"{split}/{path.stem}"
            masks = _masks(path.stem, truth, root)
            items.append(Item(image_id, relative(path, root), patient=image_id, split=split, masks=masks))
    return Listing(labels={}, items=items, masks=tuple(STRUCTURES), source=SOURCE)


def _masks(name: str, truth: Path, root: Path) -> dict[str, MaskSource]:
    masks = {}
    for structure, (folder, suffix) in STRUCTURES.items():
        found = list_images(truth / folder) if (truth / folder).is_dir() else ()
        files = [path for path in found if path.stem.lower() == f"{name}_{suffix}".lower()]
        if files:
            masks[structure] = MaskSource((relative(files[0], root),), "at_least", 1)
        elif structure != "optic_disc":
            masks[structure] = MaskSource(rule="none")
    return masks
