"""The command for a copy of a data set in another layout: renamed tables or columns, pictures in class folders.

Mirrors of published data sets are many and change; what they hold is a table and pictures, or class folders, which
--dataset=csv and --dataset=folder read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dr_edge.next_steps import quoted
from tfrecord_tools.items import DatasetError, Request
from tfrecord_tools.layout import list_images, relative
from tfrecord_tools.own_data.guess import Guess, guess
from tfrecord_tools.own_data.named_files import NamedFiles
from tfrecord_tools.own_data.proposal import build_command
from tfrecord_tools.own_data.split_names import split_of
from tfrecord_tools.own_data.table import Table, find_tables, read_own_table

LOOKED_AT = 200  # names of a table that are looked for in each folder
MASK_FOLDERS = ("mask", "gts", "groundtruth", "segmentation")


def advise(request: Request) -> str:
    """Returns lines with the commands that read what lies in request.data_dir; "" where nothing is recognised."""
    root = request.data_dir
    if root is None or not root.is_dir():
        return ""
    commands = _table_commands(root, request)
    if not commands:
        commands = _folder_commands(root, request)
    if not commands:
        commands = _mask_lines(root, request)
    if not commands:
        return ""
    return "\n".join(
        [
            "Is it another copy of the data? What lies there can be read so (check the columns):",
            *(f"  {line}" for line in commands),
        ]
    )


def _table_commands(root: Path, request: Request) -> list[str]:
    alike: dict[tuple[object, ...], list[Table]] = defaultdict(list)
    guesses: dict[tuple[object, ...], tuple[Guess, Path]] = {}
    files = NamedFiles(root)
    for path in find_tables(root):
        try:
            table = read_own_table(path)
        except DatasetError:
            continue
        found = guess(table, files)
        place = _place(files.without(()), table.values(found.image)[:LOOKED_AT]) if found.image else None
        if place is None or not (found.labels or found.masks):
            continue
        key: tuple[object, ...] = (tuple(table.columns), place)
        if any(split_of(one.path.stem) == split_of(path.stem) for one in alike[key]) or split_of(path.stem) is None:
            key = (path,)
        alike[key].append(table)
        guesses[key] = (found, place)
    lines = []
    for key, tables in alike.items():
        if tables:
            found, place = guesses[key]
            names = [relative(table.path, place) if place == root else str(table.path) for table in tables]
            order = sorted(
                names, key=lambda name: ("train", "val", "test", None).index(split_of(PurePosixPath(name).stem))
            )
            lines.append(build_command(",".join(order), found, place, request))
    return lines


def _place(files: NamedFiles, names: Sequence[str]) -> Path | None:
    """Returns the directory in which the most names are found, each as one file: that of `files`, or a copy's."""
    root = files.root
    found = sum(files.find(name) is not None for name in names)
    if found and not files.ambiguous:
        return root
    folders = sorted({PurePosixPath(file).parent for file in files.files})
    counted = [
        (sum(NamedFiles(root / folder).find(name) is not None for name in names), root / folder)
        for folder in folders[:20]
    ]
    best = max(counted, key=lambda pair: pair[0], default=(0, root))
    return best[1] if best[0] > found else root if found else None


def _folder_commands(root: Path, request: Request) -> list[str]:
    from tfrecord_tools.datasets import folder

    places = [root, *sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))]
    for place in places:
        try:
            folder.listing(Request(place))
        except DatasetError:
            continue
        own = [f"--data_dir={quoted(str(place))}", f"--out={quoted(str(request.out or 'records/own'))}", *request.typed]
        return [" ".join(["python -m tfrecord_tools.build --dataset=folder", *own])]
    return []


def _mask_lines(root: Path, request: Request) -> list[str]:
    """Returns how to write a table of photographs and their masks, where folders of both lie there."""
    photographs: dict[str, str] = {}
    masks: dict[str, str] = {}
    for path in list_images(root, recursive=True):
        name = relative(path, root)
        is_mask = any(word in name.rsplit("/", 1)[0].lower() for word in MASK_FOLDERS)
        (masks if is_mask else photographs).setdefault(path.stem.lower(), name)
    both = sorted(set(photographs) & set(masks))
    if not both:
        return []
    masked = Guess("image", (), (("optic_disc", "mask"), ("optic_cup", "mask")))
    return [
        "Write a table masks.csv with a row per photograph (and a column glaucoma of 0 and 1, if you know it):",
        "  image,mask",
        *(f"  {photographs[name]},{masks[name]}" for name in both[:2]),
        f'{build_command("masks.csv", masked, root, request)} --mask_values="optic_disc<=128,optic_cup=0"',
        (
            "The values are REFUGE's own (0 cup, 128 rim, 255 background); of masks with 1 for the rim and 2 for the"
            ' cup: "optic_disc>=1,optic_cup=2".'
        ),
    ]
