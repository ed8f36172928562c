"""From what people write in a label column, or call their folders, to classes: one spelling each, numbers without gaps.

Nothing is guessed where two spellings could be one class: both are named, with their counts, and the build stops.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from dr_edge.data.class_words import NO, YES
from dr_edge.data.grades import grade_in_words
from dr_edge.data.tasks import GRADE_NAMES
from tfrecord_tools.items import DatasetError

DR_GRADE = "dr_grade"  # the label that tasks.referable_dr, any_dr and dr_grade read
ICDR = "dr_grade is the ICDR scale: 0 no DR, 1 mild NPDR, 2 moderate NPDR, 3 severe NPDR, 4 PDR"
WIDEST_SCALE = 4  # up to here a number without a photograph is a grade that happens not to occur
MISSING_WORDS = (
    "na", "n/a", "nan", "null", "-", "--", "?", "missing", "unknown", "not available",
    "nicht bekannt", "unbekannt", "fehlt", "k.a.",
    "#n/a", "#div/0!", "#ref!", "#value!", "#name?", "#num!", "#null!",
)  # fmt: skip
# Letters of other alphabets that nobody can tell from Latin ones.
_LOOK_ALIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u03bf\u03b1\u03bd", "aeopcyxijsoav"
)
_SEVERAL = re.compile(r"\s*(?:[,;/+&|\n]|\band\b|\bund\b|\bet\b)\s*", re.IGNORECASE)
_WHOLE = re.compile(r"(\d+)(?:[.,]0*)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf)", re.ASCII | re.IGNORECASE)


def plain(name: str) -> str:
    """Returns what two spellings of one name share: No DR, no_dr, No-DR, full-width and decomposed letters alike."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")  # zero-width, soft hyphens
    text = re.sub(r"[\s_\-\u2010-\u2015\u2212.]+(?=\w)", " ", text.strip(" _\t\u00a0"))
    return re.sub(r"\s+", "", text)


def whole_number(value: str) -> int | None:
    """Returns the number that "1", "01", "1.0", "1,0" or a full-width digit states; None of anything else."""
    found = _WHOLE.fullmatch(unicodedata.normalize("NFKC", value))
    return int(found[1]) if found else None


