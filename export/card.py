"""MODEL_CARD.md: what the model is for, what it was measured on, and where its limits lie (Mitchell et al., 2019)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dr_edge.data import pipeline
from dr_edge.evaluation.words import interval, number
from dr_edge.fitting import Fit
from dr_edge.trained import TrainedRun

PREPROCESSING = {
    "graham": "Graham normalisation (local average colour subtracted; inside the graph)",
    "grey": "greyscale, zero mean and unit variance inside the field of view (inside the graph)",
    "crop": "none beyond cropping",
}


def model_card(run: TrainedRun, fit: Fit, report: Mapping[str, Any], records: str | os.PathLike) -> str:
    """Returns the model card of a bundle.

    Args:
      run: what was exported.
      fit: temperature, thresholds and operating points.
      report: the content of parity.json.
      records: the records that it was trained and judged on.
    """
    info = pipeline.read_info(records)
    task = run.task
    splits = ", ".join(f"{name} {split['examples']}" for name, split in info.content["splits"].items())
    lines = [
        f"# Model card: {task.name}",
        "",
        "**Research software. Not a medical device; not for diagnosis or treatment decisions.**",
        "",
        "## What it does",
        "",
        f"- Task: {task.name} ({task.kind}); outputs in this order: {', '.join(task.class_names)}.",
        f"- Network: {run.content['model']['name']}, {run.content['model']['parameters']:,} parameters, "
        f"{run.image_size} x {run.image_size} pixels.",
        f"- Input: the square crop around the field of view of a colour fundus photograph, RGB, 8 bits. "
        f"Preprocessing: {PREPROCESSING[run.preprocess['method']]}.",
        "- Intended use: research on screening with phones, by people who can judge a fundus photograph themselves.",
        "- Not intended: any decision about a person; photographs of other body parts, OCT, or angiography; cameras and "
        "populations unlike those below, until measured there.",
        "",
        "## Data",
        "",
        f"- Data set: {info.content['dataset']}; photographs per split: {splits}. Patients do not cross splits.",
        f"- The figures below are from the {report['split']} split: {report['images']} photographs of "
        f"{report['patients']} patients.",
        "",
        "## Measured",
        "",
        *_measured(report),
        "",
        "## Artifacts",
        "",
        f"Each drop is from the same network in Keras, in the same deployable graph on the same stored photographs "
        f"({_graph(report)}); 95 % intervals from paired bootstrap draws of whole patients. Latency is the median on the "
        f"exporting host; it says nothing of a phone.",
        "",
        *_artifacts(report),
        "",
        "## Reading the outputs",
        "",
        *_reading(fit, report),
        "",
        "## Limits",
        "",
        *_limits(task.kind),
        "- Subgroups (age, ethnicity, camera, pupil dilation) were not measured unless the evaluation report says so.",
        "",
    ]
    return "\n".join(lines)


def _limits(kind: str) -> list[str]:
    if kind == "segmentation":
        return ["- A mask is drawn on any photograph; that it lies on a disc or a cup nobody checks but you."]
    return [
        "- A probability is calibrated for the data set above and its share of disease; elsewhere it is not.",
        "- The heat map shows what raised the answer, not where the lesions are.",
        "- A small distance from the training photographs does not prove that an answer is right.",
    ]


def _measured(report: Mapping[str, Any]) -> list[str]:
    row = report["keras"]
    names = {"auc": "AUC", "accuracy": "accuracy", "qwk": "quadratic weighted kappa", "mean_auc": "mean AUC", "mean_f1": "mean F1"}
    lines = []
    for key, name in names.items():
        if row.get(key) is not None:
            bounds = interval(row.get(f"{key}_interval"), 3)
            lines.append(f"- {name}: {number(row[key], 3)}" + (f" (95 % interval {bounds})" if bounds else ""))
    for key, value in row.items():
        if key.startswith(("dice", "vcdr")):
            lines.append(f"- {key}: {number(value, 3)}")
    for name, values in row.get("per_class", {}).items():
        if values.get("recall") is not None and values.get("precision") is not None:
            lines.append(
                f"- {name}: precision {number(values['precision'], 3)}, recall {number(values['recall'], 3)}, "
                f"{values['support']} photographs"
            )
    return lines


def _graph(report: Mapping[str, Any]) -> str:
    """Says how far the deployable graph is from the training pipeline, whose figures stand above."""
    metric = "auc" if "auc" in report["graph"] else next(iter(report["graph"]["drop"]))
    return (
        f"{metric} {number(report['graph'][metric], 3)} there; a probability differs from the training pipeline's by "
        f"{number(report['graph']['mean_difference'], 3)} on average, since photographs are stored as JPEG"
    )


def _artifacts(report: Mapping[str, Any]) -> list[str]:
    metric = next(iter(report["graph"]["drop"])) if "auc" not in report["graph"] else "auc"
    lines = [f"| file | kB | ms | {metric} | drop | agreement |", "|---|---|---|---|---|---|"]
    for name, row in report["artifacts"].items():
        bounds = interval(row["drop_interval"][metric], 4)
        drop = number(row["drop"][metric], 4) + (f" ({bounds})" if bounds else "")
        lines.append(
            f"| {name} | {row['bytes'] / 1e3:.0f} | {row['latency_ms']['median']:.1f} | {number(row[metric], 3)} | "
            f"{drop} | {100 * row['agreement']:.1f} % |"
        )
    return lines + [f"\n{name} could not be made: {reason}." for name, reason in report["not_made"].items()]


def _reading(fit: Fit, report: Mapping[str, Any]) -> list[str]:
    lines = []
    if fit.calibration.get("temperature") is not None:
        lines.append(
            f"- `probabilities`: calibrated on the {fit.calibration['split']} split "
            f"({fit.calibration['images']} photographs), temperature {fit.temperature:.3f}"
            + (
                f"; expected calibration error there {fit.calibration['ece_before']:.3f} before, "
                f"{fit.calibration['ece_after']:.3f} after."
                if "ece_after" in fit.calibration
                else "."
            )
        )
    for point in fit.operating_points:
        lines.append(
            f"- Operating point {point['name']}: threshold {point['threshold']:.3f}; on {point['split']} sensitivity "
            f"{point['sensitivity']:.3f}, specificity {point['specificity']:.3f}."
        )
    if "threshold" in fit.ood:
        lines.append(
            f"- `ood_distance`: above {fit.ood['threshold']:.2f} (99 % of the {fit.ood['split']} photographs lie below) "
            f"the photograph is unlike those of training: do not trust the answer."
        )
    lines += [f"- No `{name}`: {reason}." for name, reason in report["outputs_left_out"].items()]
    return lines
