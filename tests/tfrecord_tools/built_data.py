"""Lists and reads what an adapter made of a data set, and writes the tables that come with one."""

from __future__ import annotations

from pathlib import Path

import openpyxl

from tfrecord_tools.catalogue import list_dataset
from tfrecord_tools.items import Item, Listing, Request
from tfrecord_tools.reading import Example, read_examples


def listed(name: str, root: Path, **rest) -> tuple[Listing, dict[str, Item]]:
    listing = list_dataset(name, Request(root, **rest))
    return listing, {item.image_id: item for item in listing.items}


def built(records: Path) -> dict[str, tuple[str, Example]]:
    """image id -> (split, example)"""
    found = {}
    for split in ("train", "val", "test"):
        if list(records.glob(f"{split}-*")):
            found |= {example.text("image/id"): (split, example) for example in read_examples(records, split)}
    return found


def save_sheet(path: Path, rows: list[list]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path
