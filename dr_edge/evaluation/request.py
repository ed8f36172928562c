"""What evaluations of answers and of masks share: how they are asked for, and what metrics.json says of any run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from dr_edge import metadata
from dr_edge.calibration.store import Basis
from dr_edge.data.known_patients import are_known, not_known
from dr_edge.evaluation import seen_before
from dr_edge.runs import MODEL_FILE, TrainedRun

REPORT_FILE = "report.html"
NO_STABILITY_OF_MASKS = (
    "stability is measured of classes and diseases; masks and points move with the photograph, and are not compared"
)
FITTED_HERE = (
    "The records that the model was trained on are not there, and nothing that was fitted on them is stored with it: "
    "what is fitted to a model (temperature, thresholds, distance) comes from the validation and training images of "
    "these records, as far as it stands on this page."
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How an evaluation is done.

    Attributes:
      split: the split to judge.
      records: a records directory; None: the one that the run was trained on.
      batch_size: images per step.
      examples: pictures of mistakes, and of right answers, in the report.
      heatmap_checks: also check the heat maps themselves (not of a segmentation).
      stability: also measure what the answers do when photographs are stored, framed or lit otherwise (not of a
        segmentation).
      stability_photographs, stability_minutes: on so many of them at most, and none is begun after that time.
      photographs: the directory that the records were built from; None: stability is measured on the stored crops.
    """

    split: str = "test"
    records: str | None = None
    batch_size: int = 16
    examples: int = 6
    heatmap_checks: bool = True
    stability: bool = True
    stability_photographs: int = 40
    stability_minutes: float = 2.0
    photographs: str | None = None


def counted_patients(described: Mapping[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Returns values with "patients" None where the records do not know them: photographs are not patients."""
    return values if described["patients_known"] else values | {"patients": None}


def describe(
    run: TrainedRun, records: str, settings: Settings, basis: Basis, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Returns what was judged on what: the part of metrics.json that all tasks share.

    Args:
      run: the finished run.
      records: those that it is judged on.
      settings: of the evaluation.
      basis: what is fitted to the run, and on what.
      notes: more sentences that a reader of the numbers must see.
    """
    dataset = metadata.read_manifest(records, "dataset")
    judged_on = seen_before.judged_on(run, records, settings.split)
    said = seen_before.sentence(judged_on["seen_in_training"], dataset["splits"][settings.split]["examples"])
    for text in said:
        logging.warning("%s", text)
    return judged_on | {
        "task": run.task.to_json(),
        "run": {key: run.content[key] for key in ("model", "best")} | {"directory": run.directory.resolve().name},
        "records": {
            "directory": str(records),
            "dataset": dataset["dataset"],
            "preprocess": dataset["preprocess"],
        },
        "fitted": {"on_own_records": None if basis.fit is None else basis.own, "reason": basis.reason},
        "patients_known": are_known(dataset),
        "positive_class": run.task.positive_name or None,
        "notes": (
            [FITTED_HERE] * (basis.fit is not None and not basis.own)
            + [run.task.caution] * (run.task.caution is not None)
            + not_known(dataset)
            + said
            + list(notes)
        ),
        "image_size": run.image_size,
        "model_sha256": metadata.sha256_file(run.directory / MODEL_FILE),
    }
