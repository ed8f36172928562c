"""Measures whether a model is better than guessing, or, of masks, better than a constant answer.

Answers: the area under the ROC curve of each question of yes or no, against 0.5; of a task without such a question
(several classes) the balanced accuracy, against that of answers that do not look at the photograph. Masks: the error of
the vertical cup-to-disc ratio against always answering one ratio, and the Dice coefficient against one mask for all
photographs (`masks.constant`). Intervals are bootstrapped by patient, those of masks paired. Computed from what an
evaluation holds already: no judged photograph is read again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dr_edge.data.known_patients import counted
from dr_edge.data.tasks import Task
from dr_edge.evaluation.number_text import interval as bounds_in_words
from dr_edge.evaluation.number_text import number
from dr_edge.evaluation.operating_points import Question, questions
from dr_edge.metadata import finite_or_none
from dr_edge.metrics import bootstrap
from dr_edge.metrics.bootstrap import Statistic
from dr_edge.verdict import (
    BETTER,
    CONSTANT,
    GUESSING,
    NOT_EVALUATED,
    NOT_TOLD,
    STATUSES,
    UNRELIABLE,
    WORSE,
    title,
    unmeasured,
)

# Below so many patients of a class the percentile interval promises too much: of scores drawn by lot, 5 against 40
# patients came out "better" 7 times in 100 where it should be 2 or 3, 8 against 8 twice.
FEWEST = 8
# The AUC looks at the order of the scores only. Where they all lie this close, a threshold calls everybody ill or
# nobody.
LEAST_SPREAD = 0.01
RATIO = "vertical cup-to-disc ratio"


@dataclasses.dataclass(frozen=True)
class People:
    """Who was judged.

    Attributes:
      patients: [N] patient of each photograph.
      known: the records say which photographs are of one patient; else each counts as one, and none are spoken of.
    """

    patients: np.ndarray
    known: bool = True

    def __getitem__(self, rows: np.ndarray) -> People:
        """Returns those of some photographs, [N] bool."""
        return People(self.patients[rows], self.known)

    def __len__(self) -> int:
        """Returns the number of photographs."""
        return len(self.patients)

    @property
    def count(self) -> int:
        """How many there are, as far as the records tell them apart."""
        return int(np.unique(self.patients).size)

    @property
    def stated(self) -> int | None:
        """Their count for a reader; None where nobody knows it."""
        return self.count if self.known else None

    @property
    def word(self) -> str:
        """What is counted."""
        return "patients" if self.known else "images"


def of_answers(
    task: Task, labels: np.ndarray, probabilities: np.ndarray, people: People, split: str, unseen: bool
) -> dict[str, Any]:
    """Returns the verdict on a classification or multilabel model.

    Args:
      task: classification or multilabel.
      labels: [N] int, or [N, L] of 0, 1, -1 (not known).
      probabilities: [N, C].
      people: of the N photographs.
      split: the name of what was judged.
      unseen: the photographs had no part in training or in choosing the best epoch.
    """
    asked = questions(task, labels, probabilities, people.patients)
    # Of several classes the reports' AUC is a mean over them: the question's own is told from it by its name.
    named = task.kind == "classification" and len(task.class_names) > 2
    parts = [_area(question, People(question.groups, people.known), named) for question in asked]
    if not parts:
        parts = [_balanced(labels, probabilities.argmax(axis=1), people)]
    return _whole(parts, GUESSING, split, people, unseen)


def of_masks(
    class_names: Sequence[str], true_vcdr: np.ndarray | None, found_vcdr: np.ndarray | None, dice: np.ndarray,
    constant_dice: np.ndarray, people: People, split: str, unseen: bool, constant_ratio: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Returns the verdict on a segmentation model.

    Args:
      class_names: of the M masks.
      true_vcdr, found_vcdr: [N] float, NaN where there is none; None for a task without disc and cup.
      dice, constant_dice: [N, M] of the model and of the constant mask, NaN where undefined.
      people, split, unseen: as in `of_answers`.
      constant_ratio: the ratio to do better than; None for the median of `true_vcdr`, of all constants the one that is
        off by least.
    """
    parts = []
    if true_vcdr is not None and found_vcdr is not None:
        parts.append(_ratio(true_vcdr, found_vcdr, people, constant_ratio))
    parts += [_overlap(name, dice[:, index], constant_dice[:, index], people) for index, name in enumerate(class_names)]
    return _whole(parts, CONSTANT, split, people, unseen)


