"""Parity: is each artifact still the model that was trained? Measured on the test records, run as an app would.

Two references are kept apart. `keras` is the training-time pipeline (stored preprocessed image -> best.keras): what
evaluation reports. `graph` is the deployable Keras graph on the stored photograph: what a conversion must reproduce,
and what each artifact's drop is measured from. The two differ by what storing the photograph has cost it; verdict.py
judges the graph against the pipeline, and each artifact against the graph.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge.data import pipeline
from dr_edge.data.records import as_text
from dr_edge.data.records_info import read_info
from dr_edge.data.tasks import Task
from dr_edge.metadata import finite_or_none
from dr_edge.metrics import classification, multilabel
from dr_edge.progress import Progress
from dr_edge.runs import TrainedRun
from export.formats import Format
from export.parity import runtime
from export.parity.delegation import delegation
from export.parity.statistics import (
    at_operating_points,
    class_statistics,
    compare,
    mask_statistics,
    with_intervals,
)
from export.photographs import StoredPhotographs

BATCH = 16


@dataclasses.dataclass(frozen=True)
class Reference:
    """The test records as Keras sees them.

    Attributes:
      photographs: N of them, read anew where they are needed.
      ids, groups: [N] image and patient.
      labels: [N] int, [N, L] for multilabel, or [N, S, S, M] int8 for segmentation.
      pipeline: [N, C] calibrated probabilities of the training-time pipeline; [N, S, S, M] float32 for segmentation.
      outputs: of the deployable Keras graph: name -> [N, ...].
    """

    photographs: StoredPhotographs
    ids: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    pipeline: np.ndarray
    outputs: Mapping[str, np.ndarray]


def reference(run: TrainedRun, graph: Any, temperature: float, records: str | os.PathLike, split: str) -> Reference:
    """Runs both references on a split.

    Args:
      run: the finished run.
      graph: the deployable Keras model, batch 1.
      temperature: of the calibration.
      records: the records directory.
      split: usually "test".

    Raises:
      ValueError: the split is empty.
      FloatingPointError: an output is not finite.
    """
    total = pipeline.example_count(read_info(records), split, run.task)
    call = graph_function(graph)
    # Masks are the bulk of what is kept: 400 images of 512 px and two structures are 0.2 billion values.
    masks = run.task.kind == "segmentation"
    label_type, probability_type = (np.int8, np.float32) if masks else (np.int64, np.float64)
    parts: dict[str, list[Any]] = {key: [] for key in ("ids", "groups", "labels", "pipeline", "outputs")}
    with Progress(total=total, desc=f"Keras on {split}", unit="image", leave=False) as bar:
        for batch in pipeline.evaluation_batches(records, split, run.task, BATCH, photograph=True):
            logits = np.asarray(run.model.predict_on_batch(batch["image"]), np.float64)
            parts["pipeline"].append(run.task.probabilities(logits / temperature).astype(probability_type))
            for photograph in batch["photograph"].numpy():
                parts["outputs"].append(call(photograph[None]))
                bar.update()
            parts["ids"].append(as_text(batch["id"].numpy()))
            parts["groups"].append(as_text(batch["patient"].numpy()))
            parts["labels"].append(np.rint(batch["label"].numpy()).astype(label_type))
    if not parts["labels"]:
        raise ValueError(f"{records}: the split {split!r} holds no image for the task {run.task.name!r}.")
    outputs = _stacked(parts["outputs"])
    check_finite(outputs, "the deployable Keras graph")
    joined = {key: np.concatenate(parts[key]) for key in ("ids", "groups", "labels", "pipeline")}
    photographs = StoredPhotographs(records, split, run.task, len(joined["ids"]))
    return Reference(photographs, joined["ids"], joined["groups"], joined["labels"], joined["pipeline"], outputs)


@contextlib.contextmanager
def whole_float32() -> Iterator[None]:
    """Keeps Keras from TensorFloat-32, recent NVIDIA GPUs' default: parity would see the rounding of its 10 bits."""
    from dr_edge.framework import tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def graph_function(graph: Any) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Returns a compiled function from [1, S, S, 3] uint8 to the outputs of a deployable Keras model."""
    from dr_edge.framework import tf

    compiled = tf.function(lambda image: graph(image, training=False))

    def call(photograph: np.ndarray) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in compiled(tf.constant(photograph)).items()}

    return call


def _stacked(outputs: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}


def check_finite(outputs: Mapping[str, np.ndarray], name: str) -> None:
    """Raises FloatingPointError where an output holds NaN or infinity, naming the first image."""
    for key, value in outputs.items():
        wrong = ~np.isfinite(value.reshape(len(value), -1)).all(axis=1)
        if wrong.any():
            raise FloatingPointError(
                f"{name}: output {key!r} is not finite for {int(wrong.sum())} of {len(value)} images "
                f"(first: number {int(np.argmax(wrong))}). The artifact must not be shipped; train or calibrate again."
            )


def score(task: Task, labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Returns the task's metrics of [N, C] probabilities (see dr_edge.metrics.classification)."""
    if task.kind == "multilabel":
        return multilabel.multilabel_metrics(labels, probabilities, task.class_names, groups=groups)
    return classification.classification_metrics(
        labels, probabilities, task.class_names, ordered=task.ordered, groups=groups, positive=task.positive
    )


