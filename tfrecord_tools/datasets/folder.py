"""Folder per class: `DIR/<class>/<photograph>`.

Also `DIR/{train,val,test}/<class>/...` or `DIR/<class>/{train,val,test}/...`, whose split is kept.

The classes are the names of the folders that hold photographs, in alphabetical order; the label is called `class`.
Folders named after the five grades of DR give `dr_grade`, too. Eyes of one patient are told by their names, see
`own_data/eyes.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dr_edge.data.grades import grade_in_words
from dr_edge.data.tasks import GRADE_NAMES
from tfrecord_tools.grouping import Texts
from tfrecord_tools.items import NO_TEXT, DatasetError, Item, LayoutError, Listing, Request, is_text, readable
from tfrecord_tools.layout import NOT_PHOTOGRAPHS, checked_directory, list_images, relative
from tfrecord_tools.on_disk import DiskList, Seen
from tfrecord_tools.own_data.class_folders import check_no_classes
from tfrecord_tools.own_data.class_names import (
    DR_GRADE,
    check_spellings,
    is_icdr,
    plain,
    read_classes,
    whole_number,
)
from tfrecord_tools.own_data.eyes import SIDES, Eye, group_eyes, patients_in_words
from tfrecord_tools.own_data.split_names import split_of
from tfrecord_tools.sources import SOURCES

SHOWN = 5
MASK_FOLDERS = ("mask", "gt", "groundtruth", "segmentation", "annotation")  # without a plural s
FEW_EACH = 3  # photographs of a patient in one class
MOST_CLASSES = 8  # more folders of the same names below all classes are patients


class _Photograph(NamedTuple):
    """A photograph below a class folder."""

    path: str  # relative to the data directory
    name: str  # of its class folder
    below: str  # its path below the class folder
    split: str | None


def listing(request: Request) -> Listing:
    """Reads the class of each photograph from the name of its folder."""
    root = checked_directory(request.data_dir, "folder")
    rejected: dict[str, str] = {}
    notes: list[str] = []
    found: DiskList[_Photograph] = DiskList()
    for parent, split in _parents(root, rejected, notes):
        for folder in _holding_folders(parent, root, rejected):
            found.extend(_photographs(folder, split, root, rejected))
    counts = Counter(photograph.name for photograph in found)
    names = tuple(sorted(counts))
    if len(names) < 2:
        odd = [readable(file) for file, reason in rejected.items() if reason == NO_TEXT]
        raise LayoutError(
            f"{root} holds {len(names)} class folders with photographs ({', '.join(names)}); two or more are needed: "
            f"{root.name}/<class>/<photograph>."
            + (
                f" {len(odd)} more lie under names that are no UTF-8 text, such as {odd[0]}: rename them."
                if odd
                else ""
            )
        )
    masks = [name for name in names if plain(name).rstrip("s") in MASK_FOLDERS]
    if masks:
        raise LayoutError(
            f"{root} holds a folder of masks ({masks[0]}), which is no class. Photographs with masks are read by "
            "--dataset=csv and --mask_columns."
        )
    check_no_classes(names, root)
    notes += check_spellings(counts, f"the class folders of {root}")
    notes += _numbered(counts, root)
    photographs = _splits_below(found, root)
    _check_level(photographs, root)
    notes += _sub_folders(photographs)
    eyes = group_eyes(Seen(photographs, lambda photograph: photograph.below))
    labels: dict[str, tuple[str, ...]] = {"class": names}
    if is_icdr(names):
        labels[DR_GRADE] = GRADE_NAMES
        said = ", ".join(
            f"{name} = {grade_in_words(name)}" for name in sorted(names, key=lambda name: grade_in_words(name) or 0)
        )
        notes.append(f"The folders are named after grades of DR, so each photograph has a dr_grade, too: {said}.")
    return Listing(
        labels=labels,
        items=DiskList(_item(photo, labels, eye) for photo, eye in zip(photographs, eyes, strict=True)),
        rejected=list(rejected.items()),
        patients=patients_in_words(eyes),
        notes=notes,
        source=SOURCES["folder"].stated(),
    )


def _numbered(counts: Counter[str], root: Path) -> list[str]:
    """Returns what is to be said of class folders that are called by numbers.

    Raises:
      DatasetError: gaps beyond reason, or one number in two forms.
    """
    numbers = [whole_number(name) for name in counts]
    if None in numbers:
        return []
    if len(set(numbers)) < len(numbers):
        raise DatasetError(
            f"{root} holds one number in two forms: {', '.join(sorted(counts))}. Put each class into one folder."
        )
    read_classes(list(counts.elements()), "class", f"the class folders of {root}")  # refuses 0, 1, 999
    absent = [str(number) for number in range(max(n for n in numbers if n is not None)) if number not in numbers]
    notes = [f"The class folders are called by numbers, and {', '.join(absent)} is not among them."] if absent else []
    if len(numbers) > 2 and set(numbers) <= set(range(len(GRADE_NAMES))):
        names = ", ".join(f"{number}: {GRADE_NAMES[number]}" for number in sorted(n for n in numbers if n is not None))
        notes.append(
            f"If the folders are ICDR grades, call them so ({names}): then they give dr_grade, of which referable DR is"
            " made."
        )
    return notes


def _parents(root: Path, rejected: dict[str, str], notes: list[str]) -> list[tuple[Path, str | None]]:
    """Returns the directories that hold class folders, with their official split.

    Raises:
      DatasetError: folders of splits and others side by side.
    """
    parent = _unwrapped(root, root, rejected, notes)
    tops = _holding_folders(parent, root, rejected)
    official = {folder: split for folder in tops if (split := split_of(folder.name))}
    if official and len(official) < len(tops):
        odd = sorted(folder.name for folder in tops if folder not in official)
        raise DatasetError(f"{parent} mixes splits and other folders ({', '.join(odd)}). Move the others away.")
    if not official:
        return [(parent, None)]
    return [(_unwrapped(folder, root, rejected, notes), split) for folder, split in official.items()]


def _unwrapped(parent: Path, root: Path, rejected: dict[str, str], notes: list[str]) -> Path:
    """Returns the first directory from `parent` down that is more than a wrapping around one folder of folders."""
    while True:
        folders = _holding_folders(parent, root, {})
        if len(folders) != 1 or any(list_images(parent)) or any(list_images(folders[0])):
            return parent
        inner = _holding_folders(folders[0], root, {})
        if len(inner) == 1 and any(list_images(inner[0])):
            return parent
        _holding_folders(parent, root, rejected)
        parent = folders[0]
        notes.append(f"The class folders were taken from {relative(parent, root)}/, the only folder there.")


def _holding_folders(directory: Path, root: Path, rejected: dict[str, str]) -> list[Path]:
    """Returns the visible subfolders that hold a photograph at any depth; the others go to `rejected`.

    Photographs under a folder whose name is no text go there one by one: it can be called neither a class nor a split.
    """
    found = []
    for path in sorted(directory.iterdir()):
        if not path.is_dir() or path.name.startswith("."):
            continue
        if path.name in NOT_PHOTOGRAPHS:
            rejected.setdefault(relative(path, root), "made by an archiver or a file server; not a class")
        elif not any(list_images(path, recursive=True)):
            rejected.setdefault(relative(path, root), "the folder holds no photograph; not a class")
        elif is_text(path.name):
            found.append(path)
        else:
            rejected.update((relative(one, root), NO_TEXT) for one in list_images(path, recursive=True))
    return found


def _photographs(folder: Path, split: str | None, root: Path, rejected: dict[str, str]) -> Iterator[_Photograph]:
    """Yields the photographs of a class; those whose name is no text go to `rejected`."""
    for path in list_images(folder, recursive=True):
        name, place = relative(path, folder), relative(path, root)
        if is_text(name):
            yield _Photograph(place, folder.name, name, split)
        else:
            rejected[place] = NO_TEXT


def _first_folder(photo: _Photograph) -> str:
    """Returns the folder of a photograph below that of its class; "" where it lies in that itself."""
    return photo.below.split("/")[0] if "/" in photo.below else ""


def _splits_below(photographs: Sequence[_Photograph], root: Path) -> Sequence[_Photograph]:
    """Reads the split from <class>/{train,val,test}/...

    Raises:
      DatasetError: only some photographs lie in such folders.
    """
    one = next((first for first in map(_first_folder, photographs) if split_of(first)), None)
    if one is None:
        return photographs
    odd = next((photo for photo in photographs if not split_of(_first_folder(photo)) or photo.split is not None), None)
    if odd is not None:
        raise DatasetError(
            f"{root}: some class folders have sub-folders for splits ({one}), but not "
            f"{odd.path}. Put each photograph into train, val or test, or none."
        )

    def with_split(photo: _Photograph) -> _Photograph:
        return photo._replace(split=split_of(_first_folder(photo)), below=photo.below.split("/", 1)[1])

    return Seen(photographs, with_split)


def _check_level(photographs: Sequence[_Photograph], root: Path) -> None:
    """Raises DatasetError where the classes seem to lie one level deeper: {hospital_a,hospital_b}/{healthy,sick}."""
    if not all(map(_folder_below, photographs)):
        return
    below = DiskList((photo.name, _folder_below(photo)) for photo in photographs)
    classes = sorted({name for name, _ in below})
    each = [Texts(folder for name, folder in below if name == one) for one in classes]
    common: set[str] = set()
    for _, folder in below:
        if folder not in common and all(folder in one for one in each):
            common.add(folder)
            if len(common) > MOST_CLASSES:
                return
    alike = len(common) >= 2 and len(common) * 2 >= len(Texts(folder for _, folder in below))
    few = len(common) > 2 and len(photographs) <= FEW_EACH * sum(map(len, each))
    # Eyes of patients that are seen in both classes.
    eyes = few and any(eye.side for eye in group_eyes(Seen(photographs, lambda photo: photo.below)))
    if not alike or eyes:
        return
    tops = ", ".join(classes[:SHOWN])
    first, top = min(common), classes[0]
    raise DatasetError(
        f"{root}: the folders {tops} all hold folders of the same names ({', '.join(sorted(common)[:SHOWN])}). Classes "
        f"must be on top: if the inner ones are the classes, move their photographs to {first}/{top}/ and so on; if "
        "not, give each a name of its own."
    )


def _folder_below(photo: _Photograph) -> str:
    """Returns what the folder below that of the class is called, however that is spelled; "" of a side, and of none."""
    first = _first_folder(photo)
    return "" if first.casefold() in SIDES else plain(first)


def _sub_folders(photographs: Sequence[_Photograph]) -> list[str]:
    """Returns a note for each class of two or more named sub-folders, unless so many that each is a patient."""
    parts: dict[str, Counter[str]] = {}
    for photo in photographs:
        counted, part = parts.setdefault(photo.name, Counter()), _first_folder(photo)
        if part and part.casefold() not in SIDES and (part in counted or len(counted) <= SHOWN):
            counted[part] += 1
    notes = []
    for name, counted in sorted(parts.items()):
        if 2 <= len(counted) <= SHOWN and min(counted.values()) > 2:
            listed = ", ".join(f"{part} ({count})" for part, count in sorted(counted.items()))
            notes.append(f"Class {name!r} takes in the photographs of its sub-folders: {listed}. They are one class.")
    return notes


def _item(photo: _Photograph, labels: dict[str, tuple[str, ...]], eye: Eye) -> Item:
    name = photo.path
    values = {"class": labels["class"].index(photo.name)}
    if DR_GRADE in labels:
        values[DR_GRADE] = grade_in_words(photo.name) or 0
    return Item(
        image_id=name,
        path=name,
        patient=eye.patient if eye.told else name,
        labels=values,
        split=photo.split,
        laterality=eye.side,
    )
