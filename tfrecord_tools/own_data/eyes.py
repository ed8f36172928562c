"""Which photographs are of one patient, told by their names: `10_left` and `10_right`, `OD-7.jpg`, `p17/left.jpg`.

To keep two strangers together does no harm as long as the groups are small; to part the eyes of one patient does. So
whatever looks like an eye is taken as one, and a reading that would throw many photographs together is given up.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from dr_edge.data.known_patients import NOT_KNOWN
from tfrecord_tools.grouping import Texts, smallest_spellings
from tfrecord_tools.on_disk import DiskList, Seen

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


class Eye(NamedTuple):
    """Whose photograph it is, as far as its name says.

    Attributes:
      patient: shared by the eyes of one patient; the whole name where it says nothing.
      side: "left", "right" or "" (not said).
      told: the name, or its folder, says who the patient is.
    """

    patient: str
    side: str = ""
    told: bool = False


class Mark(NamedTuple):
    """Where a name states an eye: side, word, and what stands before and after it, without separators and days."""

    side: str
    word: str
    before: str
    after: str


def side_of(text: str) -> str | None:
    """Returns "left" or "right" of a table cell such as OD, L or "Left eye", "" of an empty one, None of another."""
    word = re.sub(r"[\W_]*eye$", "", text.strip().casefold())
    return "" if not word else SIDES.get(word)


def group_eyes(paths: Sequence[str]) -> Sequence[Eye]:
    """Reads patient and side of each photograph from all their names together.

    Args:
      paths: of each photograph, with forward slashes; folders that stand for a class are left out by the caller.

    Returns:
      One Eye per path, on the disk.
    """
    marks = DiskList(find_mark(_stem(path)) for path in paths)
    by_folder, by_name = _by_folder(paths), _by_name(paths, marks)
    told = DiskList(by_folder(path) or name for path, name in zip(paths, by_name, strict=True))
    spelled = smallest_spellings(Named(told))
    believed = _believed_marks(marks)

    def eyes() -> Iterator[Eye]:
        for path, patient, mark in zip(paths, told, marks, strict=True):
            side = mark.side if mark is not None and believed(mark) else _side_of_folder(path)
            yield Eye(spelled(patient) if patient else path, side, patient is not None)

    return DiskList(eyes())


class Named(Iterable[str]):
    """The names among some, as often as they are asked for; no name is None or ""."""

    def __init__(self, names: Iterable[str | None]) -> None:
        self._names = names

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if name)


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


def _believed_marks(marks: Iterable[Mark | None]) -> Callable[[Mark], bool]:
    """Returns what says if a mark counts: one letter does where both sides occur so and enough names have one."""
    short = {word for words in _SHORT.values() for word in words}
    names = 0
    sides: Counter[str] = Counter()
    for mark in marks:
        names += 1
        if mark is not None and mark.word in short:
            sides[mark.side] += 1
    enough = sides.total() >= SHORT_MARKS_SHARE * names and len(sides) == 2
    return lambda mark: enough or mark.word not in short


def _side_of_folder(path: str) -> str:
    parent = PurePosixPath(path).parent.name.casefold()
    return SIDES.get(parent, "")


def _folders(path: str) -> tuple[str, ...]:
    return tuple([part for part in path.split("/") if part not in ("", ".")][:-1])


def _by_name(paths: Sequence[str], marks: Sequence[Mark | None]) -> Sequence[str | None]:
    """Returns the patient that a name states beside its eye; None where it states none."""
    sizes = Texts("/".join(_folders(path)) for path in paths)
    # 10_left_2 belongs to 10; but of fundus_left_001 ... fundus_right_300 "fundus" is nobody.
    inner = Texts(mark.before for mark in marks if mark and mark.before and mark.after)

    def wide(name: str) -> bool:
        count = inner.count(name)
        return count > MANY or (len(inner) == 1 and count > 4)

    def patient(path: str, mark: Mark | None) -> str | None:
        parent = _folders(path)
        folder = parent[-1] if parent else None
        if mark is None:
            return None
        if not mark.before and folder and (not mark.after or sizes.count("/".join(parent)) <= MEDIAN_PHOTOGRAPHS):
            return folder  # p17/left.jpg, p17/left_2.jpg
        if mark.before and mark.after and wide(mark.before):
            return f"{mark.before}_{mark.after}"
        return mark.before or mark.after or None

    def patient_or_number(path: str, mark: Mark | None) -> str | None:
        found, parent = patient(path, mark), _folders(path)
        if found is None and parent and parent[-1].casefold() in SIDES:  # left/7.jpg and right/7.jpg
            return "/".join([*parent[:-1], _stem(path)])
        return found

    found = DiskList(patient_or_number(path, mark) for path, mark in zip(paths, marks, strict=True))
    counted = Texts(Named(found))
    return Seen(found, lambda name: None if name is None or counted.count(name) > MOST_PHOTOGRAPHS else name)


def _by_folder(paths: Sequence[str]) -> Callable[[str], str | None]:
    """Returns what gives the patient's folder of a path, where many folders hold few photographs each; else None."""

    def key(path: str, depth: int) -> tuple[str, ...] | None:
        parent = _folders(path)
        return parent[:depth] if len(parent) >= depth else None

    for depth in range(1, max((len(_folders(path)) for path in paths), default=0) + 1):
        sizes = Texts("/".join(found) for path in paths if (found := key(path, depth)) is not None)
        if len(sizes) < PATIENT_FOLDERS or sizes.counts.max() > MOST_PHOTOGRAPHS:
            continue
        if np.median(sizes.counts) > MEDIAN_PHOTOGRAPHS:
            continue
        # normal/p17 and glaucoma/p17: one patient
        names = Texts(found[-1] for path in paths if (found := key(path, depth)) is not None)
        short = bool(names.counts.max() <= MOST_PHOTOGRAPHS)

        def folder(path: str, depth: int = depth, short: bool = short) -> str | None:
            found = key(path, depth)
            return None if found is None else found[-1] if short else "/".join(found)

        return folder
    return lambda path: None


def patients_in_words(eyes: Sequence[Eye], column: str = "", *, table: bool = False) -> str:
    """Returns one sentence that says how the patients of photographs are known.

    Args:
      eyes: what `group_eyes` read.
      column: the table's column of the patient; "" where there is none.
      table: there is a table, which may have such a column.
    """
    told = sum(eye.told for eye in eyes)
    if column and told == len(eyes):
        return f"Patients are those of the column {column}."
    several = Texts(eye.patient for eye in eyes if eye.told)
    shared = min((eye.patient for eye in eyes if eye.told and several.count(eye.patient) > 1), default=None)
    if shared is None:
        more = (
            "name the column with --patient_column"
            if table
            else "give each patient a folder, or use a CSV with --patient_column"
        )
        return (
            f"{NOT_KNOWN}: splits are by photograph, and two photographs of one patient may stand in two splits. If a "
            f"patient has several, name them alike (10_left, 10_right), or {more}."
        )
    rest = len(eyes) - told
    alone = f"; {rest} whose name says nothing are each a patient of its own" if rest else ""
    by = f"the column {column}, or by name where it is empty" if column else "name"
    return f"Patients are told by {by}: {told} photographs of {len(several)} (such as {shared}) stay together{alone}."
