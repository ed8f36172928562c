"""REFUGE 1: Training400 (g0001.jpg, n0001.jpg), Validation400 (V0001.jpg), Test400 (T0001.jpg), unpacked anywhere.

Masks are `Disc_Cup_Masks/**/<name>.bmp`: 0 is cup, 128 disc, 255 neither. Fovea centres (the first pixel counted as 1)
and, for validation and test, the glaucoma label stand in `Fovea_location*.xlsx` and
`Glaucoma_label_and_Fovea_location.xlsx`. The official validation and test sets are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tfrecord_tools.items import DatasetError, Item, LayoutError, Listing, MaskSource, Request
from tfrecord_tools.layout import (
    checked_directory,
    class_index,
    column,
    list_images,
    read_spreadsheet,
    relative,
)
from tfrecord_tools.sources import SOURCES

NAME = re.compile(r"^(?P<part>[gnvt])\d{4}$", re.IGNORECASE)
SPLITS = {"g": "train", "n": "train", "v": "val", "t": "test"}
LABEL_COLUMNS = ("Glaucoma Label", "Label(Glaucoma=1)", "Label")


def listing(request: Request) -> Listing:
    """Reads glaucoma, disc and cup masks and the fovea's centre of each photograph; each is its own patient."""
    root = checked_directory(request.data_dir, "refuge")
    files = [path for path in list_images(root, recursive=True) if NAME.match(path.stem)]
    masks = {path.stem.lower(): path for path in files if "mask" in relative(path.parent, root).lower()}
    photographs = sorted(set(files) - set(masks.values()))
    sheets = sorted(path for path in root.glob("**/*ovea_location*.xlsx") if not path.name.startswith((".", "~")))
    if not photographs or not sheets:
        raise LayoutError(
            f"{root} holds {len(photographs)} REFUGE photographs and {len(sheets)} Fovea_location tables."
        )
    rows = {name: (sheet, row) for sheet in sheets for name, row in _rows_by_name(sheet).items()}
    items: list[Item] = []
    rejected: list[tuple[str, str]] = []
    for path in photographs:
        name = path.stem.lower()
        if name not in rows:
            rejected.append((relative(path, root), f"no row in {', '.join(sheet.name for sheet in sheets)}"))
            continue
        items.append(_item(path, root, masks.get(name), *rows.pop(name)))
    rejected += [(name, f"{sheet.name}: the photograph is missing") for name, (sheet, _) in rows.items()]
    return Listing(
        labels={"glaucoma": ("no glaucoma", "glaucoma")},
        items=items,
        masks=("optic_disc", "optic_cup"),
        centres=("fovea",),
        rejected=rejected,
        source=SOURCES["refuge"].stated(),
    )


def _rows_by_name(sheet: Path) -> dict[str, Mapping[str, str]]:
    return {Path(column(row, ("ImgName",), sheet)).stem.lower(): row for row in read_spreadsheet(sheet)}


def _item(path: Path, root: Path, mask: Path | None, sheet: Path, row: Mapping[str, str]) -> Item:
    part = path.stem[0].lower()
    where = f"{sheet.name} ({path.name})"
    stated = next((row[name] for name in LABEL_COLUMNS if name in row), "")
    label = {"g": 1, "n": 0}.get(part, class_index(stated, 2, where))
    try:
        fovea = tuple(float(column(row, (name,), sheet)) - 1 for name in ("Fovea_X", "Fovea_Y"))
    except ValueError as err:
        raise DatasetError(f"{where}: Fovea_X or Fovea_Y is no number. Correct the file.") from err
    sources = {}
    if mask is not None:
        location = (relative(mask, root),)
        sources = {
            "optic_disc": MaskSource(location, "at_most", 128),
            "optic_cup": MaskSource(location, "at_most", 0),
        }
    return Item(
        image_id=path.stem,
        path=relative(path, root),
        patient=path.stem,
        labels={"glaucoma": label},
        split=SPLITS[part],
        masks=sources,
        centres={"fovea": (fovea[0], fovea[1])},
    )
