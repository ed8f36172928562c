"""Your own data: a CSV file with one row per photograph; the names of its columns are given by flags.

  python -m tfrecord_tools.build --dataset=csv --data_dir=PHOTOS --csv=labels.csv --image_column=file \\
      --label_columns=dr_grade,glaucoma --patient_column=patient --mask_columns=optic_disc --out=RECORDS

Paths are relative to --data_dir. Labels are whole numbers from 0 or names; an empty cell is a missing label. A mask file is lit
where the structure is. `split` cells are train, val, test or empty, `laterality` cells left, right or empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dr_edge.data.records import SPLITS
from tfrecord_tools.items import LATERALITIES, DatasetError, Item, Listing, MaskSource, Request
from tfrecord_tools.layout import checked_directory, column, read_table


def listing(request: Request) -> Listing:
    """Reads the rows of request.table["csv"]; see the flags of `tfrecord_tools.build`."""
    root = checked_directory(request.data_dir, "csv")
    columns = request.table
    if not columns.get("csv") or not columns.get("image_column"):
        raise DatasetError("--dataset=csv needs --csv=FILE and --image_column=NAME.")
    labels, masks = list(columns.get("label_columns") or ()), list(columns.get("mask_columns") or ())
    if not labels and not masks:
        raise DatasetError("--dataset=csv needs --label_columns or --mask_columns: what is there to learn?")
    path = Path(str(columns["csv"])).expanduser()
    table = path if path.is_absolute() or path.is_file() else root / path
    rows = read_table(table)
    classes = {
        name: read_classes([column(row, (name,), table) for row in rows], name, table) for name in labels
    }
    items = [_item(row, number, table, columns, classes, masks) for number, row in enumerate(rows, 2)]
    return Listing(
        labels=classes,
        items=items,
        masks=masks,
        source={
            "title": table.name,
            "address": "local files",
            "licence": "as stated by the owner of the files",
        },
    )


def read_classes(values: Sequence[str], name: str, table: Path) -> tuple[str, ...]:
    """Returns the class names of a column: "0" .. "N" where all are whole numbers, else the names in alphabetical order.

    Raises:
      DatasetError: numbers and names mixed, or negative or broken numbers.
    """
    found = sorted({value for value in values if value})
    if not found:
        raise DatasetError(
            f"{table.name}: the label column {name} is empty. Leave it out of --label_columns."
        )
    odd = [value for value in found if _is_number(value) and not _is_whole(value)]
    if odd:
        raise DatasetError(
            f"{table.name}: {name} holds {odd[0]!r}. Labels are whole numbers from 0; missing is empty."
        )
    numbers = [value for value in found if _is_whole(value)]
    if numbers and len(numbers) < len(found):
        names = [value for value in found if value not in numbers]
        raise DatasetError(
            f"{table.name}: {name} mixes numbers and names ({names[0]!r}). Use one or the other."
        )
    if numbers:
        return tuple(str(index) for index in range(max(int(float(value)) for value in numbers) + 1))
    return tuple(found)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _is_whole(value: str) -> bool:
    whole, _, rest = value.partition(".")
    return whole.isascii() and whole.isdigit() and rest.strip("0") == ""


def _item(
    row: Mapping[str, str],
    number: int,
    table: Path,
    columns: Mapping[str, str | Sequence[str]],
    classes: Mapping[str, Sequence[str]],
    masks: Sequence[str],
) -> Item:
    where = f"{table.name}, row {number}"

    def cell(flag: str) -> str:
        return column(row, (str(columns[flag]),), table) if columns.get(flag) else ""

    image, split, side = cell("image_column"), cell("split_column"), cell("laterality_column").lower()
    if not image:
        raise DatasetError(f"{where}: the photograph's name is empty. Remove the row.")
    for value, known, flag in (
        (split, ("", *SPLITS), "split_column"),
        (side, LATERALITIES, "laterality_column"),
    ):
        if value not in known:
            raise DatasetError(
                f"{where} ({image}): unknown {columns[flag]} {value!r}. Known: {', '.join(known)}."
            )
    labels = {}
    for name, names in classes.items():
        value = column(row, (name,), table)
        labels[name] = (
            -1 if not value else int(float(value)) if _is_whole(value) else list(names).index(value)
        )
    files = {name: column(row, (name,), table) for name in masks}
    return Item(
        image_id=image,
        path=image,
        patient=cell("patient_column") or image,
        labels=labels,
        split=split or None,
        laterality=side,
        masks={name: MaskSource((file,), "at_least", 1) for name, file in files.items() if file},
    )
