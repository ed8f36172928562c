"""Compares two evaluated runs on the images that both judged, by a paired bootstrap.

Both runs see the same draws of patients, so that what is hard about a draw is hard for both and cancels. That
is much sharper than looking whether two intervals overlap.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dr_edge import metadata, verdict
from dr_edge.data.known_patients import counted
from dr_edge.data.tasks import Task
from dr_edge.evaluation.masks import compare as compare_masks
from dr_edge.evaluation.masks import table as mask_table
from dr_edge.evaluation.masks.scores import MaskScores
from dr_edge.evaluation.number_text import number
from dr_edge.evaluation.paired import Pair, differences
from dr_edge.evaluation.predictions import MISSING, Predictions, from_csv
from dr_edge.metrics import bootstrap
from dr_edge.metrics.bootstrap import Statistic

NAMES = {"auc": "AUC", "accuracy": "accuracy", "qwk": "quadratic weighted kappa"}

Rows = TypeVar("Rows", Predictions, MaskScores)


def compare(
    run_a: str | os.PathLike, run_b: str | os.PathLike, split: str, draws: int = bootstrap.DRAWS
) -> dict[str, Any]:
    """Compares run B with run A.

    Args:
      run_a, run_b: run directories that hold an evaluation of `split`.
      split: the split that both were judged on.
      draws: bootstrap draws.

    Returns:
      runs [A, B], verdicts (sentences: is each better than guessing), split, task, images, patients (None where the
      records do not know them), left_out (images that only one run judged), notes (sentences: what is
      missing, and which run was trained elsewhere), and metrics {name: {a, b, difference (B - A), interval, b_better
      (share of draws), draws, less_is_better}}; a metric that is undefined on these images is left out. The metrics
      are auc, accuracy and qwk, with only_a_right and only_b_right (answers) beside them; or, of masks, those of
      `compare_masks.pairs`, each with images, only_a and only_b (images where only that run has a value).

      The AUC of several diseases or classes is the mean of those that are defined on the common images; a bootstrap
      draw in which one of these is undefined gives the mean of the others, the same ones for both runs.

    Raises:
      ManifestError: an evaluation is missing.
      ValueError: different tasks, datasets or splits, different labels or patients for one image, or no image in
        common.
    """
    directories = [Path(run) / "evaluation" / split for run in (run_a, run_b)]
    contents = [metadata.read_manifest(directory, "evaluation") for directory in directories]
    task = _same_task(contents, run_a, run_b)
    _check_same_data(contents, run_a, run_b, split)
    result: dict[str, Any] = {
        "runs": [str(run_a), str(run_b)],
        "split": split,
        "task": task.name,
        "notes": _trained_elsewhere(contents),
    }
    result["verdicts"] = [verdict.of_bundle(content)["text"] for content in contents]
    if task.kind == "segmentation":
        names = task.class_names[: len(task.masks)]  # the rest are heat maps of points
        scores = [mask_table.from_csv(directory, names) for directory in directories]
        first, second = _aligned(scores[0], scores[1], run_a, run_b, split)
        compare_masks.check_labels(first, second, run_a, run_b)
        metrics = differences(compare_masks.pairs(names, first, second), first.patients, draws)
        return result | _counts(contents, scores, first.patients) | {"metrics": metrics}
    tables = [from_csv(directory, task) for directory in directories]
    a, b = _aligned(tables[0], tables[1], run_a, run_b, split)
    _check_labels(a, b, run_a, run_b)
    result["notes"] += _undefined(task, a)
    of_a, of_b = _statistics(task, a), _statistics(task, b)
    right_a, right_b = (_right(task, rows) for rows in (a, b))
    answers = {
        "only_a_right": int((right_a & ~right_b).sum()),
        "only_b_right": int((right_b & ~right_a).sum()),
    }
    metrics = differences({name: Pair(of_a[name], of_b[name]) for name in of_a}, a.patients, draws)
    return result | _counts(contents, tables, a.patients) | answers | {"metrics": metrics}


def table(result: dict[str, Any]) -> str:
    """Returns the comparison as lines for a terminal."""
    judged = f"{counted(result['images'], result['patients'])} judged by both"
    others = f" ({result['left_out']} by one only, left out)" if result["left_out"] else ""
    width = max([26] + [len(name) + 2 for name in result["metrics"]])
    lines = [
        f"{result['task']}, {result['split']} split, {judged}{others}",
        *(
            f"{side} = {run}\n    {said}"
            for side, run, said in zip("AB", result["runs"], result["verdicts"], strict=True)
        ),
        " " * width + f"{'A':>8}{'B':>8}{'B - A':>9}   95 % interval      B better in",
    ]
    for name, entry in result["metrics"].items():
        bounds = entry["interval"]
        interval = f"{bounds[0]:+.3f} to {bounds[1]:+.3f}" if bounds else "none"
        better = "" if entry["b_better"] is None else f"{100 * entry['b_better']:.1f} % of draws"
        values = f"{number(entry['a'], 3):>8}{number(entry['b'], 3):>8}{entry['difference']:>+9.3f}"
        lines.append(f"{NAMES.get(name, name):{width}}{values}   {interval:18} {better}".rstrip())
    for name, entry in result["metrics"].items():
        if entry.get("only_a") or entry.get("only_b"):
            lines.append(
                f"{name}: {entry['images']} images; a value from A alone on {entry['only_a']}, from B alone on "
                f"{entry['only_b']}, left out"
            )
    if "only_a_right" in result:
        lines.append(f"only A right: {result['only_a_right']}, only B right: {result['only_b_right']}")
    return "\n".join(lines + result["notes"])


def _trained_elsewhere(contents: list[dict[str, Any]]) -> list[str]:
    """Returns a sentence for each run that was not trained on the records of its evaluation."""
    return [
        f"{name} was trained on other records than {content['records']['dataset']} in "
        f"{content['records']['directory']}: its training images may be among the judged ones. Make sure that no "
        "patient is in both."
        for name, content in zip("AB", contents, strict=True)
        if content.get("trained_on_these_records") is False
    ]


def _undefined(task: Task, table: Predictions) -> list[str]:
    """Returns a sentence on diseases or classes whose AUC the common images leave undefined; [] where there is none."""
    if task.kind == "multilabel":
        answers = table.labels.T
        lacking = [name for name, known in zip(task.class_names, answers, strict=True) if not _both(known)]
    elif len(task.class_names) > 2:
        lacking = [name for index, name in enumerate(task.class_names) if not (table.labels == index).any()]
    else:
        lacking = []
    if not lacking:
        return []
    return [
        f"AUC: without {', '.join(lacking)}, of which the common images do not hold both those with and those without."
    ]


def _both(labels: np.ndarray) -> bool:
    """Says whether labels [N] hold 1 and 0."""
    return bool((labels == 1).any() and (labels == 0).any())


def _same_task(contents: list[dict[str, Any]], run_a: str | os.PathLike, run_b: str | os.PathLike) -> Task:
    """Returns run A's task, or raises ValueError where run B has another. The points beside masks may differ."""
    tasks = [Task.from_json(content["task"]) for content in contents]
    asked = [
        (
            (task.kind, task.masks, task.class_names[: len(task.masks)])
            if task.kind == "segmentation"
            else (task.kind, task.class_names, task.labels, task.mapping)
        )
        for task in tasks
    ]
    if asked[0] != asked[1]:
        said = [f"{task.kind} {task.name} {task.class_names}" for task in tasks]
        raise ValueError(
            f"{run_a} answers {said[0]}, {run_b} answers {said[1]}. Compare two runs that answer the same."
        )
    return tasks[0]


