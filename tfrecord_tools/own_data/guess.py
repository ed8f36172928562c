"""What a table's columns probably mean, by names and cells: photograph, labels, masks, patient, split, side."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from dr_edge.data.class_words import NO, UNCLEAR, YES, plain_name
from dr_edge.data.grades import grade_in_words
from dr_edge.data.positive import NOT_A_DISEASE
from dr_edge.next_steps import quoted
from tfrecord_tools.grouping import Texts
from tfrecord_tools.layout import IMAGE_SUFFIXES
from tfrecord_tools.own_data.class_names import DR_GRADE, whole_number
from tfrecord_tools.own_data.columns import find_column, is_settled, plain_column, question_of
from tfrecord_tools.own_data.eyes import find_mark, side_of
from tfrecord_tools.own_data.named_files import NamedFiles
from tfrecord_tools.own_data.split_names import split_of
from tfrecord_tools.own_data.table import Table

LOOKED_AT = 40  # rows, where a column's meaning is guessed
FEW_VALUES = 12
IMAGE_NAMES = (
    "image", "imagename", "imageid", "imgname", "img", "file", "filename", "filepath", "path", "photo", "photograph",
    "idcode", "name", "id", "fundus", "imagepath", "picture",
)  # fmt: skip
PICTURE_WORDS = (
    "image", "img", "photo", "picture", "file", "fundus", "bild", "datei", "foto", "imagen", "archivo", "fichier",
)  # fmt: skip
PATIENT_NAME = re.compile(
    r"(patient|patienten|subject|person|proband|probanden|participant|paziente?|pacientes?|case|fall|pat|nhs|hospital|chart|record)"
    r"(id|ids|nr|no|num|number|nummer|code|key|kennung|name|hash)|patient(en)?|patients|subject|person|proband|paziente|paciente|pid|mrn|who"
)
_DR = r"(dr|icdr|rd|(diabeti[a-z]*)?retinopath[a-z]*)"
_SCALE = r"(grade|level|severity|diagnosis|diagnose|schweregrad|grad|stadium|stufe|grado|grau|nivel|niveau|stade)"
DR_NAME = re.compile(
    rf"(adjudicated|final)?({_DR}({_SCALE}|stage|class|scale|klasse|skala)?|{_SCALE}(of)?{_DR}?)|icdr[a-z]*"
)
LABEL_NAMES = (
    "label", "class", "target", "disease", "finding", "findings", "glaucoma", "referable", "category", "outcome",
    "result", "amd", "cataract", "klasse", "befund", "diagnose", "krankheit", "erkrankung", "glaukom", "katarakt",
)  # fmt: skip
NO_LABELS = (
    "age", "sex", "gender", "date", "camera", "usage", "device", "site", "hospital", "note", "notes", "comment",
    "comments", "reader", "grader", "set", "visit", "visitdate", "visitno", "eye", "eyes", "laterality", "side", "auge",
    "seite", "ojo", "oeil", "alter", "geschlecht", "datum", "kamera", "klinik", "besuch", "bemerkung", "untersucher",
    "smoker", "smoking", "raucher", "dilated", "mydriasis", "mydriatic", "consent", "einwilligung",
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


def guess(table: Table, there: NamedFiles) -> Guess:
    """Guesses what each column means, from its name and its first cells; `there`: the files that the table may name."""
    files = there.without(())
    head = {name: [value for value in table.values(name)[:LOOKED_AT] if value] for name in table.columns}
    pictures = [name for name in table.columns if _names_pictures(name, head[name], files)]
    # 007 is a patient, and may be a file, too.
    pictures = [name for name in pictures if not _names_patients(name, head[name])] or pictures
    image = next(
        (name for known in IMAGE_NAMES for name in pictures if plain_column(name) == known),
        pictures[0] if pictures else "",
    )
    if not image:
        image = next((name for known in IMAGE_NAMES for name in table.columns if plain_column(name) == known), "")
    masks = tuple(
        (_mask_name(name), name)
        for name in pictures
        if name != image and _has_suffix(head[name]) and not _of_an_eye(name)
    )
    rest = [name for name in table.columns if name != image and name not in pictures and head[name]]
    split = next((name for name in rest if all(map(split_of, head[name]))), "")
    side = next(
        (name for name in rest if name != split and all(map(side_of, head[name])) and not _is_number(head[name])), ""
    )
    patient = next((name for name in rest if _names_patients(name, head[name])), "")
    rest = [name for name in rest if name not in (split, side, patient)]
    return Guess(image, _guess_labels(table, rest), masks, patient, split, side)


def _guess_labels(table: Table, columns: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Returns the ICDR grade, columns named as labels, all yes and no (a disease each); else first of few values."""
    values = {name: _values(table, name) for name in columns}
    few = [name for name in columns if 2 <= len(values[name]) <= FEW_VALUES and plain_column(name) not in NO_LABELS]
    grades = sorted(
        (name for name in few if is_grade_column(name, values[name])), key=lambda name: not is_settled(name)
    )[:1]
    labels = [
        name
        for name in few
        if name not in grades
        and (plain_column(name) in LABEL_NAMES or DR_NAME.fullmatch(plain_column(name)) or _asks(name, values[name]))
    ]
    return (*((DR_GRADE, name) for name in grades), *((name, name) for name in labels or few[: not grades]))


