"""Your own data: a CSV file or spreadsheet with one row per photograph; the names of its columns are given by flags.

  python -m tfrecord_tools.build --dataset=csv --data_dir=PHOTOS --csv=labels.csv --image_column=file \\
      --label_columns="dr_grade=DR grade,glaucoma" --patient_column=patient --out=RECORDS
  python -m tfrecord_tools.build --dataset=csv --data_dir=PHOTOS --csv=labels.csv --image_column=file \\
      --mask_columns=optic_disc=mask,optic_cup=mask --mask_values="optic_disc>=1,optic_cup=2" --out=RECORDS

Paths are relative to --data_dir; names without folder or extension are found where one file can be meant. Labels are whole
numbers from 0 or names; an empty cell is a missing label. A label called dr_grade is the ICDR scale, which referable DR is
made of. A mask is lit where the structure is, or has the grey levels of --mask_values. `split` cells are train, val, test or
empty, `laterality` cells left, right, OD, OS or empty. Without a patient column, eyes of one patient are told by their names.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tfrecord_tools import columns as columns_lib
from tfrecord_tools import mask_files, patients
from tfrecord_tools.class_names import DR_GRADE, is_icdr, read_classes
from tfrecord_tools.eyes import Eye, patients_in_words, side_of
from tfrecord_tools.items import DatasetError, Item, Listing, MaskSource, Request, split_of
from tfrecord_tools.layout import checked_directory
from tfrecord_tools.named_files import NamedFiles
from tfrecord_tools.tables import Table, find_tables, read_own_table, table_paths

SINGLE = ("image_column", "patient_column", "split_column", "laterality_column")


@dataclasses.dataclass(frozen=True)
class _Row:
    """A row of a table with the file that it names ("" where there is none)."""

    where: str
    name: str
    cells: Mapping[str, str]
    file: str
    split: str | None


def listing(request: Request) -> Listing:
    """Reads the rows of request.table["csv"]; see the flags of `tfrecord_tools.build`."""
    root = checked_directory(request.data_dir, "csv")
    tables, given = _read_tables(request, root)
    columns = {name: str(request.table.get(name) or "") for name in SINGLE}
    labels, masks, values = _check_flags(request, root, tables, given, columns)
    first = tables[0]
    found = {flag: columns_lib.find_column(first.columns, name) or "" for flag, name in columns.items() if name}
    notes = [note for table in tables for note in table.notes]
    classes, indices, label_notes = _labels(tables, labels)
    sources, mask_notes, mask_files_named = _masks(tables, masks, values, root)
    rows, rejected, row_notes = _rows(tables, found, root, mask_files_named)
    column = found.get("patient_column", "")
    eyes, patient_notes = patients.told([row.file for row in rows], [row.name for row in rows], [_cell(row, column) for row in rows] if column else None, column)
    items = [
        _item(row, found, labels, indices, sources[row.where], eye) for row, eye in zip(rows, eyes, strict=True)
    ]
    unused = "" if "patient_column" in found else columns_lib.unused_patient_column(first, root)
    return Listing(
        labels=classes,
        items=items,
        masks=list(masks),
        rejected=rejected,
        patients=patients_in_words(eyes, found.get("patient_column", ""), table=True),
        notes=[*notes, *row_notes, *mask_notes, *label_notes, *patient_notes, *([unused] if unused else [])],
        source={
            "title": ", ".join(table.path.name for table in tables),
            "address": "local files",
            "licence": "as stated by the owner of the files",
        },
    )


def _read_tables(request: Request, root: Path) -> tuple[list[Table], str]:
    """Returns the tables that --csv names, or else the one that lies in the data directory, and how to name them.

    Raises:
      DatasetError: no such file, or no table and several that could be meant.
    """
    given = str(request.table.get("csv") or "")
    wanted = [str(request.table.get(name)) for name in ("image_column",) if request.table.get(name)]
    if given:
        paths = table_paths(given, root)
        absent = [str(path) for path in paths if not path.is_file()]
        if absent:
            raise DatasetError(f"--csv={given}: {absent[0]} is no file. {_tables_there(root)}")
        return [read_own_table(path, wanted) for path in paths], given
    there = find_tables(root)
    if len(there) == 1:
        return [read_own_table(there[0], wanted)], there[0].relative_to(root).as_posix()
    raise DatasetError(f"--dataset=csv needs --csv=FILE and --image_column=NAME. {_tables_there(root)}")


def _tables_there(root: Path) -> str:
    names = [path.relative_to(root).as_posix() for path in find_tables(root)]
    return f"Tables in {root}: {', '.join(names[:10])}." if names else f"{root} holds no table (.csv, .tsv, .xlsx, .xls)."


def _check_flags(
    request: Request, root: Path, tables: Sequence[Table], given: str, columns: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str], dict[str, tuple[int, int]]]:
    """Returns label -> column, mask -> column, and mask -> grey levels.

    Raises:
      DatasetError: flags that are missing, all of them at once, or columns that a table lacks.
    """
    table = tables[0]
    labels = columns_lib.named_columns(_entries(request, "label_columns"), table.columns)
    masks = columns_lib.named_columns(_entries(request, "mask_columns"), table.columns)
    lacking = [] if request.table.get("csv") else ["--csv=FILE"]
    lacking += [] if columns["image_column"] else ["--image_column=NAME"]
    lacking += [] if labels or masks else ["--label_columns or --mask_columns (what is there to learn?)"]
    if lacking:
        raise columns_lib.ask(f"--dataset=csv needs {', '.join(lacking)}.", table, root, given, request)
    for one in tables:
        absent = columns_lib.missing_columns(columns, one)
        absent += [f"--{flag} {column}" for flag, named in (("label_columns", labels), ("mask_columns", masks))
                   for column in named.values() if columns_lib.find_column(one.columns, column) is None]  # fmt: skip
        if absent:
            raise columns_lib.ask(
                f"{one.path.name} has no column for {', '.join(absent)}; it has {', '.join(one.columns)}.", one, root, given, request
            )
    try:
        values = mask_files.parse_values(_entries(request, "mask_values"))
    except mask_files.MaskError as err:
        raise DatasetError(str(err)) from err
    strange = sorted(set(values) - set(masks))
    if strange:
        raise DatasetError(f"--mask_values names {strange[0]}, which --mask_columns does not ({', '.join(masks) or 'it is empty'}).")
    return labels, masks, values


def _entries(request: Request, flag: str) -> list[str]:
    value = request.table.get(flag) or ()
    return [value] if isinstance(value, str) else list(value)


def _masks(
    tables: Sequence[Table], masks: Mapping[str, str], values: Mapping[str, tuple[int, int]], root: Path
) -> tuple[dict[str, dict[str, MaskSource]], list[str], set[str]]:
    """Returns the masks of each row (by its place), notes, and the files that are masks.

    Raises:
      DatasetError: one file under two columns without grey levels, or names that mean several files.
    """
    files = NamedFiles(root)
    sources: dict[str, dict[str, MaskSource]] = {}
    taken: set[str] = set()
    for table in tables:
        for number, cells in table.rows:
            where = _where(table, number)
            named = {name: cells[columns_lib.find_column(table.columns, column) or ""] for name, column in masks.items()}
            found = {name: files.find(cell) or cell for name, cell in named.items() if cell}
            doubled = [name for name in found if list(found.values()).count(found[name]) > 1]
            if doubled and not set(doubled) <= set(values):
                raise DatasetError(
                    f"{where}: {found[doubled[0]]} stands under {' and '.join(doubled)}. Say which grey levels of it are inside: "
                    f'{_levels_flag(root / found[doubled[0]], doubled)}.'
                )
            sources[where] = {
                name: MaskSource((file,), "between", *values[name]) if name in values else MaskSource((file,), "half")
                for name, file in found.items()
            }
            taken |= set(found.values())
    files.check_ambiguous("the mask columns")
    return sources, files.note("mask columns"), taken


def _levels_flag(path: Path, names: Sequence[str]) -> str:
    """Returns the probable --mask_values of one file under several columns, with the levels that it holds."""
    held, flag = "", '--mask_values="optic_disc>=1,optic_cup=2" where 1 is the rim and 2 the cup'
    try:
        levels, lossy = mask_files.read_levels(path.read_bytes(), 100_000_000)
        values, counts = np.unique(levels, return_counts=True)
        held = f" ({path.name} {mask_files.describe(values, counts)})"
        if values.max() > mask_files.NUMBERED:
            flag = f'--mask_values="{mask_files.refuge_values(lossy)}" where 0 is cup, 128 rim and 255 background, as in REFUGE'
    except (OSError, ValueError):
        pass  # the build will say what is wrong with the file
    if set(names) != {"optic_disc", "optic_cup"}:
        flag = f'--mask_values="{names[0]}=1,{names[1]}=2"'
    return f"{flag}{held}"


def _where(table: Table, number: int) -> str:
    return f"{table.path.name}, row {number}"


def _rows(
    tables: Sequence[Table], found: Mapping[str, str], root: Path, masks: set[str]
) -> tuple[list[_Row], list[tuple[str, str]], list[str]]:
    """Finds the photograph of each row.

    Raises:
      DatasetError: an empty name, one photograph in two rows, names that mean several files, or not one photograph there.
    """
    image = found["image_column"]
    files = NamedFiles(root, avoid=masks)
    splits = [split_of(table.path.stem) for table in tables]
    by_table = len(tables) > 1 and None not in splits and "split_column" not in found
    rows: list[_Row] = []
    rejected: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    for table, split in zip(tables, splits, strict=True):
        column = columns_lib.find_column(table.columns, image) or image
        for number, cells in table.rows:
            where, name = _where(table, number), cells[column]
            if not name:
                raise DatasetError(f"{where}: the photograph's name is empty. Remove the row.")
            file = files.find(name)
            if file is None:
                rejected.append((name, f"{where}: {files.missing_reason(name)}"))
                continue
            if file in seen:
                raise DatasetError(f"{where} names {file}, which {seen[file]} names already. Remove one of the rows.")
            seen[file] = where
            rows.append(_Row(where, name, cells, file, split if by_table else None))
    files.check_ambiguous(f"the column {image}")
    if not rows:
        there = f"{len(files.files)} pictures, such as {files.files[0]}" if files.files else "no picture"
        raise DatasetError(
            f"No photograph is there of {len(rejected)} that {tables[0].path.name} names under {image}. The first, {rejected[0][0]!r}, was looked for as "
            f"{root / rejected[0][0]} and by that name below {root}, which holds {there}. Correct --data_dir or --image_column."
        )
    notes = files.note(image)
    if by_table:
        notes.append("The split of each photograph is that of its table: " + ", ".join(f"{t.path.name} = {s}" for t, s in zip(tables, splits, strict=True)))
    return rows, rejected, notes


def _labels(
    tables: Sequence[Table], labels: Mapping[str, str]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, dict[str, int]]], list[str]]:
    """Returns label -> class names, label -> (column, cell -> class index), and notes."""
    classes: dict[str, tuple[str, ...]] = {}
    indices: dict[str, tuple[str, dict[str, int]]] = {}
    notes: list[str] = []
    for name, wanted in labels.items():
        cells = [row[columns_lib.find_column(table.columns, wanted) or ""] for table in tables for _, row in table.rows]
        where = f"{tables[0].path.name}, column {wanted}"
        classes[name], index, said = read_classes(cells, name, where)
        indices[name] = (wanted, index)
        notes += said
        held = Counter(index[cell] for cell in cells if cell)
        if len(held) == 1:
            blank = " An empty cell is a label that nobody knows; where it means no, write no." if "" in cells else ""
            notes.append(f"{where}: every label is {classes[name][next(iter(held))]!r}: there is nothing to tell apart.{blank}")
        if name != DR_GRADE and (is_icdr(classes[name]) or columns_lib.is_grade_column(wanted, list(index))):
            order = " in alphabetical order" if not classes[name][0].isdigit() else ""
            notes.append(
                f"{name} has classes of its own{order}. Referable DR, any DR and the five grades are made of dr_grade only: if {wanted} is the ICDR grade, write "
                f'--label_columns="dr_grade={wanted}".'
            )
    return classes, indices, notes


def _cell(row: _Row, column: str) -> str:
    return row.cells[columns_lib.find_column(list(row.cells), column) or column]


def _item(
    row: _Row,
    found: Mapping[str, str],
    labels: Mapping[str, str],
    indices: Mapping[str, tuple[str, dict[str, int]]],
    masks: Mapping[str, MaskSource],
    eye: Eye,
) -> Item:
    split, side = row.split, eye.side
    if "split_column" in found and (value := _cell(row, found["split_column"])):
        split = split_of(value)
        if split is None:
            raise DatasetError(f"{row.where} ({row.name}): unknown {found['split_column']} {value!r}. Known: train, val, test, or empty.")
    if "laterality_column" in found:
        value = _cell(row, found["laterality_column"])
        stated = side_of(value)
        if stated is None:
            raise DatasetError(f"{row.where} ({row.name}): unknown {found['laterality_column']} {value!r}. Known: left, right, OS, OD, L, R, LA, RA, or empty.")
        side = stated or side
    return Item(
        image_id=row.name,
        path=row.file,
        patient=eye.patient if eye.told else row.name,
        labels={name: indices[name][1].get(_cell(row, column), -1) for name, column in labels.items()},
        split=split,
        laterality=side,
        masks=masks,
    )
