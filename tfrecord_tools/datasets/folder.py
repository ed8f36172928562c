"""Folder per class: `DIR/<class>/<photograph>`, or `DIR/{train,val,test}/<class>/<photograph>`, whose split is kept.

The classes are the names of the folders in alphabetical order; the label is called `class`. Names that end in `_left` or
`_right` are taken as eyes of one patient: to keep two strangers together does no harm, to part two eyes does.
"""

from __future__ import annotations

import re
from pathlib import Path

from tfrecord_tools.items import DatasetError, Item, Listing, Request
from tfrecord_tools.layout import checked_directory, list_images, relative

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
EYE = re.compile(r"^(?P<patient>.+)[_-](?P<side>left|right)$", re.IGNORECASE)


def listing(request: Request) -> Listing:
    """Reads the class of each photograph from the name of its folder."""
    root = checked_directory(request.data_dir, "folder")
    tops = _subfolders(root)
    official = {
        folder: SPLIT_NAMES[folder.name.lower()] for folder in tops if folder.name.lower() in SPLIT_NAMES
    }
    if official and len(official) < len(tops):
        odd = sorted(folder.name for folder in tops if folder not in official)
        raise DatasetError(f"{root} mixes splits and other folders ({', '.join(odd)}). Move the others away.")
    parents: dict[Path, str | None] = dict(official) if official else {root: None}
    folders = [(folder, split) for parent, split in parents.items() for folder in _subfolders(parent)]
    names = tuple(sorted({folder.name for folder, _ in folders}))
    if len(names) < 2:
        raise DatasetError(
            f"{root} holds {len(names)} class folders ({', '.join(names)}); two or more are needed."
        )
    items: list[Item] = []
    rejected: list[tuple[str, str]] = []
    for folder, split in folders:
        before = len(items)
        for path in list_images(folder, recursive=True):
            items.append(_item(path, root, names.index(folder.name), split))
        if len(items) == before:
            rejected.append((relative(folder, root), "the class folder holds no photograph"))
    return Listing(
        labels={"class": names},
        items=items,
        rejected=rejected,
        source={
            "title": "folder per class",
            "address": "local files",
            "licence": "as stated by the owner of the files",
        },
    )


def _subfolders(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))


def _item(path: Path, root: Path, index: int, split: str | None) -> Item:
    name = relative(path, root)
    eye = EYE.match(path.stem)
    return Item(
        image_id=name,
        path=name,
        patient=eye["patient"] if eye else name,
        labels={"class": index},
        split=split,
        laterality=eye["side"].lower() if eye else "",
    )
