"""Drishti-GS1: `Training` and `Test` photographs with soft maps of disc and cup by four experts.

Maps are `*_ODsegSoftmap.png` and `*_cupsegSoftmap.png`: 0, 64, 128, 191, 255 for none to all four; a structure is where
at least two agree. Folders differ between copies: photographs in `Images` or below it, truth in `GT` or `Test_GT`.
Glaucoma and the patient are read from `Drishti-GS1_diagnosis.xlsx` where it is there. The official test set is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tfrecord_tools.items import DatasetError, Item, Listing, MaskSource, Request
from tfrecord_tools.layout import checked_directory, find_one, list_images, read_spreadsheet, relative
from tfrecord_tools.sources import SOURCES

PARTS = (("train", "Training"), ("test", "Test"))
STRUCTURES = {"optic_disc": "ODsegSoftmap", "optic_cup": "cupsegSoftmap"}
TWO_OF_FOUR = 128
DIAGNOSES = {"normal": 0, "glaucomatous": 1}


def listing(request: Request) -> Listing:
    """Lists the photographs with the masks of disc and cup and the disc's centre."""
    root = checked_directory(request.data_dir, "drishti")
    sheets = sorted(root.glob("**/Drishti-GS1_diagnosis.xls*"))
    diagnoses = read_diagnoses(sheets[0]) if sheets else {}
    items: list[Item] = []
    for split, part in PARTS:
        base = find_one(root, (part, f"**/{part}"), f"{part}/")
        truth = find_one(base, ("*GT",), f"{part}/GT or {part}/{part}_GT")
        for path in list_images(find_one(base, ("Images",), f"{part}/Images"), recursive=True):
            patient, label = diagnoses.get(path.stem.lower(), (path.stem, -1))
            folder = truth / path.stem
            items.append(
                Item(
                    image_id=path.stem,
                    path=relative(path, root),
                    patient=patient,
                    labels={"glaucoma": label} if sheets else {},
                    split=split,
                    masks=_masks(folder, path.stem, root),
                    centres=_centres(folder / "AvgBoundary" / f"{path.stem}_diskCenter.txt"),
                )
            )
    return Listing(
        labels={"glaucoma": ("no glaucoma", "glaucoma")} if sheets else {},
        items=items,
        masks=tuple(STRUCTURES),
        centres=("optic_disc",),
        source=SOURCES["drishti"].stated(),
    )


def _masks(folder: Path, name: str, root: Path) -> dict[str, MaskSource]:
    files = {structure: folder / "SoftMap" / f"{name}_{suffix}.png" for structure, suffix in STRUCTURES.items()}
    return {
        structure: MaskSource((relative(path, root),), "at_least", TWO_OF_FOUR)
        for structure, path in files.items()
        if path.is_file()
    }


def _centres(path: Path) -> dict[str, tuple[float, float]]:
    """Reads the disc's centre, written as row and column."""
    if not path.is_file():
        return {}
    try:
        row, column = (float(part) for part in path.read_text(encoding="utf-8").split())
    except (ValueError, UnicodeDecodeError) as err:
        raise DatasetError(f"{path} does not hold a row and a column. Check the download.") from err
    return {"optic_disc": (column, row)}


def read_diagnoses(sheet: Path) -> Mapping[str, tuple[str, int]]:
    """Returns lower-case photograph name -> (patient, glaucoma); names end in an apostrophe, the head has many lines.

    Raises:
      DatasetError: a diagnosis that is neither normal nor glaucomatous.
    """
    found = {}
    for row in read_spreadsheet(sheet, header="Drishti-GS File"):
        name = row["Drishti-GS File"].strip(" '\u2019").lower()
        total = row.get("Total", "").lower()
        if not name:
            continue
        if total not in DIAGNOSES:
            raise DatasetError(f"{sheet.name} ({name}): unknown diagnosis {total!r}. Known: {', '.join(DIAGNOSES)}.")
        found[name] = (row.get("Patient ID") or name, DIAGNOSES[total])
    return found
