"""Which classes mean that the disease is there: read from their names where that is safe, else not known.

Folders and columns are sorted, so that the disease stands as often first ("glaucoma", "normal") as last ("healthy",
"sick"). What is read here decides thresholds, colours and who is referred; a name that may mean both says nothing.
Standard library only, so that `build`, `train` and the readers of bundles share it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

REFERABLE_FROM = 2  # grade of the International Clinical DR scale, Wilkinson et al., 2003
GRADE_LABEL = "dr_grade"  # its grade 1 is a disease, but not one to refer



def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


HEALTHY = _words(
    "normal normals healthy control controls negative negatives neg absent absence unaffected undiseased false none wnl nrg "
    "nrdr gesund sano sana sain 正常 健康"
)
# Words beside those above that change nothing: "normal fundus images". Not "tension": normal tension glaucoma is one.
FILLERS = _words(
    "a the eye eyes fundus fundi retina retinas retinal macula disc image images img imgs photo photos photograph photographs "
    "picture pictures scan scans sample samples subject subjects patient patients case cases class group volunteer volunteers "
    "folder data dataset left right od os is are has label flag"
)
# Neither healthy nor ill: beside them nobody can say which of the other classes are the disease.
UNCLEAR = _words(
    "ungradable ungradeable ungraded gradable gradeable unknown unlabelled unlabeled unclassified unsure uncertain unclear "
    "undetermined indeterminate equivocal borderline missing artifact artifacts artefact artefacts quality blurred blurry reject "
    "rejected excluded invalid unusable usable unreadable misc miscellaneous rest good bad poor fair treatment pending tbd todo na nd skip "
    "ignore assessable unassessable interpretable uninterpretable duplicate discarded beurteilbar unbeurteilbar unklar unbekannt fraglich "
    "new neu unsorted unsortiert sonstige sonstiges duplicates duplikate doppelt tmp temp inbox "
    "illisible incertain indetermine inconnu inclassable evaluable desconocido dudoso ilegible indeterminado"
)
# Of a class with words of its own beside one of these nobody can say it ("normal variant", "healthy with drusen") ...
HALF_SAID = _words("normal normals healthy")
# ... but for these diseases.
NORMAL_DISEASE = re.compile(r"\bnormal (tension|pressure)\b")
# What "no ..." may lack without being healthy.
NO_FINDING = _words(
    "image images photo photograph fundus view label labels grade data diagnosis information light consent known sure certain idea answer "
    "opinion consensus result results treatment treated therapy surgery operation laser lasered medication drops insulin vegf glasses "
    "flash crop cropped mask masked smoker smoking smokers"
)
# "non-..." of these names another disease (non-proliferative DR, non-exudative AMD) or says nothing.
SUBTYPES = (
    "prolif", "exud", "neovasc", "isch", "arter", "perfus", "infect", "granul", "rhegm", "cent", "clinical", "cystoid", "severe",
    "advanced", "sight", "vision", "mydri", "insulin", "specific", "penetr", "macula", "high risk", "active", "age", "diabetic ",
    "standard", "stereo", "compress",
)  # fmt: skip
NUMBERED = _words("class grade level stage label severity score category dr r icdr retinopathy glaucoma disease dme")
# Names that say nothing without that of their label: "glaucoma yes".
BARE = _words("yes no true false present absent positive negative pos neg y n")
# A label that is itself the good news ("normal": 1), or no disease at all.
NOT_A_DISEASE = _words(
    "quality gradable gradability gradeable usable usability adequacy laterality eye side sex gender age camera device site "
    "hospital split fold"
)
# Beside any of these yes and no, or 0 and 1, may mean anything: "is_normal", "image quality ok", "fundus_visible".
GOOD_NEWS = HALF_SAID | UNCLEAR | _words(
    "normality quality gradability usability adequacy adequate acceptable acceptance sufficient visible visibility ok okay pass passed valid clear"
)
_DENIED = re.compile(
    r"(?:(no|not|non|without|w o|free of|free from|absence of|ohne|keine?|sin|sans|senza|sem) |(non)(?!e\b)(?=[a-z]))(.+)"
)
_FUSED = re.compile(r"^no(dr|rdr|dme|rop|amd|armd|glaucoma|cataract|retinopathy|disease|findings?|patholog\w*|lesions?)\b")


def reads_healthy(name: str) -> bool | None:
    """Says whether a class name means "without the disease"; None where it means neither that nor a disease."""
    return _reads(_plain(name))


def guess(class_names: Sequence[str], label: str = "") -> tuple[int, ...]:
    """Returns the indices of the classes that mean the disease, () where the names do not say it safely.

    Exactly one class must read as without it; the others together are the disease. Of numbered classes 0 is the one without.

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
    says_nothing = numbers is not None or all(_plain(name) in BARE for name in class_names)
    if says_nothing and label and _may_be_good_news(_plain(label)):
        return ()
    if numbers is not None:
        readings: list[bool | None] = [number == 0 for number in numbers]
    else:
        readings = [reads_healthy(name) for name in class_names]
    if readings.count(True) != 1 or None in readings or len(readings) < 2:
        return ()
    return tuple(index for index, healthy in enumerate(readings) if not healthy)


