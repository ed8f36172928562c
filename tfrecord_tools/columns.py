"""The columns of a user's own table: which flag means which, what is missing, and the command that probably is meant."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dr_edge.data.grades import grade_in_words
from tfrecord_tools.class_names import DR_GRADE, whole_number
from tfrecord_tools.eyes import find_mark, side_of
from tfrecord_tools.items import DatasetError, Request, split_of
from tfrecord_tools.layout import IMAGE_SUFFIXES
from tfrecord_tools.named_files import NamedFiles
from tfrecord_tools.tables import Table, plain_column

LOOKED_AT = 40  # rows, where a column's meaning is guessed
FEW_VALUES = 12
IMAGE_NAMES = (
    "image", "imagename", "imageid", "imgname", "img", "file", "filename", "filepath", "path", "photo", "photograph", "idcode", "name", "id",
    "fundus", "imagepath", "picture",
)  # fmt: skip
PICTURE_WORDS = ("image", "img", "photo", "picture", "file", "fundus", "bild", "datei", "foto", "imagen", "archivo", "fichier")
PATIENT_NAME = re.compile(
    r"(patient|patienten|subject|person|proband|probanden|participant|paziente?|pacientes?|case|fall|pat|nhs|hospital|chart|record)"
    r"(id|ids|nr|no|num|number|nummer|code|key|kennung|name|hash)|patient(en)?|patients|subject|person|proband|paziente|paciente|pid|mrn|who"
)
DR_NAMES = (
    "drgrade", "level", "diagnosis", "grade", "retinopathygrade", "icdr", "icdrgrade", "adjudicateddrgrade", "drlevel", "drstage",
    "severity", "retinopathy", "diabeticretinopathy", "drseverity", "gradedr", "diagnosisdr", "drdiagnosis",
    "drstadium", "drgrad", "drklasse", "retinopathie", "retinopathiegrad", "retinopathiestadium", "diabetischeretinopathie", "gradord", "graderd",
)  # fmt: skip
LABEL_NAMES = ("label", "class", "target", "disease", "finding", "findings", "glaucoma", "referable", "category", "outcome", "result", "dr", "amd", "cataract")
NO_LABELS = (
    "age", "sex", "gender", "date", "camera", "usage", "device", "site", "hospital", "note", "notes", "comment", "comments", "reader", "grader", "set",
    "visit", "visitdate", "visitno", "eye", "eyes", "laterality", "side", "auge", "seite", "ojo", "oeil", "alter", "geschlecht", "datum", "kamera",
    "klinik", "besuch", "bemerkung", "untersucher",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Guess:
    """What the columns of a table probably mean; "" or empty where nothing tells."""

    image: str = ""
    labels: tuple[tuple[str, str], ...] = ()  # (label, column)
    masks: tuple[tuple[str, str], ...] = ()
    patient: str = ""
    split: str = ""
    laterality: str = ""


def find_column(columns: Sequence[str], wanted: str) -> str | None:
    """Returns the column of that name, else the one that differs in case, blanks or hyphens only; None where there is none."""
    if wanted in columns:
        return wanted
    alike = [name for name in columns if plain_column(name) == plain_column(wanted)]
    return alike[0] if len(alike) == 1 else None


def named_columns(entries: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """Reads NAME or NAME=COLUMN entries -> name of the label or mask -> column as the user wrote it.

    Raises:
      DatasetError: one name for two columns.
    """
    named: dict[str, str] = {}
    for entry in entries:
        name, sign, column = entry.partition("=")
        whole = not sign or find_column(columns, entry) is not None
        called, wanted = (entry.strip(), entry.strip()) if whole else (name.strip(), column.strip())
        if called in named and named[called] != wanted:
            raise DatasetError(f"{called} is given two columns, {named[called]} and {wanted}. Give each a name of its own.")
        named[called] = wanted
    return named


def values_of(table: Table, column: str) -> list[str]:
    """Returns the cells of a column."""
    return [row[column] for _, row in table.rows]


def guess(table: Table, root: Path) -> Guess:
    """Guesses what each column means, from its name and its first cells."""
    files = NamedFiles(root)
    head = {name: [value for value in values_of(table, name)[:LOOKED_AT] if value] for name in table.columns}
    pictures = [name for name in table.columns if _names_pictures(name, head[name], files)]
    pictures = [name for name in pictures if not _names_patients(name, head[name])] or pictures  # 007 is a patient, and may be a file, too
    image = next((name for known in IMAGE_NAMES for name in pictures if plain_column(name) == known), pictures[0] if pictures else "")
    if not image:
        image = next((name for known in IMAGE_NAMES for name in table.columns if plain_column(name) == known), "")
    masks = tuple((_mask_name(name), name) for name in pictures if name != image and _has_suffix(head[name]) and not _of_an_eye(name))
    rest = [name for name in table.columns if name != image and name not in pictures and head[name]]
    split = next((name for name in rest if all(map(split_of, head[name]))), "")
    side = next((name for name in rest if name != split and all(map(side_of, head[name])) and not _is_number(head[name])), "")
    patient = next((name for name in rest if _names_patients(name, head[name])), "")
    rest = [name for name in rest if name not in (split, side, patient)]
    return Guess(image, _guess_labels(table, rest), masks, patient, split, side)


def _guess_labels(table: Table, columns: Sequence[str]) -> tuple[tuple[str, str], ...]:
    values = {name: Counter(value for value in values_of(table, name) if value) for name in columns}
    few = [name for name in columns if 2 <= len(values[name]) <= FEW_VALUES and plain_column(name) not in NO_LABELS]
    grades = [name for name in few if is_grade_column(name, list(values[name]))]
    others = [name for name in few if name not in grades and plain_column(name) in (*LABEL_NAMES, *DR_NAMES)]
    labels = [(DR_GRADE, grades[0])] if grades else []
    labels += [(name, name) for name in others]
    return tuple(labels or [(name, name) for name in few[:1]])


def is_grade_column(name: str, values: Sequence[str]) -> bool:
    """Says whether a column seems to hold ICDR grades: called like one, with 0 to 4 or the grades' words in it."""
    if plain_column(name) not in DR_NAMES or not values:
        return False
    numbers = [whole_number(value) for value in values]
    if None not in numbers:
        return 2 <= max(number for number in numbers if number is not None) <= 4
    return all(grade_in_words(value) is not None for value in values)


