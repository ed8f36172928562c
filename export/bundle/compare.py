"""The third step of an export: every artifact against Keras, as parity.json says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge import metadata
from dr_edge.calibration.fit import Fit
from dr_edge.data.known_patients import are_known
from dr_edge.evaluation import calibration, seen_before
from dr_edge.progress import Progress
from export.bundle import ood_thresholds
from export.bundle.artifacts import Converted, Prepared
from export.bundle.manifest import records_used, training_facts
from export.graph.deployable import NETWORK_NAME, PHONE_INT8
from export.parity import baseline, measure
from export.settings import Settings, limits

Outputs = Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Compared:
    """What the comparison found.

    Attributes:
      report: the content of parity.json.
      outputs: file -> output name -> [N, ...], of each photograph of parity.
      training: from `training_facts`.
    """

    report: dict[str, Any]
    outputs: Outputs
    training: Mapping[str, Any]


def compare(prepared: Prepared, converted: Converted, directory: Path, settings: Settings) -> Compared:
    """Runs every artifact on the photographs of parity, measures its own threshold of the distance, writes parity.json.

    Whether the limits are kept is not judged here.

    Raises:
      ValueError: the settings' operating point is none of the run's.
      FloatingPointError: an output is not finite.
    """
    run, basis = prepared.run, prepared.basis
    threshold = _threshold(prepared.fit, settings.operating_point)
    rows, outputs = _measure_all(directory, prepared, converted, threshold, settings.threads)
    with_distance = [fmt for fmt in converted.made if ood_thresholds.OUTPUT in outputs[fmt.file]]
    for file, ood in ood_thresholds.thresholds(
        directory, with_distance, prepared.fit.ood, basis.records, run.task
    ).items():
        rows[file] |= {"ood": ood, "ood_beyond": ood_thresholds.share_beyond(outputs[file], ood)}
    report = _report(prepared, converted, rows, threshold, settings)
    training = training_facts(run, basis)
    # The ranges of qat_int8 are fine-tuned.
    measured = any(fmt.calibrated and fmt.name != "qat_int8" for fmt in converted.made)
    report["records"] = records_used(run, basis, training, prepared.source, measured)
    metadata.write_manifest(directory, "parity", report)
    return Compared(report, outputs, training)


def _threshold(fit: Fit, name: str) -> float | None:
    """Returns the threshold of the named operating point; None for a task without operating points."""
    thresholds = {point["name"]: point["threshold"] for point in fit.operating_points}
    if thresholds and name not in thresholds:
        raise ValueError(f"export.settings.operating_point = {name!r}. Known: {', '.join(thresholds)}.")
    return thresholds.get(name)


def _measure_all(
    directory: Path, prepared: Prepared, converted: Converted, threshold: float | None, threads: int
) -> tuple[dict[str, Any], Outputs]:
    """Returns the rows of parity.json and the outputs of each file."""
    rows: dict[str, Any] = {}
    outputs: dict[str, Mapping[str, np.ndarray]] = {}
    with Progress(converted.made, desc="comparing", unit="artifact", leave=False) as bar:
        for fmt in bar:
            bar.set_postfix_str(fmt.name)
            path = directory / fmt.file
            rows[fmt.file], outputs[fmt.file] = measure.measure(
                path, fmt, prepared.run.task, prepared.ref, threshold, threads
            )
    return rows, outputs


def _float_candidates(prepared: Prepared, layer_errors: Sequence[Mapping[str, Any]], settings: Settings) -> list[str]:
    """Returns the layers that lose most to 8 bits, the worst first, as far as float_layers can name them.

    What is no layer of the network, such as the bare mean of an attention block, has an error but no name of its own.
    """
    if not layer_errors:
        return []
    known = {layer.name for layer in prepared.build(PHONE_INT8).model.get_layer(NETWORK_NAME).layers}
    worst = dict.fromkeys(row["layer"] for row in layer_errors)
    return [name for name in worst if name in known and name not in settings.float_layers]


def _calibration_caution(prepared: Prepared, split: str) -> str | None:
    """Returns why the probabilities that an app will see are not usable as such; None for masks, and where nothing
    measured says it.
    """
    task, ref = prepared.run.task, prepared.ref
    if task.kind == "segmentation":
        return None
    return calibration.caution(
        task, prepared.fit.temperature, ref.labels, ref.outputs["probabilities"].astype(np.float64), split
    )


def _report(
    prepared: Prepared, converted: Converted, rows: Mapping[str, Any], threshold: float | None, settings: Settings
) -> dict[str, Any]:
    """Returns the content of parity.json, but for its "records"."""
    run, ref, done = prepared.run, prepared.ref, converted.done
    candidates = _float_candidates(prepared, done.layer_errors, settings)
    judged_on = seen_before.judged_on(run, prepared.source, settings.split)
    patients_known = are_known(metadata.read_manifest(prepared.source, "dataset"))
    validation = prepared.basis.records if prepared.basis.own else None
    point = None if threshold is None else {"name": settings.operating_point, "threshold": threshold}
    references = measure.reference_rows(run.task, ref, threshold, prepared.fit.operating_points)
    if not patients_known:
        references["keras"]["patients"] = None
    return {
        **judged_on,
        "images": len(ref.photographs),
        "patients": len(np.unique(ref.groups)) if patients_known else None,
        "verdict": baseline.verdict_of(
            run.task, ref, settings.split, seen_before.is_unseen(judged_on), patients_known, validation
        ),
        "calibration_caution": _calibration_caution(prepared, settings.split),
        "drop_reference": "graph",
        "operating_point": point,
        **references,
        "artifacts": dict(rows),
        "not_made": dict(done.not_made),
        "outputs_left_out": dict(prepared.graph.left_out),
        "layer_errors": done.layer_errors,
        "float_layers": list(settings.float_layers),
        "float_candidates": candidates,
        "finetuning": dict(converted.finetuned),
        "limits": limits(settings),
        "calibration_images": converted.calibration_images,
    }
