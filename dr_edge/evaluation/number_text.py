"""Numbers in words: what an evaluation found, for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dr_edge.data.known_patients import counted
from dr_edge.data.tasks import Task


def number(value: float | None, digits: int = 2) -> str:
    """Returns a value with fixed digits, or a dash where it is undefined; 0.998 never reads as 1.00."""
    if value is None:
        return "–"
    if value < 1 and round(value, digits) == 1:
        return f"{value:.3f}" if round(value, 3) < 1 else ">\u00a00.999"
    return f"{value:.{digits}f}"


def interval(bounds: list[float] | None, digits: int = 2) -> str:
    """Returns "0.84 to 0.96", or "" where there is no interval."""
    return "" if bounds is None else f"{number(bounds[0], digits)} to {number(bounds[1], digits)}"


def plain_reason(reason: str) -> str:
    """Returns the reason of a refusal in words that a reader of a report knows."""
    return {"distance": "unlike training", "quality": "too poor"}.get(reason, reason)


FILTERS: dict[str, Callable[..., str]] = {
    "number": number,
    "interval": interval,
    "plain_reason": plain_reason,
}  # of reports


def with_interval(name: str, value: float | None, bounds: list[float] | None) -> str:
    """Returns "AUC 0.91 (95\u00a0% interval 0.84 to 0.96)"."""
    return f"{name} {number(value)}" + (f" (95\u00a0% interval {interval(bounds)})" if bounds else "")


def one_line(content: dict[str, Any]) -> str:
    """Returns the result of a metrics.json in one line, for a terminal."""
    values, parts = content["metrics"], []
    if "accuracy" in values:
        parts.append(f"accuracy {number(values['accuracy'], 3)}")
        parts.append(with_interval("AUC", values["auc"], values["auc_interval"]))
        parts += [f"QWK {number(values['qwk'])}"] if values["qwk"] is not None else []
    elif "mean_f1" in values:
        parts.append(f"mean F1 {number(values['mean_f1'], 3)}")
        parts.append(with_interval("mean AUC", values["mean_auc"], values["mean_auc_interval"]))
    else:
        parts += [f"Dice of the {name} {number(entry['dice'], 3)}" for name, entry in values["per_class"].items()]
    return f"{content['split']}, n = {content['images']}: {', '.join(parts)}"


def said(content: dict[str, Any]) -> list[str]:
    """Returns what `evaluate` says of a metrics.json: verdict, numbers, if the probabilities can be used, stability."""
    unusable = content.get("calibration", {}).get("caution")  # masks have no calibration
    stability = content.get("stability", {}).get("sentence")  # not there where nothing was measured
    further = [text for text in (unusable, stability) if text is not None]
    return [content["verdict"]["text"], one_line(content), *further]


def summary(content: dict[str, Any]) -> list[str]:
    """Returns the result of a classification or multilabel metrics.json in sentences that need no statistics."""
    task, values = Task.from_json(content["task"]), content["metrics"]
    judged = f"{counted(content['images'], values['patients'])} from the {content['split']} split"
    if task.kind == "multilabel":
        return [
            f"Judged on {judged}.",
            (
                f"Over {len(task.class_names)} diseases: "
                f"{with_interval('mean F1', values['mean_f1'], values['mean_f1_interval'])}, "
                f"{with_interval('mean AUC', values['mean_auc'], values['mean_auc_interval'])}."
            ),
        ]
    largest = max(entry["support"] for entry in values["per_class"].values()) / content["images"]
    lines = [
        f"The model named the right class for {100 * values['accuracy']:.0f}\u00a0% of {judged}; always "
        "naming "
        "the most "
        f"frequent class would have been right for {100 * largest:.0f}\u00a0%."
    ]
    if values["auc"] is None:
        return lines
    stated = with_interval("AUC", values["auc"], values["auc_interval"])
    if len(task.class_names) == 2:
        disease = task.positive[0] if task.positive else 1
        negative, positive = task.class_names[1 - disease], task.class_names[disease]
        lines.append(
            f"Shown one {positive} and one {negative} image, it gives the {positive} one the higher "
            "probability "
            f"{100 * values['auc']:.0f} times out of 100: {stated}."
        )
    else:
        lines.append(f"Averaged over the classes, each against the rest: {stated}.")
    return lines


def tiles(content: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Returns (name, value, interval) of the numbers at the top of a report; undefined ones are left out."""
    values = content["metrics"]
    if "mean_f1" in values:
        names = {"mean_f1": "Mean F1", "mean_auc": "Mean AUC", "exact_match": "All diseases right"}
    else:
        names = {
            "auc": "AUC",
            "accuracy": "Accuracy",
            "balanced_accuracy": "Balanced accuracy",
            "macro_f1": "Mean F1 of classes",
            "qwk": "Weighted kappa",
        }
    return [
        (name, number(values[key]), interval(values.get(f"{key}_interval")))
        for key, name in names.items()
        if values[key] is not None
    ]