def _names_pictures(name: str, values: Sequence[str], files: NamedFiles) -> bool:
    called = plain_column(name).startswith(PICTURE_WORDS)
    if not values or _is_number(values) and max(map(len, values)) < 3 and not called:
        return False  # grades, and not 0.png ... 4.png
    found = sum(files.find(value) is not None for value in values)
    return found * 2 > len(values) or _has_suffix(values)


def _names_patients(name: str, values: Sequence[str]) -> bool:
    return PATIENT_NAME.fullmatch(plain_column(name)) is not None and not _has_suffix(values)


def unused_patient_column(table: Table, root: Path) -> str:
    """Returns a sentence on the column of a table that probably is the patient's, where several photographs share one; "" where none does."""
    column = guess(table, root).patient
    held = Counter(value.casefold() for value in values_of(table, column) if value) if column else Counter()
    several = sum(count > 1 for count in held.values())
    if not several:
        return ""
    return (
        f"The column {column} was not used: {several} of its {len(held)} values stand in several rows. If it is the patient, build again with "
        f"--patient_column={quoted(column)}; else one patient's photographs may be in training and test, and the figures look better than they are."
    )


def _has_suffix(values: Sequence[str]) -> bool:
    return bool(values) and all(Path(value.replace("\\", "/")).suffix.lower() in IMAGE_SUFFIXES for value in values)


def _is_number(values: Sequence[str]) -> bool:
    return all(whole_number(value) is not None for value in values)


def _of_an_eye(column: str) -> bool:
    """Says whether a column is called by an eye, "OS image": a photograph like that of the other eye, and no mask."""
    plain = plain_column(column)
    return find_mark(column) is not None and not any(word in plain for word in ("mask", "disc", "disk", "cup"))