def reference_rows(
    task: Task, ref: Reference, threshold: float | None, points: Sequence[Mapping[str, Any]] = ()
) -> dict[str, dict[str, Any]]:
    """Returns the rows of both references.

    Args:
      task: the run's task.
      ref: from `reference`.
      threshold: of the disease's probability at the operating point, or None.
      points: all operating points of a classification.

    Returns:
      "keras": all metrics of the training-time pipeline with intervals; "graph": those of the deployable Keras graph,
      its drop from the pipeline, and "max_difference" and "mean_difference" of the probabilities between the two. Both
      hold "operating_points": sensitivity and specificity of this split at each of `points`.
    """
    key = "masks" if task.kind == "segmentation" else "probabilities"
    graph = ref.outputs[key]
    if task.kind == "segmentation":
        own, base = (mask_statistics(task, ref.labels, masks) for masks in (graph, ref.pipeline))
        keras_row = with_intervals(base, ref.groups)
    else:
        own, base = (
            class_statistics(task, ref.labels, probabilities, threshold) for probabilities in (graph, ref.pipeline)
        )
        keras_row = score(task, ref.labels, ref.pipeline, ref.groups)
    difference = np.abs(graph - ref.pipeline)
    graph_row = compare(own, base, ref.groups)
    graph_row |= {"max_difference": float(difference.max()), "mean_difference": float(difference.mean())}
    for row, values in ((keras_row, ref.pipeline), (graph_row, graph)):
        row["operating_points"] = at_operating_points(task, points, ref.labels, values, ref.groups)
    return {"keras": keras_row, "graph": graph_row}


def measure(
    path: str | os.PathLike, fmt: Format, task: Task, ref: Reference, threshold: float | None, threads: int = 1
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Runs one artifact on all photographs of the reference and compares.

    Args:
      path: the artifact.
      fmt: its format.
      task: the run's task.
      ref: from `reference`.
      threshold: of the disease's probability at the operating point, or None.
      threads: of the runtime.

    Returns:
      A row of parity.json (metrics, their `drop` from the deployable Keras graph with a paired interval, agreement of
      the predicted class, differences of each output, bytes and this host's latency), and the outputs but the masks.

    Raises:
      FloatingPointError: an output is not finite.
    """
    run = runtime.open_artifact(path, threads)
    progress = Progress(
        ref.photographs, total=len(ref.photographs), desc=f"parity of {fmt.name}", unit="image", leave=False
    )
    outputs = _stacked([run(photograph) for photograph in progress])
    check_finite(outputs, Path(path).name)
    row: dict[str, Any] = {
        "variant": fmt.variant,
        "format": fmt.suffix,
        "bytes": Path(path).stat().st_size,
        "latency_ms": {**runtime.latency_ms(run, next(iter(ref.photographs))), "threads": threads},
    }
    if fmt.suffix == "tflite":
        row["xnnpack"] = dataclasses.asdict(delegation(Path(path).read_bytes(), threads))
    graph = ref.outputs
    if task.kind == "segmentation":
        key, statistics = "masks", mask_statistics
        own, base = (statistics(task, ref.labels, values[key]) for values in (outputs, graph))
        row["agreement"] = float(((outputs[key] >= 0.5) == (graph[key] >= 0.5)).mean())
    else:
        key = "probabilities"
        own, base = (class_statistics(task, ref.labels, values[key], threshold) for values in (outputs, graph))
        same = _decisions(task, outputs[key]) == _decisions(task, graph[key])
        row["agreement"] = float(same.mean())
        row["changed"] = [str(image) for image in ref.ids[~same.reshape(len(same), -1).all(axis=1)]]
    row |= compare(own, base, ref.groups)
    row["max_probability_difference"] = float(np.abs(outputs[key] - graph[key]).max())
    if "heatmap" in outputs:
        row["heatmap_correlation"] = _heatmap_correlation(outputs["heatmap"], graph["heatmap"])
    if "ood_distance" in outputs:
        relative = np.abs(outputs["ood_distance"] - graph["ood_distance"]) / np.maximum(graph["ood_distance"], 1e-6)
        row["ood_relative_difference"] = float(np.median(relative))
    if "quality" in outputs:
        row["max_quality_difference"] = float(np.abs(outputs["quality"] - graph["quality"]).max())
    return row, {name: values for name, values in outputs.items() if name != "masks"}


def _decisions(task: Task, probabilities: np.ndarray) -> np.ndarray:
    return probabilities >= 0.5 if task.kind == "multilabel" else probabilities.argmax(axis=1)


def _heatmap_correlation(maps: np.ndarray, reference_maps: np.ndarray) -> dict[str, float | None]:
    """Pearson correlation per image, where neither map is constant."""
    values = []
    for one, other in zip(maps.reshape(len(maps), -1), reference_maps.reshape(len(maps), -1), strict=True):
        if one.std() > 0 and other.std() > 0:
            values.append(float(np.corrcoef(one, other)[0, 1]))
    if not values:
        return {"median": None, "p5": None}
    return {"median": finite_or_none(np.median(values)), "p5": finite_or_none(np.percentile(values, 5))}
