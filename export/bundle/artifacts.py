"""The first two steps of an export: what is exported stands ready, and its artifacts are made."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge.calibration import store
from dr_edge.calibration.fit import Fit
from dr_edge.calibration.store import Basis
from dr_edge.fundus.in_graph import check_preprocess
from dr_edge.runs import TrainedRun, load_run
from export.convert import Conversion, convert_all
from export.formats import Format
from export.graph.deployable import PHONE, DeployableGraph, Target, deployable_graph
from export.graph.not_made import FormatNotMadeError
from export.parity import measure
from export.photographs import training_photographs
from export.qat.finetune import save_finetuned
from export.settings import Settings


@dataclass(frozen=True)
class Prepared:
    """A run that can be exported.

    Attributes:
      run: the finished run.
      source: records directory of calibration and parity.
      basis: what is fitted to the run, and which records that is from.
      fit: of `basis`, where there is one.
      build: target -> the deployable graph; each is built once.
      graph: that of a phone.
      ref: what Keras says of the photographs of parity.
    """

    run: TrainedRun
    source: str | os.PathLike
    basis: Basis
    fit: Fit
    build: Callable[[Target], DeployableGraph]
    graph: DeployableGraph
    ref: measure.Reference


@dataclass(frozen=True)
class Converted:
    """What became of the formats that were asked for.

    Attributes:
      wanted: the formats asked for.
      made: those of them with a file, at least one.
      done: why the others have none, and the error of each layer in 8 bits.
      finetuned: what `save_finetuned` says of qat_int8; empty where that was not made.
      calibration_images: training photographs on which ranges were measured.
    """

    wanted: Sequence[Format]
    made: Sequence[Format]
    done: Conversion
    finetuned: Mapping[str, Any]
    calibration_images: int


def prepare(run_dir: str | os.PathLike, records: str | os.PathLike | None, settings: Settings) -> Prepared:
    """Loads a run, fits what is fitted, builds its deployable graph, and asks both for the photographs of parity.

    Args:
      run_dir: directory of the run.
      records: records directory, or None for the one that the run was trained on.
      settings: of the export.

    Raises:
      ValueError: the run's preprocessing has no graph, nothing is fitted and nothing can be, or the split is empty.
      FloatingPointError: an output is not finite.
    """
    run = load_run(run_dir)
    check_preprocess(run.preprocess)
    source = records or run.records
    basis = store.basis(run, source)
    fit = _checked_fit(basis)
    build = functools.cache(functools.partial(_build, run, fit))
    graph = build(PHONE)
    ref = measure.reference(run, graph.model, fit.temperature, source, settings.split)
    return Prepared(run, source, basis, fit, build, graph, ref)


def convert(prepared: Prepared, wanted: Sequence[Format], directory: Path, settings: Settings) -> Converted:
    """Writes the file of each wanted format that can hold the network into `directory`.

    Raises:
      ValueError: none of them can.
    """
    run, basis = prepared.run, prepared.basis
    photographs: list[np.ndarray] = []
    if any(fmt.calibrated for fmt in wanted):
        photographs = training_photographs(prepared.source, run.task, settings.calibration_images)
    finetuned: dict[str, Any] = {}

    def finetune(path: Path) -> None:
        if basis.records is None or not basis.own:  # other photographs would make it another model
            raise FormatNotMadeError(
                f"it is fine-tuned on the records that the run was trained on; {run.records} is not there"
            )
        finetuned.update(save_finetuned(run, prepared.fit, basis.records, path))

    onnx_batch = None if settings.onnx_dynamic_batch else 1
    done = convert_all(prepared.build, wanted, directory, photographs, finetune, settings.float_layers, onnx_batch)
    made = [fmt for fmt in wanted if fmt.name not in done.not_made]
    if not made:
        why = "; ".join(f"{name}: {reason}" for name, reason in done.not_made.items())
        raise ValueError(f"None of the formats can hold this network. {why}")
    return Converted(wanted, made, done, finetuned, len(photographs))


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
            f"A bundle needs a temperature, thresholds and a distance: {basis.reason}. Pass --records=DIR with the "
            "records that the run was trained on."
        )
    return basis.fit
