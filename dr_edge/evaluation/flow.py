"""Evaluates a run on a split: predictions, numbers, report, written as one directory."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

from absl import logging

from dr_edge import fitted, metadata, metrics
from dr_edge.data.records import shard_paths
from dr_edge.data.tasks import Task
from dr_edge.evaluation import (
    calibration,
    gallery,
    heat_verdict,
    honesty,
    operating_points,
    outliers,
    predictions,
    report,
    subgroups,
)
from dr_edge.evaluation.predictions import Predictions
from dr_edge.explanation.pictures import check_records
from dr_edge.fitting import Fit
from dr_edge.trained import TrainedRun, load_run

REPORT_FILE = "report.html"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How an evaluation is done.

    Attributes:
      split: the split to judge.
      records: a records directory; None: the one that the run was trained on.
      batch_size: images per step.
      examples: pictures of mistakes, and of right answers, in the report.
      honesty: also check the heat maps themselves (not of a segmentation).
    """

    split: str = "test"
    records: str | None = None
    batch_size: int = 16
    examples: int = 6
    honesty: bool = True


def evaluate(run_dir: str | os.PathLike, settings: Settings) -> dict[str, Any]:
    """Writes RUN/evaluation/<split>/{metrics.json, predictions.csv, report.html}; replaces an older
    evaluation whole.

    Returns:
      The content of metrics.json.

    Raises:
      ManifestError, ValueError: no finished run, no such records or split, records that do not fit the model,
        or a foreign directory where the evaluation belongs.
      RuntimeError: the model's outputs are not finite.
    """
    run = load_run(run_dir)
    records = settings.records or run.records
    if not Path(records).is_dir():
        raise ValueError(
            f"The records of the run, {records}, are not there. Say where they are: --records=DIR."
        )
    check_records(records, run)
    final = run.directory / "evaluation" / settings.split
    _check_replaceable(final)
    if run.task.kind == "segmentation":
        from dr_edge.evaluation import segmentation

        write = segmentation.evaluate_masks
    else:
        write = _evaluate_classes
    next_one = final.with_name(f".{settings.split}.next")
    if next_one.exists():
        shutil.rmtree(next_one)  # left by an evaluation that was killed
    with metadata.staged_directory(next_one) as staging:
        content = write(run, records, settings, staging)
        metadata.write_manifest(staging, "evaluation", content)
    _replace(next_one, final)
    return content