def grade_of(name: str) -> int | None:
    """Returns the DR grade 0..4 that a class name says ("2", "grade 2", "moderate NPDR"); None where it says none."""
    plain = _plain(name)
    number = re.fullmatch(r"(?:[a-z ]*\b)?(\d+)", plain) or re.match(r"(\d+)\b", plain)
    if number:
        return int(number[1])
    for grade, word in ((1, "mild"), (2, "moderate"), (3, "severe")):
        if re.search(rf"\b{word}\b", plain):
            return grade
    if _reads(plain):
        return 0
    return 4 if re.search(r"(?<!non )\bprolifer|\bpdr\b", plain) else None


def named(class_names: Sequence[str], positive: Sequence[int], label: str = "") -> str:
    """Returns the positive classes in words: "glaucoma", "glaucoma or cataract", "glaucoma yes", "dr_grade >= 2"; "" where there are none."""
    names, chosen = list(class_names), sorted(positive)
    if not chosen:
        return ""
    tail = chosen == list(range(chosen[0], len(names)))
    if all(name.isdecimal() for name in names):
        what = label or "class"
        return f"{what} {names[chosen[0]]}" if len(chosen) == 1 else f"{what} >= {names[chosen[0]]}" if tail else (
            f"{what} {' or '.join(names[index] for index in chosen)}"
        )  # fmt: skip
    if label == GRADE_LABEL and tail and len(chosen) > 1:
        return f"grade >= {chosen[0]}"
    if label and label != "class" and len(chosen) == 1 and _plain(names[chosen[0]]) in BARE:
        return f"{label} {names[chosen[0]]}"
    if len(chosen) > 3:
        return f"any but {' and '.join(name for index, name in enumerate(names) if index not in chosen)}"
    return " or ".join(names[index] for index in chosen)


def sentence(class_names: Sequence[str], positive: Sequence[int], label: str = "") -> str:
    """Returns "Disease: glaucoma; healthy: normal", or that no class is known to be the disease; `label`: as for `guess`."""
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
        f"Nobody said which class is the disease: {class_names[1]!r} is taken for it because it stands second, as earlier "
        f"releases did. If {class_names[0]!r} is the disease, every answer is the wrong way round: train again with this "
        f"release, which asks."
    )


