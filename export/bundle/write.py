"""Writes a bundle: the artifacts, the sheet that proves they are the trained model, and the manifest last."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge import metadata
from dr_edge.bundle_files import signature
from export.bundle import front_matter, model_card, test_vectors, triton
from export.bundle.artifacts import Converted, Prepared, convert, prepare
from export.bundle.compare import Compared, compare
from export.bundle.manifest import positive_words, write_metadata
from export.formats import Format, parse_formats
from export.graph.deployable import INPUT_NAME, SERVER
from export.onnx import convert as onnx_convert
from export.parity import measure
from export.parity import report as parity_report
from export.parity.verdict import advice, failures
from export.qat import finetune
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
    sign: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Exports a finished run to a bundle directory.

    Args:
      run_dir: directory of the run.
      out: directory of the bundle; must not exist or be empty.
      formats: names from formats.FORMATS; () for the default ones, ("all",) for all.
      records: records directory, of whose training split the ranges of integer formats are measured and on which parity
        is; None for the one that the run was trained on. What is fitted to the run stays that of its own records, also
        where these are gone (`calibration.store.basis`).
      settings: None for those that gin binds.
      sign: PEM file of the Ed25519 private key that signs the bundle; None: it is not signed.

    Returns:
      The content of parity.json.

    Raises:
      FileExistsError: `out` holds something.
      ParityFailure: a limit is passed; says what helps, and nothing is left at `out`.
      FloatingPointError: an output is not finite.
      RuntimeError: qat_int8 or a signature is wanted and its extra is not installed.
      ValueError: bad input, such as a key that cannot sign.
    """
    settings = settings or Settings()
    wanted = parse_formats(formats)
    if any(fmt.name == "qat_int8" for fmt in wanted):
        finetune.check_installed()  # before minutes of work
    key = None if sign is None else signature.signing_key(sign)
    with measure.whole_float32(), metadata.staged_directory(out) as directory:
        prepared = prepare(run_dir, records, settings)
        converted = convert(prepared, wanted, directory, settings)
        compared = compare(prepared, converted, directory, settings)
        _check_limits(compared.report, wanted, settings)
        _write(prepared, converted, compared, directory, settings)
        if key is not None:
            signature.sign(directory, key)
    return compared.report


def _check_limits(report: Mapping[str, Any], wanted: Sequence[Format], settings: Settings) -> None:
    """Raises ParityFailure where a limit is passed."""
    found = failures(report, wanted, settings)
    if found:
        raise ParityFailure([failure.sentence for failure in found], report, advice(found, report, wanted, settings))


def _write(prepared: Prepared, converted: Converted, compared: Compared, directory: Path, settings: Settings) -> None:
    """Writes all that stands beside the artifacts and parity.json, the manifest last."""
    run, graph, report, training = prepared.run, prepared.graph, compared.report, compared.training
    page = parity_report.render(run, report, prepared.ref, compared.outputs, settings.photographs_in_report)
    metadata.write_text(directory / REPORT_FILE, page)
    metadata.write_text(directory / "labels.txt", triton.label_lines(run.task.class_names))
    card = model_card.model_card(run, prepared.fit, report, training)
    card = front_matter.front_matter(run, report, training, settings) + card
    for name in ("MODEL_CARD.md", "README.md"):  # the latter is the page that a hub shows
        metadata.write_text(directory / name, card)
    note = positive_words(run.task) if run.task.kind == "classification" else ""
    files = [fmt.file for fmt in converted.made]
    test_vectors.write_vectors(directory, run.image_size, measure.graph_function(graph.model), files, note)
    if settings.triton and any(fmt.suffix == "onnx" for fmt in converted.made):
        _write_triton(prepared, report, directory, settings, note)
    write_metadata(directory, run, graph, prepared.fit, converted.wanted, training, report)


def _write_triton(
    prepared: Prepared, report: Mapping[str, Any], directory: Path, settings: Settings, note: str
) -> None:
    """Writes the model repository of a Triton server, whose ONNX model takes batches of any size."""
    server = prepared.build(dataclasses.replace(SERVER, batch=None))
    shapes = {name: server.model.output[name].shape[1:] for name in server.outputs}
    content = onnx_convert.convert_float32(server.model)
    _check_batches(content, prepared.ref, report, settings)
    triton.write_repository(directory, content, prepared.run.image_size, shapes, prepared.run.task.class_names, note)


def _check_batches(content: bytes, ref: measure.Reference, report: Mapping[str, Any], settings: Settings) -> None:
    """Raises ParityFailure where the ONNX model of a dynamic batch answers otherwise than the deployable graph."""
    import onnxruntime

    batch = np.concatenate(list(itertools.islice(ref.photographs, triton.MAX_BATCH)))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, {INPUT_NAME: batch}), strict=True))
    key = "masks" if "masks" in outputs else "probabilities"
    difference = float(np.abs(outputs[key] - ref.outputs[key][: len(batch)]).max())
    limit = limits(settings)["probability_difference"]["onnx_float32"]
    if not difference <= limit:
        reason = (
            f"triton: in a batch of {len(batch)} a probability differs by {difference:.1e} from Keras, permitted are "
            f"{limit:.0e}"
        )
        raise ParityFailure([reason], report)
