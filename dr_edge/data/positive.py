"""Which classes mean that the disease is there: read from their names where that is safe, else not known.

Folders and columns are sorted, so that the disease stands as often first ("glaucoma", "normal") as last ("healthy",
"sick"). What is read here decides thresholds, colours and who is referred; a name that may mean both says nothing.
Standard library only, so that `build`, `train` and the readers of bundles share it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dr_edge.data.class_words import (
    FILLERS,
    HEALTHY,
    NO,
    NORMAL_DISEASE,
    UNCLEAR,
    YES,
    plain_name,
    reads_healthy,
    reads_plain,
    words_of,
)
from dr_edge.data.grades import grade_of

REFERABLE_FROM = 2  # grade of the International Clinical DR scale, Wilkinson et al., 2003
GRADE_LABEL = "dr_grade"  # its grade 1 is a disease, but not one to refer

NUMBERED = words_of("class grade level stage label severity score category dr r icdr retinopathy glaucoma disease dme")
BARE = YES | NO  # names that say nothing without that of their label: "glaucoma yes"
_QUALITY = words_of(
    "quality gradable gradability gradeable usable usability adequacy qualitat qualitaet bildqualitat bildqualitaet "
    "calidad qualite qualita qualidade"
)
# A label that is itself the good news ("normal": 1), or no disease at all.
NOT_A_DISEASE = _QUALITY | words_of(
    "laterality eye side sex gender age camera device site hospital split fold geschlecht alter seite auge"
)
# Beside any of these yes and no, or 0 and 1, may mean anything: "is_normal", "image quality ok", "fundus_visible".
GOOD_NEWS = (
    HEALTHY
    | UNCLEAR
    | _QUALITY
    | words_of(
        "normality adequate acceptable acceptance sufficient visible visibility ok okay pass passed valid clear "
        "ausreichend verwertbar brauchbar sichtbar scharf gut lesbar lisible legible visibile visivel intact intakt "
        "clean resolved remission inactive ruled ausgeschlossen exclu exclue excluido excluida descartado descartada "
        "escluso esclusa"
    )
)


def guess(class_names: Sequence[str], label: str = "") -> tuple[int, ...]:
    """Returns the indices of the classes that mean the disease, () where the names do not say it safely.

    Exactly one class must read as without it; the others together are the disease. Of numbered classes 0 is the one
    without.

    Args:
      class_names: in the order of their indices.
      label: name of the label that they are values of: "dr_grade" means from grade 2 on, and what is called "normal" or
        "quality" is asked for.
    """
    if label == GRADE_LABEL and all(grade_of(name) == index for index, name in enumerate(class_names)):
        return tuple(range(REFERABLE_FROM, len(class_names)))
    if label and not _is_disease(label):
        return ()
    numbers = _numbers(class_names)
    says_nothing = numbers is not None or all(plain_name(name) in BARE for name in class_names)
    if says_nothing and label and _may_be_good_news(plain_name(label)):
        return ()
    if numbers is not None:
        readings: list[bool | None] = [number == 0 for number in numbers]
    else:
        readings = [reads_healthy(name) for name in class_names]
    if readings.count(True) != 1 or None in readings or len(readings) < 2:
        return ()
    return tuple(index for index, healthy in enumerate(readings) if not healthy)


def named(class_names: Sequence[str], positive: Sequence[int], label: str = "") -> str:
    """Returns the positive classes in words: "glaucoma or cataract", "glaucoma yes", "dr_grade >= 2"; "" for none."""
    names, chosen = list(class_names), sorted(positive)
    if not chosen:
        return ""
    tail = chosen == list(range(chosen[0], len(names)))
    if all(name.isdecimal() for name in names):
        from_one_on = tail and len(chosen) > 1
        what = f">= {names[chosen[0]]}" if from_one_on else " or ".join(names[index] for index in chosen)
        return f"{label or 'class'} {what}"
    if label == GRADE_LABEL and tail and len(chosen) > 1:
        return f"grade >= {chosen[0]}"
    if label and label != "class" and len(chosen) == 1 and plain_name(names[chosen[0]]) in BARE:
        return f"{label} {names[chosen[0]]}"
    if len(chosen) > 3:
        return f"any but {' and '.join(name for index, name in enumerate(names) if index not in chosen)}"
    return " or ".join(names[index] for index in chosen)


def sentence(class_names: Sequence[str], positive: Sequence[int], label: str = "") -> str:
    """Returns "Disease: glaucoma; healthy: normal", or that no disease is known; `label`: as for `guess`."""
    ill = [name for index, name in enumerate(class_names) if index in positive]
    others = [name for index, name in enumerate(class_names) if index not in positive]
    if not ill:
        return f"Disease: none of {', '.join(others)}"
    if label == GRADE_LABEL:  # a mild retinopathy is not referred, and is one
        return f"Referable: {', '.join(ill)}; not referable: {', '.join(others)}"
    healthy = all(_healthy_outright(name) for name in others)
    return f"Disease: {', '.join(ill)}; {'healthy' if healthy else 'without it'}: {', '.join(others)}"


def assumed_words(class_names: Sequence[str]) -> str:
    """Returns the caution of a model or a bundle for which the second of two classes was taken for the disease."""
    return (
        f"Nobody said which class is the disease: {class_names[1]!r} is taken for it because it stands second, as "
        f"earlier releases did. If {class_names[0]!r} is the disease, every answer is the wrong way round: train again "
        "with this release, which asks."
    )


def reversed_words(class_names: Sequence[str], positive: Sequence[int], label: str = "") -> str | None:
    """Returns the caution where what reads as healthy is called the disease, beside one that reads as it; else None.

    Args:
      class_names, label: as for `guess`.
      positive: indices of the classes that are called the disease.
    """
    guessed = guess(class_names, label)
    numbers = _numbers(class_names)
    if not guessed and (numbers is not None or all(plain_name(name) in BARE for name in class_names)):
        return None  # "no" of "is_normal" is the disease
    readings = (
        [number == 0 for number in numbers] if numbers is not None else [reads_healthy(name) for name in class_names]
    )
    healthy = [repr(name) for index, name in enumerate(class_names) if index in positive and readings[index]]
    ill = [repr(name) for index, name in enumerate(class_names) if readings[index] is False]
    if not healthy or not ill:
        return None
    left = [repr(name) for index, name in enumerate(class_names) if readings[index] is False and index not in positive]
    return (
        f"{', '.join(healthy)} was called the disease, and reads as healthy; {', '.join(left or ill)} reads as a "
        f"disease{' and was not called one' if left else ', too'}. If that is a mistake, every healthy eye is "
        f"referred{' and every ill one passed' if left else ''}."
    )


def indices(class_names: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Returns the sorted indices of the classes called `wanted`.

    Raises:
      ValueError: a name that is none of them, or all of them: nobody would be without the disease.
    """
    unknown = [name for name in wanted if name not in class_names]
    if unknown:
        raise ValueError(
            f"no class is called {', '.join(map(repr, unknown))}; there are {', '.join(map(repr, class_names))}"
        )
    found = tuple(sorted({list(class_names).index(name) for name in wanted}))
    if len(found) == len(class_names):
        raise ValueError("all classes are called the disease; at least one must be without it")
    return found