def check_spellings(counts: Mapping[str, int], where: str, noun: str = "photograph") -> list[str]:
    """Checks that no two names are one class in two spellings.

    Args:
      counts: name -> how often it occurs.
      where: of the names, for messages: "labels.csv, column stage".
      noun: what the counts count.

    Returns:
      Cautions: pairs of names so alike that one may be a slip of the pen.

    Raises:
      DatasetError: names that differ in case, blanks, hyphens or the form of their letters only, or words for one
        answer ("yes", "y").
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(counts):
        groups.setdefault(plain(name).translate(_LOOK_ALIKE), []).append(name)
    doubled = [names for names in groups.values() if len(names) > 1] or _same_answers(counts)
    if doubled:
        pairs = "; ".join(
            " and ".join(f"{_shown(name)} ({_count(counts[name], noun)})" for name in names) for names in doubled
        )
        raise DatasetError(
            f"{where}: one class in several spellings: {pairs}. They would become classes of their own. Write each name"
            " in one way."
        )
    cautions = []
    for name, other in ((a, b) for a in sorted(counts) for b in sorted(counts) if counts[a] < counts[b]):
        if _slip(plain(name), plain(other)) and counts[name] * 5 <= counts[other]:
            cautions.append(
                f"{where}: {name!r} ({_count(counts[name], noun)}) is a class beside {other!r} ({counts[other]}). "
                "If it is a slip of the pen, correct it and build again."
            )
    return cautions


def _same_answers(names: Mapping[str, int]) -> list[list[str]]:
    """Returns the names that are words for one answer, "no" and "n"; letters alone (folders A to O) are no such words.

    "n" beside "no" would be a class of its own, and taken for a disease.
    """
    bare = {
        name: "".join(
            letter for letter in unicodedata.normalize("NFKD", plain(name)) if not unicodedata.combining(letter)
        )
        for name in names
    }
    found = ([name for name in sorted(names) if bare[name] in words] for words in (YES, NO))
    return [same for same in found if len(same) > 1 and any(len(bare[name]) > 1 for name in same)]


def _several_at_once(counts: Mapping[str, int], where: str) -> list[str]:
    """Returns a caution where "glaucoma, cataract" is a class beside "glaucoma": who has both is none of the one."""
    known = set(map(plain, counts))
    for name, count in sorted(counts.items()):
        parts = [part for part in _SEVERAL.split(name) if part]
        held = [part for part in parts if plain(part) in known]
        if len(parts) > 1 and held:
            return [
                f"{where}: {name!r} ({_count(count, 'photograph')}) is a class of its own beside {held[0]!r}, and so "
                "are others that are written so: whoever has several counts for none of them. If they are several "
                "findings at once, write a column of 0 and 1 for each and train on tasks.diseases."
            ]
    return []


def _shown(name: str) -> str:
    """Returns the name in quotes; with the code points where two would look alike."""
    odd = [
        letter
        for letter in name
        if unicodedata.category(letter) in ("Cf", "Mn") or letter == "\u00a0" or ord(letter) in _LOOK_ALIKE
    ]
    codes = " ".join(f"U+{ord(letter):04X}" for letter in odd)
    return f"{name!r}{f' with {codes}' if odd else ''}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _slip(one: str, other: str) -> bool:
    if min(len(one), len(other)) < 5 or re.sub(r"\D", "", one) != re.sub(r"\D", "", other):
        return False
    return difflib.SequenceMatcher(None, one, other).ratio() >= 0.85


def read_classes(values: Iterable[str], name: str, where: str) -> tuple[tuple[str, ...], dict[str, int], list[str]]:
    """Reads the classes of a label column.

    Args:
      values: its cells, "" where the label is missing, or how often each is there.
      name: of the label; "dr_grade" is held to the ICDR scale.
      where: table and column for messages.

    Returns:
      The class names: "0" .. "N" where all are whole numbers, the five ICDR grades for dr_grade, else the names in
      alphabetical order; the class index of each value; and cautions.

    Raises:
      DatasetError: no value, numbers and names mixed, broken or negative numbers, gaps beyond reason, one class in
        several spellings.
    """
    counts = Counter(values)
    del counts[""]
    if not counts:
        raise DatasetError(f"{where} is empty. Leave it out of --label_columns.")
    absent = [value for value in counts if value.casefold() in MISSING_WORDS]
    if absent:
        raise DatasetError(
            f"{where} holds {absent[0]!r} ({_count(counts[absent[0]], 'photograph')}). A missing label is an empty "
            "cell; empty these, or remove the rows."
        )
    numbers = {value: whole_number(value) for value in counts}
    odd = [value for value, number in numbers.items() if number is None and _NUMBER.fullmatch(value)]
    if odd:
        raise DatasetError(f"{where} holds {odd[0]!r}. Labels are whole numbers from 0; missing is empty.")
    words = sorted(value for value, number in numbers.items() if number is None)
    if words and len(words) < len(counts):
        digits = next(value for value, number in numbers.items() if number is not None)
        raise DatasetError(
            f"{where} mixes numbers and names ({digits!r}: {_count(counts[digits], 'photograph')}, "
            f"{words[0]!r}: {counts[words[0]]}). Use one or the other."
        )
    if words:
        return _read_words(counts, name, where)
    whole = {value: number for value, number in numbers.items() if number is not None}
    totals: Counter[int] = Counter()
    for value, number in whole.items():
        totals[number] += counts[value]
    return _read_numbers(totals, name, where, whole)


def _read_numbers(
    totals: Mapping[int, int], name: str, where: str, whole: dict[str, int]
) -> tuple[tuple[str, ...], dict[str, int], list[str]]:
    highest = max(totals)
    if name == DR_GRADE:
        beyond = {number: count for number, count in sorted(totals.items()) if number >= len(GRADE_NAMES)}
        if beyond:
            listed = ", ".join(f"{number} ({_count(count, 'photograph')})" for number, count in beyond.items())
            raise DatasetError(
                f"{where} holds {listed}. {ICDR}. Where such a number means that the photograph cannot be graded, empty"
                " the cell."
            )
        return GRADE_NAMES, whole, _absent_grades(totals, numbers=True)
    absent = [number for number in range(highest) if number not in totals]
    if not absent:
        return tuple(str(number) for number in range(highest + 1)), whole, []
    run = max(len(part) for part in "".join(" " if n in totals else "x" for n in range(highest)).split())
    held = ", ".join(f"{number} ({count})" for number, count in sorted(totals.items())[:12])
    if highest > WIDEST_SCALE and (run > 1 or len(absent) > 2):
        raise DatasetError(
            f"{where} holds the numbers {held}{', ...' if len(totals) > 12 else ''} (photographs of each), which would "
            f"make {highest + 1} classes, {len(absent)} of them without any photograph. A number such as 9 or 999 for "
            "'not graded' is an empty cell; numbers that are no 0, 1, 2 ... can be written as names ('level 35')."
        )
    said = ", ".join(map(str, absent))
    caution = (
        f"{where}: of the numbers 0 to {highest} no photograph has {said}; found: {held} (photographs of each). A class"
        f" without a photograph cannot be trained. If {said} means nothing, write the classes as names ('yes', 'no'), "
        "or number them from 0, the one without the disease."
    )
    return tuple(str(number) for number in range(highest + 1)), whole, [caution]


def _absent_grades(totals: Mapping[int, int], numbers: bool = False) -> list[str]:
    absent = [f"{grade} ({name})" for grade, name in enumerate(GRADE_NAMES) if grade not in totals]
    shifted = (
        " If the column counts from 1 (1 is no DR), subtract 1: each grade is read one too high."
        if numbers and 0 not in totals
        else ""
    )
    return [f"dr_grade: no photograph has grade {', '.join(absent)}.{shifted}"] if absent else []


def _read_words(counts: Mapping[str, int], name: str, where: str) -> tuple[tuple[str, ...], dict[str, int], list[str]]:
    grades = {value: grade_in_words(value) for value in counts}
    if name == DR_GRADE:
        strange = [value for value, grade in grades.items() if grade is None]
        if strange:
            raise DatasetError(
                f"{where} holds {strange[0]!r} ({_count(counts[strange[0]], 'photograph')}), which is no grade. {ICDR}."
                " Write these numbers or words, or call the label by another name."
            )
        known = {value: grade for value, grade in grades.items() if grade is not None}
        totals: Counter[int] = Counter()
        for value, grade in known.items():
            totals[grade] += counts[value]
        said = ", ".join(
            f"{value!r} = {grade}" for value, grade in sorted(known.items(), key=lambda pair: (pair[1], pair[0]))
        )
        return GRADE_NAMES, known, [f"{where}: grades in words were taken as {said}.", *_absent_grades(totals)]
    cautions = [*check_spellings(counts, where), *_several_at_once(counts, where)]
    names = tuple(sorted(counts))
    return names, {value: index for index, value in enumerate(names)}, cautions


def is_icdr(names: Sequence[str]) -> bool:
    """Says if class names are ICDR grades in words, one each, and speak of DR at all ("mild" alone may be anything)."""
    grades = [grade_in_words(name) for name in names]
    speaks = any(re.search(r"dr$|retinopathy|prolif|^dr", plain(name)) for name in names)
    return speaks and None not in grades and len(set(grades)) == len(grades) >= 3
