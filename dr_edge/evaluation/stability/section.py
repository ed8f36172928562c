"""The stability section of an evaluation: measured on a sample of the split, for metrics.json and the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from dr_edge import metadata
from dr_edge.calibration.store import Basis
from dr_edge.data.known_patients import are_known
from dr_edge.data.tasks import Task
from dr_edge.evaluation import number_text
from dr_edge.evaluation.request import NO_STABILITY_OF_MASKS, Settings
from dr_edge.evaluation.stability import figures, pictures, sample
from dr_edge.evaluation.stability.answering import OfRun
from dr_edge.evaluation.stability.measure import Measured, measure
from dr_edge.evaluation.stability.said import meaning
from dr_edge.evaluation.stability.sample import Sample
from dr_edge.perturbations.catalogue import PERTURBATIONS
from dr_edge.runs import TrainedRun

SWITCHED_OFF = "it was switched off (--nostability)"


@dataclasses.dataclass(frozen=True)
class Section:
    """What is measured, and what is shown of it.

    Attributes:
      content: "stability" of metrics.json: `check` says what is in it; {"reason"} where nothing was measured.
      pairs: the worst changes, side by side.
    """

    content: dict[str, Any]
    pairs: list[pictures.Pair]


def check_photographs(settings: Settings, task: Task) -> None:
    """Raises ValueError where --photographs cannot be used, before minutes of work."""
    if settings.photographs is None:
        return
    if task.kind == "segmentation":
        raise ValueError(f"--photographs is for stability, and {NO_STABILITY_OF_MASKS}. Leave it out.")
    if not settings.stability:
        raise ValueError("--photographs is for stability, which --nostability switches off. Leave one of them out.")
    if not Path(settings.photographs).is_dir():
        raise ValueError(
            f"--photographs={settings.photographs} is no directory. Give the one that the records were built from "
            "(--data_dir of the build)."
        )


def not_measured(reason: str) -> Section:
    """Returns the section that says why there is none."""
    return Section({"reason": reason}, [])


def check(
    run: TrainedRun, basis: Basis, records: str, settings: Settings, ids: np.ndarray, patients: np.ndarray
) -> Section:
    """Measures the stability of a classification or multilabel run on a sample of its split.

    Args:
      run: the finished run.
      basis: what is fitted to it.
      records: the records that are judged.
      settings: of the evaluation.
      ids, patients: [N], of the photographs of the split that the task uses.

    Returns:
      content: photographs and patients measured (patients None where they are not known), on_crops, drawn (asked for
      and there), refused_before {reason: photographs}, missing, changed (files), out_of_time (photographs), left_out
      (titles of the perturbations that mean nothing on crops), meaning (sentence), operating_point {name, threshold} or
      None, rows (`figures.figures`), worst (names), sentence, notes, seconds. Where no photograph is answered as it is:
      {"reason"}.

    Raises:
      ValueError: --photographs holds none of the photographs.
    """
    drawn = sample.of_records(
        records, settings.split, ids, patients, settings.stability_photographs, settings.photographs
    )
    applied = [each for each in PERTURBATIONS.values() if each.on_crops or not drawn.on_crops]
    model = OfRun(run, basis.fit)
    measured = measure(model, drawn.subjects, applied, 60 * settings.stability_minutes)
    if not measured.rows:
        reasons = ", ".join(sorted({reason for _, reason in measured.refused}))
        what = "stored crops" if drawn.on_crops else "photographs"
        return not_measured(f"none of {len(measured.refused)} {what} is answered as it is ({reasons})")
    rows = figures.figures(measured, model.bundle)
    point = model.bundle.operating_point if model.bundle.positive else None
    known = are_known(metadata.read_manifest(records, "dataset"))
    content: dict[str, Any] = {
        "photographs": len(measured.photographs),
        "patients": len({row.patient for row in measured.rows}) if known else None,
        "on_crops": drawn.on_crops,
        "drawn": measured.asked,
        "refused_before": figures.counted([reason for _, reason in measured.refused]),
        "missing": drawn.missing,
        "changed": drawn.changed,
        "out_of_time": measured.out_of_time,
        "left_out": [each.title for each in PERTURBATIONS.values() if each not in applied],
        "meaning": meaning(model.bundle),
        "operating_point": None if point is None else {"name": point.name, "threshold": point.threshold},
        "rows": rows,
        "worst": figures.worst(rows),
        "seconds": round(measured.seconds, 1),
    }
    content["notes"] = _notes(content, drawn, measured)
    content["sentence"] = figures.sentence(content)
    for note in content["notes"]:
        logging.info("Stability. %s", note)
    return Section(content, pictures.worst_pairs(measured, drawn.subjects, model.bundle, settings.examples))


def _notes(content: Mapping[str, Any], drawn: Sample, measured: Measured) -> list[str]:
    """Returns what a reader must know of the sample, in sentences."""
    notes = []
    if drawn.on_crops:
        notes.append(
            "Measured on the stored crops, each taken as a photograph of its own; left out, because they act on the "
            f"pixels of the whole photograph: {', '.join(content['left_out'])}. --photographs=DIR (the directory that "
            "the records were built from) measures them on the files."
        )
    if drawn.missing or drawn.changed:
        notes.append(
            f"{drawn.missing} photographs that were drawn are not in the directory, and {drawn.changed} have another "
            "content there than when the records were built; others were drawn in their place."
        )
    if measured.refused:
        counted = ", ".join(
            f"{number_text.plain_reason(reason)}: {count}" for reason, count in content["refused_before"].items()
        )
        count = len(measured.refused)
        photographs = "photograph is refused as it is" if count == 1 else "photographs are refused as they are"
        notes.append(f"{count} {photographs} and left out ({counted}).")
    if measured.out_of_time:
        notes.append(
            f"Time was up with {measured.out_of_time} of {measured.asked} photographs left; --stability_minutes gives "
            "it more."
        )
    return notes
