"""Compares two evaluated runs on the images that both judged, by a paired bootstrap.

Both runs see the same draws of patients, so that what is hard about a draw is hard for both and cancels. That
is much sharper than looking whether two intervals overlap.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge import bootstrap, metadata
from dr_edge.bootstrap import Statistic
from dr_edge.data.tasks import Task
from dr_edge.evaluation.predictions import MISSING, Predictions, from_csv
from dr_edge.evaluation.words import number

NAMES = {"auc": "AUC", "accuracy": "accuracy", "qwk": "quadratic weighted kappa"}


def compare(
    run_a: str | os.PathLike, run_b: str | os.PathLike, split: str, draws: int = bootstrap.DRAWS
) -> dict[str, Any]:
    """Compares run B with run A.

    Args:
      run_a, run_b: run directories that hold an evaluation of `split`.
      split: the split that both were judged on.
      draws: bootstrap draws.

    Returns:
      runs [A, B], split, task, images, patients, left_out (images that only one run judged), only_a_right,
      only_b_right (answers), and metrics {auc, accuracy, qwk: {a, b, difference (B - A), interval, b_better
      (share of draws), draws}}; a metric that is undefined on these images is left out.

    Raises:
      ManifestError: an evaluation is missing.
      ValueError: different tasks, different labels for one image, or no image in common.
    """
    tables, contents = [], []
    for run in (run_a, run_b):
        directory = Path(run) / "evaluation" / split
        content = metadata.read_manifest(directory, "evaluation")
        task = Task.from_json(content["task"])
        if task.kind == "segmentation":
            raise ValueError(
                f"{run} is a segmentation run. compare reads classification and multilabel runs."
            )
        tables.append(from_csv(directory, task))
        contents.append(content)
    task, other = (Task.from_json(content["task"]) for content in contents)
    if (task.kind, task.class_names, task.labels, task.mapping) != (
        other.kind,
        other.class_names,
        other.labels,
        other.mapping,
    ):
        raise ValueError(
            f"{run_a} answers {task.name} {task.class_names}, {run_b} answers {other.name} "
            f"{other.class_names}."
        )
    a, b = _aligned(tables[0], tables[1], run_a, run_b, split)
    metrics = {}
    pairs = {name: (_statistics(task, a)[name], _statistics(task, b)[name]) for name in _statistics(task, a)}
    once = np.ones((1, len(a)))
    drawn = bootstrap.bootstrap(
        {
            f"{name}/{side}": statistic
            for name, pair in pairs.items()
            for side, statistic in zip("ab", pair, strict=True)
        },
        a.patients,
        draws,
    )
    for name, (of_a, of_b) in pairs.items():
        value_a, value_b = float(of_a(once)[0]), float(of_b(once)[0])
        if not np.isfinite([value_a, value_b]).all():
            continue
        difference = drawn[f"{name}/b"] - drawn[f"{name}/a"]
        interval = bootstrap.percentile_interval(difference)
        finite = difference[np.isfinite(difference)]
        metrics[name] = {
            "a": value_a,
            "b": value_b,
            "difference": value_b - value_a,
            "interval": interval.to_json(),
            "b_better": float(((finite > 0) + 0.5 * (finite == 0)).mean()) if finite.size else None,
            "draws": interval.draws,
        }
    right_a, right_b = (_right(task, table) for table in (a, b))
    return {
        "runs": [str(run_a), str(run_b)],
        "split": split,
        "task": task.name,
        "images": len(a),
        "patients": int(np.unique(a.patients).size),
        "left_out": len(tables[0]) + len(tables[1]) - 2 * len(a),
        "only_a_right": int((right_a & ~right_b).sum()),
        "only_b_right": int((right_b & ~right_a).sum()),
        "metrics": metrics,
    }


def table(result: dict[str, Any]) -> str:
    """Returns the comparison as lines for a terminal."""
    judged = f"{result['images']} images of {result['patients']} patients judged by both"
    others = f" ({result['left_out']} by one only, left out)" if result["left_out"] else ""
    lines = [
        f"{result['task']}, {result['split']} split, {judged}{others}",
        f"A = {result['runs'][0]}",
        f"B = {result['runs'][1]}",
        " " * 26 + f"{'A':>8}{'B':>8}{'B - A':>9}   95 % interval      B better in",
    ]
    for name, entry in result["metrics"].items():
        bounds = entry["interval"]
        interval = f"{bounds[0]:+.3f} to {bounds[1]:+.3f}" if bounds else "none"
        better = "" if entry["b_better"] is None else f"{100 * entry['b_better']:.1f} % of draws"
        values = f"{number(entry['a'], 3):>8}{number(entry['b'], 3):>8}{entry['difference']:>+9.3f}"
        lines.append(f"{NAMES[name]:26}{values}   {interval:18} {better}")
    lines.append(f"only A right: {result['only_a_right']}, only B right: {result['only_b_right']}")
    return "\n".join(lines)


def _aligned(
    a: Predictions, b: Predictions, run_a: str | os.PathLike, run_b: str | os.PathLike, split: str
) -> tuple[Predictions, Predictions]:
    """Returns both tables with the same images in the same order."""
    common = sorted(set(a.ids.tolist()) & set(b.ids.tolist()))
    if not common:
        raise ValueError(
            f"{run_a} and {run_b} have no image of split {split!r} in common. Evaluate both on the same "
            f"--records."
        )
    aligned = []
    for predictions in (a, b):
        place = {name: row for row, name in enumerate(predictions.ids.tolist())}
        rows = np.array([place[name] for name in common])
        columns = {field.name: getattr(predictions, field.name) for field in dataclasses.fields(predictions)}
        chosen = {name: values[rows] for name, values in columns.items() if values is not None}
        aligned.append(dataclasses.replace(predictions, **chosen))
    differ = (aligned[0].labels != aligned[1].labels).reshape(len(common), -1).any(axis=1)
    if differ.any():
        raise ValueError(
            f"{int(differ.sum())} images have another label in {run_b} than in {run_a}, for example "
            f"{common[int(np.argmax(differ))]}. Evaluate both on the same --records."
        )
    return aligned[0], aligned[1]


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
        diseases = [
            _known_auc(table.labels[:, i], table.probabilities[:, i]) for i in range(len(task.class_names))
        ]
        return {"auc": _mean(diseases), "accuracy": _pooled(right.sum(axis=1), known.sum(axis=1))}
    classes = len(task.class_names)
    if classes == 2:
        auc = bootstrap.weighted_auc(table.labels == 1, table.probabilities[:, 1])
    else:
        present = np.unique(table.labels)
        auc = _mean(
            [
                bootstrap.weighted_auc(table.labels == index, table.probabilities[:, index])
                for index in present
            ]
        )
    statistics = {"auc": auc, "accuracy": bootstrap.weighted_mean(table.predicted == table.labels)}
    if task.ordered or classes == 2:
        statistics["qwk"] = bootstrap.weighted_kappa(table.labels, table.predicted, classes)
    return statistics


def _known_auc(labels: np.ndarray, scores: np.ndarray) -> Statistic:
    known = labels != MISSING
    inner = bootstrap.weighted_auc(labels[known] == 1, scores[known])
    return lambda weights: inner(weights[:, known])


def _mean(parts: list[Statistic]) -> Statistic:
    return lambda weights: np.mean([part(weights) for part in parts], axis=0)


def _pooled(right: np.ndarray, known: np.ndarray) -> Statistic:
    return lambda weights: (weights @ right) / np.maximum(weights @ known, 1)
