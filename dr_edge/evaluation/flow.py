"""Evaluates a run on a split: predictions, numbers, report, written as one directory."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

from absl import logging

from dr_edge import locks, metadata
from dr_edge.calibration import store
from dr_edge.calibration.store import Basis
from dr_edge.data import coverage
from dr_edge.data.records_info import read_info
from dr_edge.data.tasks import Task
from dr_edge.evaluation import (
    calibration,
    gallery,
    operating_points,
    outliers,
    predictions,
    report,
    subgroups,
    verdict,
)
from dr_edge.evaluation.heatmap_checks import run as heatmap_checks
from dr_edge.evaluation.heatmap_checks import verdict as heatmap_verdict
from dr_edge.evaluation.masks.evaluate import evaluate_masks
from dr_edge.evaluation.predictions import Predictions
from dr_edge.evaluation.request import REPORT_FILE as REPORT_FILE
from dr_edge.evaluation.request import Settings as Settings
from dr_edge.evaluation.request import counted_patients, describe
from dr_edge.evaluation.seen_before import is_unseen
from dr_edge.evaluation.stability import section as stability
from dr_edge.metrics import classification, multilabel
from dr_edge.runs import TrainedRun, check_records, load_run

NO_THRESHOLDS = (
    "No operating points: their thresholds are chosen on the validation images of the records that the run was trained "
    "on, and those are not there."
)


def evaluate(run_dir: str | os.PathLike, settings: Settings) -> dict[str, Any]:
    """Writes RUN/evaluation/<split>/{metrics.json, predictions.csv, report.html}; replaces an older evaluation whole.

    Returns:
      The content of metrics.json.

    Raises:
      ManifestError, ValueError: no finished run, no such records or split, records that do not fit the model,
        or a foreign directory where the evaluation belongs.
      RuntimeError: the model's outputs are not finite.
    """
    run = load_run(run_dir)
    records = settings.records or run.records
    if settings.records and not Path(records).is_dir():
        raise ValueError(f"--records={records} is no directory. Give one that tfrecord_tools.build wrote.")
    if not Path(records).is_dir():
        raise ValueError(f"The records of the run, {records}, are not there. Say where they are: --records=DIR.")
    check_records(records, run)
    _check_split(records, settings.split, run)
    stability.check_photographs(settings, run.task)
    final = run.directory / "evaluation" / settings.split
    _check_replaceable(final)
    with locks.held(final, flag=None):
        return _write(run, records, settings, final)


def _write(run: TrainedRun, records: str, settings: Settings, final: Path) -> dict[str, Any]:
    """Evaluates into a new directory and puts it in the place of `final`, which this process has locked."""
    write = evaluate_masks if run.task.kind == "segmentation" else _evaluate_classes
    next_one = final.with_name(f".{settings.split}.next")
    if next_one.exists():
        shutil.rmtree(next_one)  # left by an evaluation that was killed
    with metadata.staged_directory(next_one, flag=None) as staging:
        content = write(run, records, settings, staging)
        metadata.write_manifest(staging, "evaluation", content)
    _replace(next_one, final)
    return content


def _check_split(records: str, split: str, run: TrainedRun) -> None:
    """Warns of classes that the split lacks.

    Raises:
      ValueError: the split holds no example.
    """
    info = read_info(records)
    coverage.check_not_empty(info, split, run.task)
    for text in coverage.cautions(info, split, run.task):
        logging.warning("%s", text)


def _evaluate_classes(run: TrainedRun, records: str, settings: Settings, staging: Path) -> dict[str, Any]:
    """Evaluates a classification or multilabel run; writes predictions and report, returns metrics.json's content."""
    basis = store.basis(run, records)
    fit, task = basis.fit, run.task
    if fit is not None:  # what is judged here is what a bundle will say
        run = dataclasses.replace(run, temperature=fit.temperature)
    test = predictions.predict_split(run, records, settings.split, settings.batch_size)
    distant, distances = outliers.check(basis, test.features)
    points, notes = _operating_points(run, basis, records, settings, test)
    described = describe(run, records, settings, basis, notes)
    people = verdict.People(test.patients, described["patients_known"])
    content = described | {
        "verdict": verdict.of_answers(
            task, test.labels, test.probabilities, people, settings.split, is_unseen(described)
        ),
        "images": len(test),
        "metrics": counted_patients(described, _metrics(task, test)),
        "operating_points": points,
        "calibration": calibration.calibrate(task, fit, test, settings.split),
        "subgroups": [counted_patients(described, row) for row in subgroups.subgroup_metrics(task, test)],
        "out_of_distribution": distant,
        "heat_maps": None,
    }
    if settings.heatmap_checks:
        content["heat_maps"] = heatmap_checks.check(run, records, settings.split, test)
        for text in heatmap_verdict.warnings(content["heat_maps"]["verdict"]):
            logging.warning("Heat maps. %s", text)
    stable = stability.not_measured(stability.SWITCHED_OFF)
    if settings.stability:
        stable = stability.check(run, basis, records, settings, test.ids, test.patients)
    content["stability"] = stable.content
    metadata.write_text(staging / predictions.CSV_FILE, predictions.to_csv(test, task))
    wrong, right = (
        gallery.mistakes(task, test, settings.examples),
        gallery.right_answers(task, test, settings.examples),
    )
    far = gallery.largest_feature_distance(test, distances, settings.examples // 2)
    pictures = report.Pictures(
        mistakes=gallery.cards(run, records, settings.split, test, wrong, "mistakes"),
        right=gallery.cards(run, records, settings.split, test, right, "right answers"),
        distant=gallery.cards(run, records, settings.split, test, far, "least familiar"),
        unstable=stable.pairs,
    )
    metadata.write_text(staging / REPORT_FILE, report.render(run, records, content, test, pictures))
    return content


def _metrics(task: Task, test: Predictions) -> dict[str, Any]:
    """Computes the metrics of a classification or multilabel task."""
    if task.kind == "multilabel":
        return multilabel.multilabel_metrics(test.labels, test.probabilities, task.class_names, groups=test.patients)
    return classification.classification_metrics(
        test.labels, test.probabilities, task.class_names, task.ordered, test.patients, positive=task.positive
    )


def _operating_points(
    run: TrainedRun, basis: Basis, records: str, settings: Settings, test: Predictions
) -> tuple[list[dict[str, Any]], list[str]]:
    """Applies thresholds chosen on validation to `test`, for each question of yes or no that the task holds.

    Returns:
      The points, and notes for the reader on what is missing.
    """
    asked = operating_points.questions(run.task, test.labels, test.probabilities, test.patients)
    if basis.fit is None or not asked:
        return [], []
    # Those of a classification are the run's own, which its bundle carries, too.
    chosen = [{point["name"]: point["threshold"] for point in basis.fit.operating_points}]
    if not chosen[0]:
        val = _validation(run, basis, records, settings, test)
        if val is None:
            logging.warning("%s", NO_THRESHOLDS)
            return [], [NO_THRESHOLDS]
        before = operating_points.questions(run.task, val.labels, val.probabilities, val.patients)
        chosen = [operating_points.choose_thresholds(question) for question in before]
    points = []
    for question, own in zip(asked, chosen, strict=True):
        if not own:
            logging.warning("%s: the validation split holds one answer only: no operating points.", question.name)
        thresholds = [(operating_points.HALF, operating_points.HALF.target, "fixed")]
        thresholds += [(operating_points.RULES[name], threshold, "val") for name, threshold in own.items()]
        values = [threshold for _, threshold, _ in thresholds]
        found = operating_points.apply_thresholds(question.labels, question.scores, question.groups, values)
        for (rule, _, where), applied in zip(thresholds, found, strict=True):
            named = {"question": question.name, "name": rule.name, "chosen_on": where, "applied_to": settings.split}
            points.append(named | applied)
    return points, []


def _validation(
    run: TrainedRun, basis: Basis, records: str, settings: Settings, test: Predictions
) -> Predictions | None:
    """Returns what the run says of the validation images of the records it is fitted on; None where they are gone."""
    if basis.records is None or not store.has_split(basis.records, "val"):
        return None
    if settings.split == "val" and Path(records).resolve() == Path(basis.records).resolve():
        return test
    return predictions.predict_split(run, basis.records, "val", settings.batch_size)


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
    old = final.with_name(f".{final.name}.old")
    if final.exists():
        if old.exists():
            shutil.rmtree(old)
        os.replace(final, old)
    os.replace(new, final)
    if old.exists():  # also one of an evaluation that was killed between the two lines above
        shutil.rmtree(old)