def turned(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns operating points of one class of two as the other's: the same decisions, told the other way round.

    Whoever is not called the one is called the other, so that the sensitivity for one is the specificity for the other.
    A point named for the one promise then keeps the other.

    Args:
      points: each with name, threshold (of one class's probability), sensitivity and specificity.
    """
    rows = []
    for point in points:
        kind, _, target = point["name"].partition("_")
        other = {"sensitivity": "specificity", "specificity": "sensitivity"}.get(kind, kind)
        row = {
            **point,
            "name": f"{other}_{target}" if target else other,
            "threshold": min(max(1 - point["threshold"], 0.0), 1.0),
        }
        rows.append(row | {"sensitivity": point["specificity"], "specificity": point["sensitivity"]})
    return rows


def of_disease(
    points: Sequence[Mapping[str, Any]], chosen_for: Sequence[int], positive: Sequence[int]
) -> list[dict[str, Any]]:
    """Returns operating points as those of the disease.

    Args:
      points: see `turned`.
      chosen_for: indices of the classes whose probability their thresholds are of; earlier releases: (1,), of two
        classes.
      positive: those of the disease.

    Returns:
      The points as they are, those of two classes told the other way round, or [] where they are of something else.
    """
    if tuple(chosen_for) == tuple(positive):
        return [dict(point) for point in points]
    return turned(points) if {tuple(chosen_for), tuple(positive)} == {(0,), (1,)} else []


def _is_disease(label: str) -> bool:
    """Says whether a label may be that of a disease; one called "normal" or "image quality" is not."""
    plain = plain_name(label)
    words, others = set(plain.split()), NOT_A_DISEASE | UNCLEAR
    return not reads_plain(plain) and not (words & others and words <= others | FILLERS)


def _may_be_good_news(plain: str) -> bool:
    """Says whether yes may mean that nothing is wrong: "is normal", "glaucoma ruled out", or a letter.

    "n" beside "d" and "g" is normal, "o. B." without findings.
    """
    return all(len(word) == 1 for word in plain.split()) or (
        bool(set(plain.split()) & GOOD_NEWS) and not NORMAL_DISEASE.search(plain)
    )


def _healthy_outright(name: str) -> bool:
    """Says whether a class without the disease may be called healthy; a non-referable eye may have another grade."""
    plain = plain_name(name)
    return bool(reads_plain(plain)) and not plain.startswith("non")


def _numbers(class_names: Sequence[str]) -> list[int] | None:
    """Returns the numbers of numbered classes ("0", "1"; "grade 0", "grade 1"); None where they are names."""
    found = [re.fullmatch(r"(?:([a-z]+(?: [a-z]+)*) ?)?(\d+)", plain_name(name)) for name in class_names]
    if not all(found):
        return None
    prefixes = {match[1] or "" for match in found if match}
    if len(prefixes) != 1 or not set(prefixes.pop().split()) <= NUMBERED:
        return None
    return [int(match[2]) for match in found if match]