def indices(class_names: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Returns the sorted indices of the classes called `wanted`.

    Raises:
      ValueError: a name that is none of them, or all of them: nobody would be without the disease.
    """
    unknown = [name for name in wanted if name not in class_names]
    if unknown:
        raise ValueError(f"no class is called {', '.join(map(repr, unknown))}; there are {', '.join(map(repr, class_names))}")
    found = tuple(sorted({list(class_names).index(name) for name in wanted}))
    if len(found) == len(class_names):
        raise ValueError("all classes are called the disease; at least one must be without it")
    return found


def turned(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns operating points of one of two classes as those of the other: the same decisions, told the other way round.

    Whoever is not called the one is called the other, so that the sensitivity for one is the specificity for the other. A
    point named for the one promise then keeps the other.

    Args:
      points: each with name, threshold (of one class's probability), sensitivity and specificity.
    """
    rows = []
    for point in points:
        kind, _, target = point["name"].partition("_")
        other = {"sensitivity": "specificity", "specificity": "sensitivity"}.get(kind, kind)
        row = {**point, "name": f"{other}_{target}" if target else other, "threshold": min(max(1 - point["threshold"], 0.0), 1.0)}
        rows.append(row | {"sensitivity": point["specificity"], "specificity": point["sensitivity"]})
    return rows


def of_disease(
    points: Sequence[Mapping[str, Any]], chosen_for: Sequence[int], positive: Sequence[int]
) -> list[dict[str, Any]]:
    """Returns operating points as those of the disease.

    Args:
      points: see `turned`.
      chosen_for: indices of the classes whose probability their thresholds are of; earlier releases: (1,), of two classes.
      positive: those of the disease.

    Returns:
      The points as they are, those of two classes told the other way round, or [] where they are of something else.
    """
    if tuple(chosen_for) == tuple(positive):
        return [dict(point) for point in points]
    return turned(points) if {tuple(chosen_for), tuple(positive)} == {(0,), (1,)} else []


def _plain(name: str) -> str:
    """Returns a name in small letters without accents, signs and the number that orders it: "1_NoDR" -> "no dr"."""
    text = "".join(sign for sign in unicodedata.normalize("NFKD", str(name)) if not unicodedata.combining(sign))
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).casefold()
    text = re.sub(r"[\W_]+", " ", text).strip()
    return re.sub(r"^\d+ (?=\D)", "", text)


def _reads(plain: str) -> bool | None:
    text = re.sub(r"(?<=\D) \d+$", "", plain)
    words = set(text.split())
    if not text or words & UNCLEAR or all(len(word) == 1 and word.isascii() for word in words):  # "x", "k.A."
        return None
    if text in ("no", "non", "not") or (words & HEALTHY and words <= HEALTHY | FILLERS):
        return True
    if re.search(r"\b(no|negative|neg|absent|free|not (present|detected|found|seen))$", text):
        return True
    while text.partition(" ")[0] in FILLERS | {"with"}:  # "eyes without glaucoma"
        text = text.partition(" ")[2]
    denied = _DENIED.match(text)
    if denied:
        rest = denied[3].strip()
        if set(rest.split()) & NO_FINDING or rest.isdecimal():
            return None
        if (denied[1] in ("non", "not") or denied[2]) and rest.startswith(SUBTYPES):
            return False
        return not _reads(rest)  # "not normal"
    if words & HALF_SAID and not NORMAL_DISEASE.search(text):
        return None
    return bool(_FUSED.match(text))


def _is_disease(label: str) -> bool:
    """Says whether a label may be that of a disease; one called "normal" or "image quality" is not."""
    plain = _plain(label)
    words, others = set(plain.split()), NOT_A_DISEASE | UNCLEAR
    return not _reads(plain) and not (words & others and words <= others | FILLERS)


def _may_be_good_news(plain: str) -> bool:
    """Says whether yes may mean that nothing is wrong: "is normal", "image quality ok", or a letter ("n" beside "d" and "g" is normal)."""
    return len(plain) == 1 or (bool(set(plain.split()) & GOOD_NEWS) and not NORMAL_DISEASE.search(plain))


def _healthy_outright(name: str) -> bool:
    """Says whether a class without the disease may be called healthy; a non-referable eye may have another grade."""
    plain = _plain(name)
    return bool(_reads(plain)) and not plain.startswith("non")


def _numbers(class_names: Sequence[str]) -> list[int] | None:
    """Returns the numbers of numbered classes ("0", "1"; "grade 0", "grade 1"); None where they are names."""
    found = [re.fullmatch(r"(?:([a-z]+(?: [a-z]+)*) ?)?(\d+)", _plain(name)) for name in class_names]
    if not all(found):
        return None
    prefixes = {match[1] or "" for match in found if match}
    if len(prefixes) != 1 or not set(prefixes.pop().split()) <= NUMBERED:
        return None
    return [int(match[2]) for match in found if match]