def _mask_name(column: str) -> str:
    plain = plain_column(column)
    return "optic_disc" if "disc" in plain or "disk" in plain else "optic_cup" if "cup" in plain else column


def command(table: str, found: Guess, data_dir: Path, request: Request) -> str:
    """Returns the build command for a guess, with what the user typed beside it."""

    def named(pairs: Sequence[tuple[str, str]]) -> str:
        return ",".join(name if name == column else f"{name}={column}" for name, column in pairs)

    parts = [
        ("data_dir", str(data_dir)), ("csv", table), ("image_column", found.image or "COLUMN"), ("label_columns", named(found.labels)),
        ("mask_columns", named(found.masks)), ("patient_column", found.patient), ("split_column", found.split),
        ("laterality_column", found.laterality), ("out", str(request.out or "records/own")),
    ]  # fmt: skip
    flags = " ".join(f"--{name}={quoted(value)}" for name, value in parts if value)
    return " ".join(["python -m tfrecord_tools.build --dataset=csv", flags, *request.typed])


def as_typed(found: Guess, typed: Mapping[str, str | Sequence[str]], columns: Sequence[str]) -> Guess:
    """Returns a guess with the columns that the user named in its place, as far as the table has them.

    Args:
      found: the guess.
      typed: flag -> its value, as in `Request.table`.
      columns: of the table.
    """
    single = {"image_column": "image", "patient_column": "patient", "split_column": "split", "laterality_column": "laterality"}
    changed: dict[str, Any] = {
        field: str(typed[flag]) for flag, field in single.items() if typed.get(flag) and find_column(columns, str(typed[flag]))
    }
    for flag, field in (("label_columns", "labels"), ("mask_columns", "masks")):
        value = typed.get(flag) or ()
        named = named_columns([value] if isinstance(value, str) else value, columns)
        if named and all(find_column(columns, column) for column in named.values()):
            changed[field] = tuple(named.items())
    return dataclasses.replace(found, **changed)


def quoted(text: str) -> str:
    """Returns a flag's value quoted for a shell, in double quotes where they serve."""
    if shlex.quote(text) == text:
        return text
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'


def describe(table: Table) -> str:
    """Returns the columns of a table with some of their values, one a line."""
    lines = [f"{table.path.name} has {len(table.rows)} rows and the columns:"]
    for name in table.columns:
        counts = Counter(value for value in values_of(table, name) if value)
        if len(counts) <= FEW_VALUES and not (len(counts) > 3 and set(counts.values()) == {1}):
            shown = ", ".join(f"{value} ({count})" for value, count in sorted(counts.items())) or "empty"
        else:
            shown = ", ".join(list(counts)[:3]) + ", ..."
        lines.append(f"  {name}: {shown[:100]}")
    return "\n".join(lines)


def ask(problem: str, table: Table, data_dir: Path, given: str, request: Request) -> DatasetError:
    """Returns the error that says what is missing, what the table holds, and the command that is probably meant."""
    found = as_typed(guess(table, data_dir), request.table, table.columns)
    eyes = [name for name in table.columns if _of_an_eye(name) and _has_suffix([value for value in values_of(table, name)[:LOOKED_AT] if value])]
    if len(eyes) > 1:
        return DatasetError(
            f"{problem}\n{describe(table)}\nThe columns {', '.join(eyes)} each name a photograph. Write a table with one photograph a row: its name, the "
            f"patient (--patient_column), the eye (--laterality_column) and the label of that eye."
        )
    probable = command(given, found, data_dir, request)
    return DatasetError(f"{problem}\n{describe(table)}\nProbably:\n  {probable}")


def missing_columns(wanted: Mapping[str, str], table: Table) -> list[str]:
    """Returns "--image_column=photo" for each flag whose column the table lacks."""
    return [f"--{flag}={column}" for flag, column in wanted.items() if column and find_column(table.columns, column) is None]