def _values(table: Table, column: str) -> set[str]:
    """Returns the different values of a column, or the first of too many for a label."""
    found: set[str] = set()
    for value in filter(None, table.values(column)):
        found.add(value)
        if len(found) > FEW_VALUES:
            break
    return found


def is_grade_column(name: str, values: Collection[str]) -> bool:
    """Says whether a column seems to hold ICDR grades: called like one, with 0 to 4 or the grades' words in it."""
    asked = plain_column(name), "".join(question_of(name)[0])  # DR grade, also of "DR grade (reader 1)"
    if not values or not any(map(DR_NAME.fullmatch, asked)):
        return False
    numbers = [whole_number(value) for value in values]
    if None not in numbers:
        return 2 <= max(number for number in numbers if number is not None) <= 4
    return all(grade_in_words(value) is not None for value in values)


def _asks(name: str, values: Collection[str]) -> bool:
    """Says whether a column asks a question of yes or no that may be that of a disease; "gradable" is none."""
    answers = {plain_name(value) for value in values}
    return not set(plain_name(name).split()) & (NOT_A_DISEASE | UNCLEAR) and (
        answers == {"0", "1"} or bool(answers & YES and answers & NO and answers <= YES | NO)
    )


def _names_pictures(name: str, values: Sequence[str], files: NamedFiles) -> bool:
    called = plain_column(name).startswith(PICTURE_WORDS)
    if not values or _is_number(values) and max(map(len, values)) < 3 and not called:
        return False  # grades, and not 0.png ... 4.png
    found = sum(files.find(value) is not None for value in values)
    return found * 2 > len(values) or _has_suffix(values)


def _names_patients(name: str, values: Sequence[str]) -> bool:
    return PATIENT_NAME.fullmatch(plain_column(name)) is not None and not _has_suffix(values)


def unused_patient_column(tables: Sequence[Table], there: NamedFiles) -> list[str]:
    """Returns [a sentence] on the column of tables that probably is the patient's, if rows share one; else []."""
    column = guess(tables[0], there).patient
    holding = [(table, found) for table in tables if column and (found := find_column(table.columns, column))]
    held = Texts(value.casefold() for table, found in holding for value in table.values(found) if value)
    several = int((held.counts > 1).sum())
    if not several:
        return []
    return [
        f"The column {column} was not used: {several} of its {len(held)} values stand in several rows. If it is the "
        f"patient, build again with --patient_column={quoted(column)}; else one patient's photographs may be in "
        "training and test, and the figures look better than they are."
    ]


def _has_suffix(values: Sequence[str]) -> bool:
    return bool(values) and all(Path(value.replace("\\", "/")).suffix.lower() in IMAGE_SUFFIXES for value in values)


def _is_number(values: Sequence[str]) -> bool:
    return all(whole_number(value) is not None for value in values)


def photographs_of_eyes(table: Table) -> list[str]:
    """Returns the columns that each name the photograph of an eye: "OD image" and "OS image" of one row."""
    return [
        name
        for name in table.columns
        if _of_an_eye(name) and _has_suffix([value for value in table.values(name)[:LOOKED_AT] if value])
    ]


def _of_an_eye(column: str) -> bool:
    """Says whether a column is called by an eye, "OS image": a photograph like that of the other eye, and no mask."""
    plain = plain_column(column)
    return find_mark(column) is not None and not any(word in plain for word in ("mask", "disc", "disk", "cup"))


def _mask_name(column: str) -> str:
    plain = plain_column(column)
    return "optic_disc" if "disc" in plain or "disk" in plain else "optic_cup" if "cup" in plain else column