def _area(question: Question, people: People, named: bool) -> dict[str, Any]:
    """Judges the AUC of one question; `named`: the text says which."""
    name, scores, positive = question.name, question.scores, question.labels == 1
    counts = {side: people[rows].count for side, rows in {"with": positive, "without": ~positive}.items()}
    value, interval = None, None
    if all(counts.values()):
        statistic = bootstrap.weighted_auc(positive, scores)
        value = finite_or_none(statistic(np.ones((1, len(positive))))[0])
        interval = bootstrap.bootstrap_interval(statistic, people.patients).to_json()
    few = next((f"only {count} {people.word} {side} it" for side, count in counts.items() if count < FEWEST), None)
    if few is None and np.ptp(scores) < LEAST_SPREAD:
        few = (
            f"all images get the same probability ({number(float(scores.min()), 3)} to "
            f"{number(float(scores.max()), 3)})"
        )
    said = f"AUC {f'for {name}: ' if named else ''}{number(value)}{_of(interval)}, guessing gives 0.50"
    return _part(name, f"AUC of {name}", value, 0.5, interval, None, people, few, said, more_is_better=True)


def _balanced(labels: np.ndarray, predicted: np.ndarray, people: People) -> dict[str, Any]:
    """Judges the mean recall of the classes that enough patients have."""
    classes = [index for index in np.unique(labels) if people[labels == index].count >= FEWEST]
    if len(classes) < 2:
        few = f"only {len(classes)} of the classes have {FEWEST} {people.word} or more"
        return _part("the classes", "balanced accuracy", None, None, None, None, people, few, few, more_is_better=True)
    chance = 1 / len(classes)  # whoever does not look at the photograph reaches no more on average
    recalls: list[Statistic] = [bootstrap.weighted_share(predicted == index, labels == index) for index in classes]
    statistic = bootstrap.mean_of_defined(recalls)
    value = finite_or_none(statistic(np.ones((1, len(labels))))[0])
    interval = bootstrap.bootstrap_interval(statistic, people.patients).to_json()
    said = (
        f"balanced accuracy {number(value)}{_of(interval)} over {len(classes)} classes, guessing gives {number(chance)}"
    )
    return _part(
        "the classes", "balanced accuracy", value, chance, interval, None, people, None, said, more_is_better=True
    )


def _ratio(true: np.ndarray, found: np.ndarray, people: People, constant: float | None) -> dict[str, Any]:
    """Judges the vertical cup-to-disc ratio; where none was found there is no answer to judge."""
    both = np.isfinite(true) & np.isfinite(found)
    if not both.any():
        few = "on no photograph were both found and labelled"
        return _part(
            RATIO, f"error of the {RATIO}", None, None, None, None, people[both], few, few, more_is_better=False
        )
    whose = "their own median" if constant is None else "the median of the validation photographs"
    constant = float(np.median(true[both])) if constant is None else constant
    own, other = np.abs(found - true)[both], np.abs(constant - true)[both]
    # A std of equal numbers may round up.
    varied = both.sum() > 2 and np.ptp(true[both]) > 0 and np.ptp(found[both]) > 0
    correlation = finite_or_none(np.corrcoef(true[both], found[both])[0, 1]) if varied else None
    said = (
        f"off by {number(float(own.mean()), 3)} on average, always answering {number(constant)}, {whose}, by "
        f"{number(float(other.mean()), 3)}"
    )
    said += f" (correlation with the labelled ratio {'none' if correlation is None else number(correlation)})"
    part = _paired(RATIO, f"error of the {RATIO}", own, other, people[both], said, more_is_better=False)
    return part | {"constant": constant, "correlation": correlation}