def _check_same_data(
    contents: list[dict[str, Any]], run_a: str | os.PathLike, run_b: str | os.PathLike, split: str
) -> None:
    judged = [(content["records"]["dataset"], content["split"]) for content in contents]
    if judged[0] != judged[1] or judged[0][1] != split:
        said = [f"{name}, {part} split" for name, part in judged]
        raise ValueError(
            f"{run_a} was judged on {said[0]}, {run_b} on {said[1]}; asked was {split}. Evaluate both with the same "
            "--records and --split."
        )


def _counts(contents: list[dict[str, Any]], tables: list[Any], patients: np.ndarray) -> dict[str, Any]:
    known = all(content.get("patients_known", True) for content in contents)  # an earlier release did not say
    return {
        "images": len(patients),
        "patients": int(np.unique(patients).size) if known else None,
        "left_out": sum(len(rows.ids) for rows in tables) - 2 * len(patients),
    }


def _aligned(a: Rows, b: Rows, run_a: str | os.PathLike, run_b: str | os.PathLike, split: str) -> tuple[Rows, Rows]:
    """Returns both tables with the same images in the same order."""
    common = sorted(set(a.ids.tolist()) & set(b.ids.tolist()))
    if not common:
        raise ValueError(
            f"{run_a} and {run_b} have no image of split {split!r} in common. Evaluate both on the same --records."
        )
    first, second = _chosen(a, common), _chosen(b, common)
    differ = first.patients != second.patients
    if differ.any():
        raise ValueError(
            f"{int(differ.sum())} images belong to another patient in {run_b} than in {run_a}, for example "
            f"{common[int(np.argmax(differ))]}. Evaluate both on the same --records."
        )
    return first, second


