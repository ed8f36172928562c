"""Writes a bundle: the artifacts, the sheet that proves they are the trained model, and the manifest last."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge import metadata
from dr_edge.calibration import store as fitted
from dr_edge.calibration.fit import Fit
from dr_edge.calibration.store import Basis
from dr_edge.progress import Progress
from dr_edge.runs import TrainedRun, load_run
from export.bundle import model_card, ood_thresholds, test_vectors, triton
from export.bundle.manifest import positive_words, records_used, training_facts, write_metadata
from export.convert import Conversion, convert_all
from export.formats import Format, parse_formats
from export.graph.deployable import (
    INPUT_NAME,
    NETWORK_NAME,
    PHONE,
    PHONE_INT8,
    SERVER,
    DeployableGraph,
    Target,
    check_preprocess,
    deployable_graph,
)
from export.onnx import convert as onnx
from export.parity import measure as parity
from export.parity import report as parity_report
from export.parity.verdict import advice, failures
from export.photographs import training_photographs
from export.qat import finetune as finetuning
from export.settings import Settings, limits

REPORT_FILE = "parity.html"


class ParityFailure(RuntimeError):
    """The graph or an artifact differs more from the trained model than the settings permit.

    Attributes:
      report: the content that parity.json would have had.
    """

    def __init__(self, reasons: Sequence[str], report: Mapping[str, Any], help_lines: Sequence[str] = ()) -> None:
        super().__init__("\n- ".join([f"No bundle was written: {'; '.join(reasons)}.", *help_lines]))
        self.report = report


def export_run(
    run_dir: str | os.PathLike,
    out: str | os.PathLike,
    formats: Sequence[str] = (),
    records: str | os.PathLike | None = None,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """Exports a finished run to a bundle directory.

    Args:
      run_dir: directory of the run.
      out: directory of the bundle; must not exist or be empty.
      formats: names from formats.FORMATS; () for the default ones, ("all",) for all.
      records: records directory, of whose training split the ranges of integer formats are measured and on which parity is;
        None for the one that the run was trained on. What is fitted to the run stays that of its own records, also where
        these are gone (`fitted.basis`).
      settings: None for those that gin binds.

    Returns:
      The content of parity.json.

    Raises:
      FileExistsError: `out` holds something.
      ParityFailure: a limit is passed; says what helps, and nothing is left at `out`.
      FloatingPointError: an output is not finite.
      ValueError: bad input.
    """
    settings = settings or Settings()
    wanted = parse_formats(formats)
    with parity.whole_float32(), metadata.staged_directory(out) as directory:
        run = load_run(run_dir)
        check_preprocess(run.preprocess)
        source = records or run.records
        basis = fitted.basis(run, source)
        fit = _checked_fit(basis)
        build = functools.cache(functools.partial(_build, run, fit))
        graph = build(PHONE)
        ref = parity.reference(run, graph.model, fit.temperature, source, settings.split)
        photographs: list[np.ndarray] = []
        if any(fmt.calibrated for fmt in wanted):
            photographs = training_photographs(source, run.task, settings.calibration_images)
        finetuned: dict[str, Any] = {}

        def finetune(path: Path) -> None:
            if basis.records is None or not basis.own:  # other photographs would make it another model
                raise NotImplementedError(f"it is fine-tuned on the records that the run was trained on; {run.records} is not there")
            finetuned.update(finetuning.save_finetuned(run, fit, basis.records, path))

        onnx_batch = None if settings.onnx_dynamic_batch else 1
        done = convert_all(build, wanted, directory, photographs, finetune, settings.float_layers, onnx_batch)
        made = [fmt for fmt in wanted if fmt.name not in done.not_made]
        if not made:
            why = "; ".join(f"{name}: {reason}" for name, reason in done.not_made.items())
            raise ValueError(f"None of the formats can hold this network. {why}")
        threshold = _threshold(fit, settings.operating_point)
        rows, outputs = _measure_all(directory, made, run, ref, threshold, settings.threads)
        with_distance = [fmt for fmt in made if ood_thresholds.OUTPUT in outputs[fmt.file]]
        for file, ood in ood_thresholds.thresholds(directory, with_distance, fit.ood, basis.records, run.task).items():
            rows[file] |= {"ood": ood, "ood_beyond": ood_thresholds.share_beyond(outputs[file], ood)}
        candidates = _float_candidates(build, done, settings)
        unseen = settings.split == "test" or not fitted.is_trained_on(run, source)
        report = _report(run, fit, graph, ref, rows, done, finetuned, threshold, candidates, settings, unseen)
        report["calibration_images"] = len(photographs)
        training = training_facts(run, basis)
        measured = any(fmt.calibrated and fmt.name != "qat_int8" for fmt in made)  # that one's ranges are fine-tuned
        report["records"] = records_used(run, basis, training, source, measured)
        metadata.write_manifest(directory, "parity", report)
        found = failures(report, wanted, settings)
        if found:
            raise ParityFailure([failure.sentence for failure in found], report, advice(found, report, wanted, settings))
        page = parity_report.render(run, report, ref, outputs, settings.photographs_in_report)
        metadata.write_text(directory / REPORT_FILE, page)
        metadata.write_text(directory / "labels.txt", triton.label_lines(run.task.class_names))
        metadata.write_text(directory / "MODEL_CARD.md", model_card.model_card(run, fit, report, training))
        note = positive_words(run.task) if run.task.kind == "classification" else ""
        files = [fmt.file for fmt in made]
        test_vectors.write_vectors(directory, run.image_size, parity.graph_function(graph.model), files, note)
        if settings.triton and any(fmt.suffix == "onnx" for fmt in made):
            server = build(dataclasses.replace(SERVER, batch=None))
            shapes = {name: server.model.output[name].shape[1:] for name in server.outputs}
            content = onnx.convert_float32(server.model)
            _check_batches(content, ref, report, settings)
            triton.write_repository(directory, content, run.image_size, shapes, run.task.class_names, note)
        write_metadata(directory, run, graph, fit, wanted, training, report)
    return report


def _build(run: TrainedRun, fit: Fit, target: Target) -> DeployableGraph:
    return deployable_graph(
        run.model,
        kind=run.task.kind,
        preprocess=run.preprocess,
        temperature=fit.temperature,
        features=fit.features,
        target=target,
    )


def _checked_fit(basis: Basis) -> Fit:
    """Returns what is fitted to the run; raises ValueError where there is nothing."""
    if basis.fit is None:
        raise ValueError(
            f"A bundle needs a temperature, thresholds and a distance: {basis.reason}. Pass --records=DIR with the records "
            f"that the run was trained on."
        )
    return basis.fit


def _check_batches(content: bytes, ref: parity.Reference, report: Mapping[str, Any], settings: Settings) -> None:
    """Raises ParityFailure where the ONNX model of a dynamic batch answers otherwise than the deployable Keras graph."""
    import onnxruntime

    batch = np.concatenate(list(itertools.islice(ref.photographs, triton.MAX_BATCH)))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, {INPUT_NAME: batch}), strict=True))
    key = "masks" if "masks" in outputs else "probabilities"
    difference = float(np.abs(outputs[key] - ref.outputs[key][: len(batch)]).max())
    limit = limits(settings)["probability_difference"]["onnx_float32"]
    if not difference <= limit:
        reason = f"triton: in a batch of {len(batch)} a probability differs by {difference:.1e} from Keras, permitted are {limit:.0e}"
        raise ParityFailure([reason], report)


def _threshold(fit: Fit, name: str) -> float | None:
    """Returns the threshold of the named operating point; None for a task without operating points."""
    thresholds = {point["name"]: point["threshold"] for point in fit.operating_points}
    if thresholds and name not in thresholds:
        raise ValueError(f"export.settings.operating_point = {name!r}. Known: {', '.join(thresholds)}.")
    return thresholds.get(name)


def _measure_all(
    directory: Path, formats: Sequence[Format], run: TrainedRun, ref: parity.Reference, threshold: float | None, threads: int
) -> tuple[dict[str, Any], dict[str, Mapping[str, np.ndarray]]]:
    """Returns the rows of parity.json and the outputs of each file."""
    rows: dict[str, Any] = {}
    outputs: dict[str, Mapping[str, np.ndarray]] = {}
    with Progress(formats, desc="comparing", unit="artifact", leave=False) as bar:
        for fmt in bar:
            bar.set_postfix_str(fmt.name)
            path = directory / fmt.file
            rows[fmt.file], outputs[fmt.file] = parity.measure(path, fmt, run.task, ref, threshold, threads)
    return rows, outputs


def _float_candidates(build: Callable[[Target], DeployableGraph], done: Conversion, settings: Settings) -> list[str]:
    """Returns the layers that lose most to 8 bits, the worst first, as far as float_layers can name them.

    What is no layer of the network, such as the bare mean of an attention block, has an error but no name of its own.
    """
    if not done.layer_errors:
        return []
    known = {layer.name for layer in build(PHONE_INT8).model.get_layer(NETWORK_NAME).layers}
    worst = dict.fromkeys(row["layer"] for row in done.layer_errors)
    return [name for name in worst if name in known and name not in settings.float_layers]


def _report(
    run: TrainedRun,
    fit: Fit,
    graph: DeployableGraph,
    ref: parity.Reference,
    rows: Mapping[str, Any],
    done: Conversion,
    finetuned: Mapping[str, Any],
    threshold: float | None,
    candidates: Sequence[str],
    settings: Settings,
    unseen: bool,
) -> dict[str, Any]:
    """Returns the content of parity.json."""
    point = None if threshold is None else {"name": settings.operating_point, "threshold": threshold}
    return {
        "split": settings.split,
        "images": len(ref.photographs),
        "patients": len(np.unique(ref.groups)),
        "verdict": parity.verdict_of(run.task, ref, settings.split, unseen),
        "drop_reference": "graph",
        "operating_point": point,
        **parity.reference_rows(run.task, ref, threshold, fit.operating_points),
        "artifacts": dict(rows),
        "not_made": dict(done.not_made),
        "outputs_left_out": dict(graph.left_out),
        "layer_errors": done.layer_errors,
        "float_layers": list(settings.float_layers),
        "float_candidates": list(candidates),
        "finetuning": dict(finetuned),
        "limits": limits(settings),
    }