def _overlap(name: str, own: np.ndarray, other: np.ndarray, people: People) -> dict[str, Any]:
    """Judges the Dice coefficient of one mask."""
    both = np.isfinite(own) & np.isfinite(other)
    if not both.any():
        few = "no photograph has it labelled"
        return _part(name, f"Dice of the {name}", None, None, None, None, people[both], few, few, more_is_better=True)
    said = (
        f"Dice {number(float(own[both].mean()), 3)}, one mask for all photographs "
        f"{number(float(other[both].mean()), 3)}"
    )
    return _paired(name, f"Dice of the {name}", own[both], other[both], people[both], said, more_is_better=True)


def _paired(
    name: str, metric: str, own: np.ndarray, other: np.ndarray, people: People, said: str, more_is_better: bool
) -> dict[str, Any]:
    """Judges the mean of `own` [n] against that of `other` [n] on the same photographs."""
    interval = bootstrap.bootstrap_interval(bootstrap.weighted_mean(own), people.patients).to_json()
    difference = bootstrap.bootstrap_interval(bootstrap.weighted_mean(own - other), people.patients).to_json()
    few = f"only {people.count} {people.word} have it labelled and found" if people.count < FEWEST else None
    value, base = float(own.mean()), float(other.mean())
    return _part(name, metric, value, base, interval, difference, people, few, said, more_is_better)


def _part(
    name: str, metric: str, value: float | None, base: float | None, interval: list[float] | None,
    difference: list[float] | None, people: People, few: str | None, said: str, more_is_better: bool,
) -> dict[str, Any]:  # fmt: skip
    """Returns one part of a verdict; `few` says why nothing can be told, whatever the interval."""
    status = NOT_TOLD
    bounds = (
        difference
        if difference is not None
        else (None if interval is None or base is None else [end - base for end in interval])
    )
    if few is None and bounds is not None and not bounds[0] <= 0 <= bounds[1]:
        status = BETTER if (bounds[0] > 0) == more_is_better else WORSE
    return {
        "name": name, "status": status, "metric": metric, "value": value, "baseline_value": base, "interval": interval,
        "difference_interval": difference, "images": len(people), "patients": people.stated,
        "text": f"{said}; {few}" if few and few != said else said,
    }  # fmt: skip


def _whole(parts: Sequence[dict[str, Any]], baseline: str, split: str, people: People, unseen: bool) -> dict[str, Any]:
    """Joins parts: the worst one decides."""
    status = next(status for status in STATUSES if any(part["status"] == status for part in parts))
    decisive = next(part for part in parts if part["status"] == status)
    on = f"On {counted(len(people), people.stated, f'{split} images')}."
    text = _sentences(parts, status, baseline)
    if status == BETTER and not unseen:
        why = f"Not evaluated on images that the model has not seen: the {split} split had a part in its training."
        return unmeasured(NOT_EVALUATED, why, baseline, parts) | {"split": split, "images": len(people)}
    caution = None
    if status in UNRELIABLE:
        named = "" if len(parts) == 1 else f" for {decisive['name']}"
        caution = (
            f"{title(status, baseline)}{named} on the {split} images: {decisive['text']}. Do not rely on this answer."
        )
    return {
        "status": status, "title": title(status, baseline), "text": f"{text} {on}", "caution": caution,
        "baseline": baseline, "value": decisive["value"], "interval": decisive["interval"], "split": split,
        "images": len(people), "patients": people.stated, "parts": [dict(part) for part in parts],
    }  # fmt: skip


def _sentences(parts: Sequence[Mapping[str, Any]], first: str, baseline: str) -> str:
    """Returns a sentence per status, that of `first` before the others."""
    lines = []
    for status in sorted({part["status"] for part in parts}, key=lambda one: (one != first, STATUSES.index(one))):
        own = [part for part in parts if part["status"] == status]
        said = [part["text"] if len(parts) == 1 else f"{part['name']}: {part['text']}" for part in own]
        lines.append(f"{title(status, baseline)}: {'; '.join(said)}.")
    return " ".join(lines)


def _of(interval: list[float] | None) -> str:
    return f" (95\u00a0% interval {bounds_in_words(interval)})" if interval else ""