def _chosen(rows: Rows, names: list[str]) -> Rows:
    place = {name: row for row, name in enumerate(rows.ids.tolist())}
    wanted = np.array([place[name] for name in names])
    columns = {field.name: getattr(rows, field.name) for field in dataclasses.fields(rows)}
    return dataclasses.replace(rows, **{name: values[wanted] for name, values in columns.items() if values is not None})


def _check_labels(a: Predictions, b: Predictions, run_a: str | os.PathLike, run_b: str | os.PathLike) -> None:
    differ = (a.labels != b.labels).reshape(len(a), -1).any(axis=1)
    if differ.any():
        raise ValueError(
            f"{int(differ.sum())} images have another label in {run_b} than in {run_a}, for example "
            f"{a.ids[int(np.argmax(differ))]}. Evaluate both on the same --records."
        )


def _right(task: Task, table: Predictions) -> np.ndarray:
    """Returns whether each answer is right: [N], or [M] over the known labels of multilabel."""
    if task.kind == "classification":
        return table.predicted == table.labels
    known = table.labels != MISSING
    return (table.probabilities >= 0.5)[known] == (table.labels == 1)[known]


def _statistics(task: Task, table: Predictions) -> dict[str, Statistic]:
    """Returns name -> statistic of one run's predictions."""
    if task.kind == "multilabel":
        known = table.labels != MISSING
        right = ((table.probabilities >= 0.5) == (table.labels == 1)) & known
        columns = zip(table.labels.T, table.probabilities.T, strict=True)
        diseases = [_known_auc(labels, scores) for labels, scores in columns if _both(labels)]
        mean = {"auc": bootstrap.mean_of_defined(diseases)} if diseases else {}
        return mean | {"accuracy": _pooled(right.sum(axis=1), known.sum(axis=1))}
    classes = len(task.class_names)
    if classes == 2:
        disease = task.positive[0] if task.positive else 1
        auc = bootstrap.weighted_auc(table.labels == disease, table.probabilities[:, disease])
    else:
        present = np.unique(table.labels)
        each = [bootstrap.weighted_auc(table.labels == index, table.probabilities[:, index]) for index in present]
        auc = bootstrap.mean_of_defined(each)
    statistics = {"auc": auc, "accuracy": bootstrap.weighted_mean(table.predicted == table.labels)}
    if task.ordered or classes == 2:
        statistics["qwk"] = bootstrap.weighted_kappa(table.labels, table.predicted, classes)
    return statistics


def _known_auc(labels: np.ndarray, scores: np.ndarray) -> Statistic:
    known = labels != MISSING
    return bootstrap.on_rows(known, bootstrap.weighted_auc(labels[known] == 1, scores[known]))


def _pooled(right: np.ndarray, known: np.ndarray) -> Statistic:
    return lambda weights: (weights @ right) / np.maximum(weights @ known, 1)
