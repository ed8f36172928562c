"""Your own data: a CSV file or spreadsheet with one row per photograph; the names of its columns are given by flags.

  python -m tfrecord_tools.build --dataset=csv --data_dir=PHOTOS --csv=labels.csv --image_column=file \\
      --label_columns="dr_grade=DR grade,glaucoma" --patient_column=patient --out=RECORDS
  python -m tfrecord_tools.build --dataset=csv --data_dir=PHOTOS --csv=labels.csv --image_column=file \\
      --mask_columns=optic_disc=mask,optic_cup=mask --mask_values="optic_disc>=1,optic_cup=2" --out=RECORDS

Paths are relative to --data_dir; names without folder or extension are found where one file can be meant. Labels are
whole numbers from 0 or names; an empty cell is a missing label. A label called dr_grade is the ICDR scale, which
referable DR is made of. A mask is lit where the structure is, or has the grey levels of --mask_values. `split` cells
are train, val, test or empty, `laterality` cells left, right, OD, OS or empty. Without a patient column, eyes of one
patient are told by their names.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dr_edge.fundus.header_types import MAX_PIXELS
from tfrecord_tools import mask_files, mask_levels
from tfrecord_tools.items import DatasetError, Item, Listing, MaskSource, Request
from tfrecord_tools.layout import checked_directory
from tfrecord_tools.on_disk import DiskList, Seen
from tfrecord_tools.own_data.class_names import DR_GRADE, is_icdr, read_classes
from tfrecord_tools.own_data.columns import find_column, named_columns
from tfrecord_tools.own_data.eyes import Eye, patients_in_words, side_of
from tfrecord_tools.own_data.graders import differing_graders
from tfrecord_tools.own_data.guess import is_grade_column, unused_patient_column
from tfrecord_tools.own_data.named_files import NamedFiles
from tfrecord_tools.own_data.patients import patients_of_rows
from tfrecord_tools.own_data.proposal import ask
from tfrecord_tools.own_data.rows import Row, check_doubtful, find_rows, place
from tfrecord_tools.own_data.split_names import split_of
from tfrecord_tools.own_data.table import Table, find_tables, read_own_table, table_paths
from tfrecord_tools.sources import SOURCES

SINGLE = ("image_column", "patient_column", "split_column", "laterality_column")


@dataclasses.dataclass(frozen=True)
class _Flags:
    """What the flags of a table say.

    Attributes:
      columns: flag -> column, for each flag of one column that was given.
      labels, masks: name -> column.
      values: mask -> lowest and highest grey level inside.
    """

    columns: Mapping[str, str]
    labels: Mapping[str, str]
    masks: Mapping[str, str]
    values: Mapping[str, tuple[int, int]]


def listing(request: Request) -> Listing:
    """Reads the rows of request.table["csv"]; see the flags of `tfrecord_tools.build`."""
    root = checked_directory(request.data_dir, "csv")
    whole, given = _read_tables(request, root)
    flags = _check_flags(request, root, whole, given)
    tables = [table.under([*flags.columns.values(), *flags.labels.values(), *flags.masks.values()]) for table in whole]
    check_doubtful(tables)
    files = NamedFiles(root)
    mask_notes = _check_masks(tables, flags, files)
    taken = (file for table in tables for _, cells in table.rows for file in _mask_files(cells, flags, files).values())
    rows, rejected, row_notes = find_rows(
        tables,
        flags.columns["image_column"],
        list(flags.labels.values()),
        files.without(taken if flags.masks else ()),
        by_table="split_column" not in flags.columns,
    )
    classes, indices, label_notes = _labels(rows, flags.labels, whole[0].path.name)
    column = flags.columns.get("patient_column", "")
    cells = Seen(rows, lambda row: row.cells[column]) if column else None
    paths, names = Seen(rows, lambda row: row.file), Seen(rows, lambda row: row.name)
    eyes, patient_notes = patients_of_rows(paths, names, cells, column)
    graders = differing_graders(whole, flags.labels.values())
    unused = [] if column else unused_patient_column(whole, files)
    said = [*row_notes, *mask_notes, *label_notes, *graders, *patient_notes, *unused]
    return Listing(
        labels=classes,
        items=DiskList(
            _item(row, flags, indices, _sources(row.cells, flags, files), eye)
            for row, eye in zip(rows, eyes, strict=True)
        ),
        masks=list(flags.masks),
        rejected=rejected,
        patients=patients_in_words(eyes, column, table=True),
        notes=[*(note for table in whole for note in table.notes), *said],
        source={**SOURCES["csv"].stated(), "title": ", ".join(table.path.name for table in whole)},
        label_files=[table.path for table in whole],
    )


def _read_tables(request: Request, root: Path) -> tuple[list[Table], str]:
    """Returns the tables that --csv names, or else the one that lies in the data directory, and how to name them.

    Raises:
      DatasetError: no such file, or no table and several that could be meant.
    """
    given = str(request.table.get("csv") or "")
    wanted = [str(request.table["image_column"])] if request.table.get("image_column") else []
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
    return (
        f"Tables in {root}: {', '.join(names[:10])}."
        if names
        else f"No table (.csv, .tsv, .xlsx, .xls) lies in {root} or the folders in it."
    )


def _check_flags(request: Request, root: Path, tables: Sequence[Table], given: str) -> _Flags:
    """Reads the flags that name columns.

    Raises:
      DatasetError: flags that are missing, all of them at once, or columns that a table lacks.
    """
    columns = {flag: str(request.table[flag]) for flag in SINGLE if request.table.get(flag)}
    labels = named_columns(_entries(request, "label_columns"), tables[0].columns)
    masks = named_columns(_entries(request, "mask_columns"), tables[0].columns)
    lacking = [] if request.table.get("csv") else ["--csv=FILE"]
    lacking += [] if "image_column" in columns else ["--image_column=NAME"]
    lacking += [] if labels or masks else ["--label_columns or --mask_columns (what is there to learn?)"]
    if lacking:
        raise ask(f"--dataset=csv needs {', '.join(lacking)}.", tables[0], root, given, request)
    wanted = [
        *columns.items(),
        *(("label_columns", name) for name in labels.values()),
        *(("mask_columns", name) for name in masks.values()),
    ]
    for table in tables:
        absent = [
            f"--{flag}{'=' if flag in SINGLE else ' '}{name}"
            for flag, name in wanted
            if find_column(table.columns, name) is None
        ]
        if absent:
            raise ask(
                f"{table.path.name} has no column for {', '.join(absent)}; it has {', '.join(table.columns)}.",
                table,
                root,
                given,
                request,
            )
    try:
        values = mask_files.parse_values(_entries(request, "mask_values"))
    except mask_levels.MaskError as err:
        raise DatasetError(str(err)) from err
    strange = sorted(set(values) - set(masks))
    if strange:
        raise DatasetError(
            f"--mask_values names {strange[0]}, which --mask_columns does not ({', '.join(masks) or 'it is empty'})."
        )
    return _Flags(columns, labels, masks, values)


def _entries(request: Request, flag: str) -> list[str]:
    value = request.table.get(flag) or ()
    return [value] if isinstance(value, str) else list(value)


def _check_masks(tables: Sequence[Table], flags: _Flags, files: NamedFiles) -> list[str]:
    """Returns notes on the names of the masks.

    Raises:
      DatasetError: one file under two columns without grey levels, or names that mean several files.
    """
    if not flags.masks:
        return []
    for table in tables:
        for number, cells in table.rows:
            found = _mask_files(cells, flags, files)
            doubled = [name for name in found if list(found.values()).count(found[name]) > 1]
            if doubled and not set(doubled) <= set(flags.values):
                raise DatasetError(
                    f"{place(table, number)}: {found[doubled[0]]} stands under {' and '.join(doubled)}. Say which grey "
                    f"levels of it are inside: {_levels_flag(files.root / found[doubled[0]], doubled)}."
                )
    files.check_ambiguous("the mask columns")
    return files.note("mask columns")


def _mask_files(cells: Mapping[str, str], flags: _Flags, files: NamedFiles) -> dict[str, str]:
    """Returns mask -> file of a row; where none of that name is there, the name as it stands."""
    return {name: files.find(cell) or cell for name, column in flags.masks.items() if (cell := cells[column])}


def _sources(cells: Mapping[str, str], flags: _Flags, files: NamedFiles) -> dict[str, MaskSource]:
    rules = {name: ("between", *flags.values[name]) if name in flags.values else ("half",) for name in flags.masks}
    return {name: MaskSource((file,), *rules[name]) for name, file in _mask_files(cells, flags, files).items()}


def _levels_flag(path: Path, names: Sequence[str]) -> str:
    """Returns the probable --mask_values of one file under several columns, with the levels that it holds."""
    held, flag = "", '--mask_values="optic_disc>=1,optic_cup=2" where 1 is the rim and 2 the cup'
    try:
        levels, lossy = mask_levels.read_levels(path.read_bytes(), MAX_PIXELS)
        values, counts = np.unique(levels, return_counts=True)
        held = f" ({path.name} {mask_levels.describe(values, counts)})"
        if values.max() > mask_files.NUMBERED:
            flag = (
                f'--mask_values="{mask_files.refuge_values(lossy)}" where 0 is cup, 128 rim and 255 background, as in'
                " REFUGE"
            )
    except (OSError, ValueError):
        pass  # the build will say what is wrong with the file
    if set(names) != {"optic_disc", "optic_cup"}:
        flag = f'--mask_values="{names[0]}=1,{names[1]}=2"'
    return f"{flag}{held}"


def _labels(
    rows: Sequence[Row], labels: Mapping[str, str], table: str
) -> tuple[dict[str, tuple[str, ...]], dict[str, dict[str, int]], list[str]]:
    """Returns label -> class names, label -> cell -> class index, and notes.

    Rows without their photograph have no say: a sum below the table, or the rest of a data set of which a part lies
    here.
    """
    classes: dict[str, tuple[str, ...]] = {}
    indices: dict[str, dict[str, int]] = {}
    notes: list[str] = []
    for name, column in labels.items():
        where = f"{table}, column {column}"
        counts = Counter(row.cells[column] for row in rows)
        classes[name], indices[name], said = read_classes(counts, name, where)
        notes += said
        held = {indices[name][cell] for cell in counts if cell}
        if len(held) == 1:
            blank = " An empty cell is a label that nobody knows; where it means no, write no." if "" in counts else ""
            notes.append(
                f"{where}: every label is {classes[name][next(iter(held))]!r}: there is nothing to tell apart.{blank}"
            )
        if name != DR_GRADE and (is_icdr(classes[name]) or is_grade_column(column, indices[name])):
            order = " in alphabetical order" if not classes[name][0].isdigit() else ""
            notes.append(
                f"{name} has classes of its own{order}. Referable DR, any DR and the five grades are made of dr_grade "
                f'only: if {column} is the ICDR grade, write --label_columns="dr_grade={column}".'
            )
    return classes, indices, notes


def _item(
    row: Row, flags: _Flags, indices: Mapping[str, Mapping[str, int]], masks: Mapping[str, MaskSource], eye: Eye
) -> Item:
    """Returns the photograph of a row.

    Raises:
      DatasetError: a split or a side that is none.
    """
    split, side = row.split, eye.side
    column = flags.columns.get("split_column", "")
    if column and row.cells[column]:
        split = split_of(row.cells[column])
        if split is None:
            raise DatasetError(
                f"{row.where} ({row.name}): unknown {column} {row.cells[column]!r}. Known: train, val, test, or empty."
            )
    column = flags.columns.get("laterality_column", "")
    if column:
        stated = side_of(row.cells[column])
        if stated is None:
            raise DatasetError(
                f"{row.where} ({row.name}): unknown {column} {row.cells[column]!r}. Known: left, right, OS, OD, L, R, "
                "LA, RA, or empty."
            )
        side = stated or side
    return Item(
        image_id=row.name,
        path=row.file,
        patient=eye.patient if eye.told else row.name,
        labels={name: indices[name].get(row.cells[column], -1) for name, column in flags.labels.items()},
        split=split,
        laterality=side,
        masks=masks,
    )
