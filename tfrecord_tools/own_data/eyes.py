"""Which photographs are of one patient, told by their names: `10_left` and `10_right`, `OD-7.jpg`, `p17/left.jpg`.

To keep two strangers together does no harm as long as the groups are small; to part the eyes of one patient does. So
whatever looks like an eye is taken as one, and a reading that would throw many photographs together is given up.
"""

from __future__ import annotations

import dataclasses
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from dr_edge.data.known_patients import NOT_KNOWN

_WORDS = {
    "left": ("left", "lefteye", "gauche", "links", "izquierdo", "izquierda", "os", "oi", "og", "oculus sinister"),
    "right": ("right", "righteye", "droit", "droite", "rechts", "derecho", "derecha", "od", "oculus dexter"),
}
_SHORT = {"left": ("l", "le", "li", "la"), "right": ("r", "re", "ra")}  # li, re; LA, RA: German
SIDES = {word: side for words in (_WORDS, _SHORT) for side, names in words.items() for word in names}
_ANY = "|".join(sorted(SIDES, key=len, reverse=True))
# Not after a letter and before neither letter nor digit (10_left, 10L, OD.jpg), or at the start before a digit (L10),
# or capitalised after a small letter (patientLeft).
_MARK = re.compile(
    rf"(?<![^\W\d_])(?P<mark>{_ANY})(?:[\W_]?eye)?(?![^\W_])|^(?P<first>{_ANY})(?=\d)|(?<=[a-z])(?P<camel>(?-i:Left|Right))(?:eye)?(?![a-z])",
    re.IGNORECASE,
)
_SEPARATORS = " _-.,;()[]"
# The day of a visit is no part of the patient: P7-20240501-L and P7-20250612-R are two eyes of one.
_DAY = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d([-._ ]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[1-9]|[12]\d|3[01])([-._])(?:0[1-9]|1[0-2])\2(?:19|20)\d\d)(?!\d)"
)
MANY = 12  # photographs of one patient; a reading of names that gives more is wrong, not generous
PATIENT_FOLDERS, MEDIAN_PHOTOGRAPHS, MOST_PHOTOGRAPHS = 10, 8, 40
SHORT_MARKS_SHARE = 0.2  # below it "_r" at the end of some names is chance and says nothing of the side


@dataclasses.dataclass(frozen=True, slots=True)
class Eye:
    """Whose photograph it is, as far as its name says.

    Attributes:
      patient: shared by the eyes of one patient; the whole name where it says nothing.
      side: "left", "right" or "" (not said).
      told: the name, or its folder, says who the patient is.
    """

    patient: str
    side: str = ""
    told: bool = False


@dataclasses.dataclass(frozen=True)
class Mark:
    """Where a name states an eye: side, word, and what stands before and after it, without separators and days."""

    side: str
    word: str
    before: str
    after: str


def side_of(text: str) -> str | None:
    """Returns "left" or "right" of a table cell such as OD, L or "Left eye", "" of an empty one, None of another."""
    word = re.sub(r"[\W_]*eye$", "", text.strip().casefold())
    return "" if not word else SIDES.get(word)


def group_eyes(paths: Sequence[str]) -> list[Eye]:
    """Reads patient and side of each photograph from all their names together.

    Args:
      paths: of each photograph, with forward slashes; folders that stand for a class are left out by the caller.

    Returns:
      One Eye per path.
    """
    stems = [_stem(path) for path in paths]
    marks = [find_mark(stem) for stem in stems]
    patients = _by_folder(paths) or [None] * len(paths)
    named = _by_name(paths, marks)
    told = [folder or name for folder, name in zip(patients, named, strict=True)]
    spelled: dict[str, str] = {}
    for patient in sorted(name for name in told if name):
        spelled.setdefault(patient.casefold(), patient)
    believed = _believed_sides(marks)
    return [
        Eye(spelled[patient.casefold()] if patient else path, side or _side_of_folder(path), patient is not None)
        for path, patient, side in zip(paths, told, believed, strict=True)
    ]


def _stem(path: str) -> str:
    """Returns the last part of a path without endings that are no more than a file type (10.OD keeps its own)."""
    name = path.rsplit("/", 1)[-1]
    while (ending := re.search(r"\.(?=[a-z0-9]{2,5}$)[a-z]+[a-z0-9]*$", name, re.IGNORECASE)) and ending.start():
        if ending[0][1:].casefold() in SIDES:
            break
        name = name[: ending.start()]
    return name


def find_mark(stem: str) -> Mark | None:
    """Returns the first mark of an eye in a name without its file type, such as 10_left; None where there is none."""
    found = _MARK.search(stem)
    if found is None:
        return None
    word = (found["mark"] or found["first"] or found["camel"]).casefold()
    before, after = stem[: found.start()].rstrip(_SEPARATORS), stem[found.end() :].lstrip(_SEPARATORS)
    less = _without_day(before), _without_day(after)
    return Mark(SIDES[word], word, *(less if any(less) else (before, after)))