def _evaluate_classes(run: TrainedRun, records: str, settings: Settings, staging: Path) -> dict[str, Any]:
    """Evaluates a classification or multilabel run; writes predictions and report, returns metrics.json's
    content.
    """
    reference = _reference(run, records)
    fit = fitted.fit_of(run, reference) if _has_validation(reference) else None
    if fit is not None:  # what is judged here is what a bundle will say
        run = dataclasses.replace(run, temperature=fit.temperature)
    test = predictions.predict_split(run, records, settings.split, settings.batch_size)
    val = None
    if fit is not None:
        same = settings.split == "val" and Path(records).resolve() == Path(reference).resolve()
        val = test if same else predictions.predict_split(run, reference, "val", settings.batch_size)
    task = run.task
    compute = metrics.classification_metrics if task.kind == "classification" else metrics.multilabel_metrics
    options = {"ordered": task.ordered} if task.kind == "classification" else {}
    distant, distances = outliers.check(fit, test)
    content = describe(run, records, settings) | {
        "images": len(test),
        "metrics": compute(
            test.labels, test.probabilities, task.class_names, groups=test.patients, **options
        ),
        "operating_points": _operating_points(task, fit, val, test, settings.split),
        "calibration": calibration.calibrate(run, val, test),
        "subgroups": subgroups.subgroup_metrics(task, test),
        "out_of_distribution": distant,
        "heat_maps": None,
    }
    if settings.honesty:
        content["heat_maps"] = honesty.check(run, records, settings.split, test)
        for text in heat_verdict.warnings(content["heat_maps"]["verdict"]):
            logging.warning("Heat maps. %s", text)
    metadata.write_text(staging / predictions.CSV_FILE, predictions.to_csv(test, task))
    wrong, right = (
        gallery.mistakes(task, test, settings.examples),
        gallery.right_answers(task, test, settings.examples),
    )
    far = gallery.least_familiar(test, distances, settings.examples // 2)
    pictures = report.Pictures(
        mistakes=gallery.cards(run, records, settings.split, test, wrong, "mistakes"),
        right=gallery.cards(run, records, settings.split, test, right, "right answers"),
        distant=gallery.cards(run, records, settings.split, test, far, "least familiar"),
    )
    metadata.write_text(staging / REPORT_FILE, report.render(run, records, content, test, pictures))
    return content


def describe(run: TrainedRun, records: str, settings: Settings) -> dict[str, Any]:
    """Returns what was judged on what: the part of metrics.json that all tasks share."""
    dataset = metadata.read_manifest(records, "dataset")
    return {
        "split": settings.split,
        "task": run.task.to_json(),
        "run": {key: run.content[key] for key in ("model", "best")}
        | {"directory": run.directory.resolve().name},
        "records": {
            "directory": str(records),
            "dataset": dataset["dataset"],
            "preprocess": dataset["preprocess"],
        },
        "trained_on_these_records": Path(records).resolve() == Path(run.records).resolve(),
        "image_size": run.image_size,
        "model_sha256": metadata.sha256_file(run.directory / "best.keras"),
    }


def _reference(run: TrainedRun, records: str) -> str:
    """Returns where training and validation images stand: the run's own records, or `records` where those
    are gone.
    """
    if metadata.manifest_path(run.records, "dataset").is_file():
        return run.records
    logging.warning(
        "The run's records, %s, are not there; validation and training images come from %s.",
        run.records,
        records,
    )
    return records


def _has_validation(reference: str) -> bool:
    """Says whether the reference has a validation split, with a warning where it has none."""
    try:
        shard_paths(reference, "val")
    except ValueError:
        logging.warning("%s has no validation split: no calibration and no operating points.", reference)
        return False
    return True


def _operating_points(
    task: Task, fit: Fit | None, val: Predictions | None, test: Predictions, split: str
) -> list[dict[str, Any]]:
    """Applies thresholds chosen on validation to `test`, for each question of yes or no that the task holds.

    The thresholds of a task of two classes are the run's own, which its bundle carries, too.
    """
    if fit is None or val is None:
        return []
    points = []
    asked = operating_points.questions(task, test)
    for question, before in zip(asked, operating_points.questions(task, val), strict=True):
        own = {point["name"]: point["threshold"] for point in fit.operating_points}
        if not own:
            chosen = {
                name: operating_points.choose_threshold(before.labels, before.scores, rule)
                for name, rule in operating_points.RULES.items()
            }
            own = {name: threshold for name, threshold in chosen.items() if threshold is not None}
        if not own:
            logging.warning("%s: the validation split holds one answer only: no operating points.", question.name)
        thresholds = [(operating_points.HALF, operating_points.HALF.target, "fixed")]
        thresholds += [(operating_points.RULES[name], threshold, "val") for name, threshold in own.items()]
        for rule, threshold, where in thresholds:
            applied = operating_points.apply_threshold(question.labels, question.scores, question.groups, threshold)
            named = {"question": question.name, "name": rule.name, "chosen_on": where, "applied_to": split}
            points.append(named | applied)
    return points


def _check_replaceable(final: Path) -> None:
    """Raises ValueError where `final` holds something that is no evaluation."""
    if (
        final.exists()
        and not metadata.manifest_path(final, "evaluation").is_file()
        and (not final.is_dir() or any(final.iterdir()))
    ):
        raise ValueError(f"{final} exists and is no evaluation. Move it away and run again.")


def _replace(new: Path, final: Path) -> None:
    """Puts `new` in the place of `final`; the old one stands until the new one is whole."""
    if not final.exists():
        os.replace(new, final)
        return
    old = final.with_name(f".{final.name}.old")
    if old.exists():
        shutil.rmtree(old)
    os.replace(final, old)
    os.replace(new, final)
    shutil.rmtree(old)