def _without_day(text: str) -> str:
    """Returns what stands before or behind the mark of an eye, without a day and the separators around it."""
    parts = [part.strip(_SEPARATORS) for part in _DAY.sub("\n", text).split("\n")]
    return "_".join(part for part in parts if part)


def _believed_sides(marks: Sequence[Mark | None]) -> list[str]:
    """Returns the side of each name; one-letter marks count where both sides occur and enough names have one."""
    short = {word for words in _SHORT.values() for word in words}
    shorts = [mark for mark in marks if mark and mark.word in short]
    enough = len(shorts) >= SHORT_MARKS_SHARE * len(marks) and len({mark.side for mark in shorts}) == 2
    return [mark.side if mark and (enough or mark.word not in short) else "" for mark in marks]


def _side_of_folder(path: str) -> str:
    parent = PurePosixPath(path).parent.name.casefold()
    return SIDES.get(parent, "")


def _by_name(paths: Sequence[str], marks: Sequence[Mark | None]) -> list[str | None]:
    """Returns the patient that a name states beside its eye; None where it states none."""
    parents = [PurePosixPath(path).parts[:-1] for path in paths]
    sizes = Counter(parents)
    # 10_left_2 belongs to 10; but of fundus_left_001 ... fundus_right_300 "fundus" is nobody.
    inner = Counter(mark.before for mark in marks if mark and mark.before and mark.after)
    wide = {name for name, count in inner.items() if count > MANY or (len(inner) == 1 and count > 4)}
    found: list[str | None] = []
    for parent, mark in zip(parents, marks, strict=True):
        folder = parent[-1] if parent else None
        if mark is None:
            found.append(None)
        elif not mark.before and folder and (not mark.after or sizes[parent] <= MEDIAN_PHOTOGRAPHS):
            found.append(folder)  # p17/left.jpg, p17/left_2.jpg
        elif mark.before in wide and mark.after:
            found.append(f"{mark.before}_{mark.after}")
        else:
            found.append(mark.before or mark.after or None)
    for index, (path, parent) in enumerate(zip(paths, parents, strict=True)):
        if found[index] is None and parent and parent[-1].casefold() in SIDES:  # left/7.jpg and right/7.jpg
            found[index] = "/".join([*parent[:-1], _stem(path)])
    large = {name for name, count in Counter(found).items() if count > MOST_PHOTOGRAPHS}
    return [None if name in large else name for name in found]


def _by_folder(paths: Sequence[str]) -> list[str | None] | None:
    """Returns the patient's folder of each photograph, where many folders hold few photographs each; else None."""
    parents = [PurePosixPath(path).parts[:-1] for path in paths]
    for depth in range(1, max(map(len, parents), default=0) + 1):
        keys = [parent[:depth] if len(parent) >= depth else None for parent in parents]
        sizes = Counter(key for key in keys if key is not None)
        if len(sizes) < PATIENT_FOLDERS or max(sizes.values()) > MOST_PHOTOGRAPHS:
            continue
        if statistics.median(sizes.values()) > MEDIAN_PHOTOGRAPHS:
            continue
        names = Counter(key[-1] for key in keys if key is not None)  # normal/p17 and glaucoma/p17: one patient
        short = max(names.values()) <= MOST_PHOTOGRAPHS
        return [None if key is None else key[-1] if short else "/".join(key) for key in keys]
    return None


def patients_in_words(eyes: Sequence[Eye], column: str = "", *, table: bool = False) -> str:
    """Returns one sentence that says how the patients of photographs are known.

    Args:
      eyes: what `group_eyes` read.
      column: the table's column of the patient; "" where there is none.
      table: there is a table, which may have such a column.
    """
    told = [eye for eye in eyes if eye.told]
    if column and len(told) == len(eyes):
        return f"Patients are those of the column {column}."
    several = Counter(eye.patient for eye in told)
    shared = sorted(name for name, count in several.items() if count > 1)
    if not shared:
        more = (
            "name the column with --patient_column"
            if table
            else "give each patient a folder, or use a CSV with --patient_column"
        )
        return (
            f"{NOT_KNOWN}: splits are by photograph, and two photographs of one patient may stand in two splits. If a "
            f"patient has several, name them alike (10_left, 10_right), or {more}."
        )
    rest = len(eyes) - len(told)
    alone = f"; {rest} whose name says nothing are each a patient of its own" if rest else ""
    by = f"the column {column}, or by name where it is empty" if column else "name"
    return (
        f"Patients are told by {by}: {len(told)} photographs of {len(several)} (such as {shared[0]}) stay "
        f"together{alone}."
    )
