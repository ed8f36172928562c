"""What a model says of each image of a split, and how that is kept as a CSV file."""

from __future__ import annotations

import dataclasses
import os
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge import metadata, spreadsheet
from dr_edge.data.records import as_text
from dr_edge.data.tasks import Task
from dr_edge.evaluation.columns import Columns
from dr_edge.progress import Progress
from dr_edge.runs import TrainedRun

CSV_FILE = "predictions.csv"
MISSING = -1
COLUMNS = ("id", "patient", "laterality", "label", "quality", "source_size")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A row per image, in the order of the shards.

    Attributes:
      ids, patients, laterality: [N] str.
      labels: [N] int (classification) or [N, L] int, -1 where a disease is not known (multilabel).
      logits: [N, C] float64; log-probabilities where they were read from a file.
      probabilities: [N, C] float64.
      quality: [N] float, 0 (ungradable) .. 1.
      source_size: [N, 2] int, height and width of the source photograph.
      features: [N, F] float32 of the layer `penultimate`; None where they were read from a file or the model
        has no such layer.
    """

    ids: np.ndarray
    patients: np.ndarray
    laterality: np.ndarray
    labels: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    quality: np.ndarray
    source_size: np.ndarray
    features: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def predicted(self) -> np.ndarray:
        """[N] int, the most probable class."""
        return self.probabilities.argmax(axis=1)


def predict_split(
    run: TrainedRun, records: str | os.PathLike, split: str, batch_size: int, limit: int | None = None
) -> Predictions:
    """Runs the model over a split, with a progress bar.

    Args:
      run: a finished run of a classification or multilabel task.
      records, split: where the images are.
      batch_size: images per step.
      limit: at most about this many images, evenly spread over the split; None: all.

    Raises:
      ManifestError, ValueError: no such records or split, or no image in it that the task uses.
      RuntimeError: the model's output is not finite.
    """
    from dr_edge.data import pipeline
    from dr_edge.data.records_info import read_info

    total = pipeline.example_count(read_info(records), split, run.task)
    batches = pipeline.evaluation_batches(records, split, run.task, batch_size)
    stride = 1 if limit is None else max(1, -(-total // limit))
    if stride > 1:
        batches = batches.shard(stride, 0)
    network, has_features = with_features(run.model)
    columns = Columns(-(-total // stride), run.directory)
    with Progress(total=-(-total // stride), desc=f"predict {split}", unit="image", dynamic_ncols=True) as bar:
        for batch in batches:
            part = {key: batch[key].numpy() for key in COLUMNS}
            outputs = network.predict_on_batch(batch["image"])
            part["logits"] = np.asarray(outputs[0] if has_features else outputs, dtype=np.float64)
            if has_features:
                part["features"] = np.asarray(outputs[1], dtype=np.float32)
            columns.add(part)
            bar.update(len(part["id"]))
    joined = columns.joined()
    if not joined:
        raise ValueError(f"{records}: split {split!r} holds no image that task {run.task.name!r} uses.")
    if not np.isfinite(joined["logits"]).all():
        raise RuntimeError(f"{run.directory}: the model gives outputs that are not finite. It diverged; train again.")
    return Predictions(
        ids=as_text(joined["id"]),
        patients=as_text(joined["patient"]),
        laterality=as_text(joined["laterality"]),
        labels=joined["label"].astype(int),
        logits=joined["logits"],
        probabilities=run.probabilities(joined["logits"]),
        quality=joined["quality"].astype(float),
        source_size=joined["source_size"].astype(int),
        features=joined.get("features"),
    )


def with_features(model: Any) -> tuple[Any, bool]:
    """Returns a model that gives [logits, penultimate features], and True; `model` and False without such a layer."""
    from dr_edge.framework import keras

    if "penultimate" not in {layer.name for layer in model.layers}:
        return model, False
    return keras.Model(model.inputs, [model.output, model.get_layer("penultimate").output]), True


def to_csv(predictions: Predictions, task: Task) -> str:
    """Returns the table as CSV: id, patient, label(s), p_<class> ..., predicted, laterality, quality, height, width.

    A classification's label and prediction are class names; a disease's are 1, 0 or empty (not known).
    """
    single = task.kind == "classification"
    labels = ["label"] if single else [f"label_{name}" for name in task.class_names]
    predicted = ["predicted"] if single else [f"predicted_{name}" for name in task.class_names]
    scores = [f"p_{name}" for name in task.class_names]
    header = ["id", "patient", *labels, *scores, *predicted, "laterality", "quality", "source_height", "source_width"]

    def cells(row: int) -> list[object]:
        values = predictions.probabilities[row]
        if single:
            truth = [task.class_names[predictions.labels[row]]]
            said = [task.class_names[int(values.argmax())]]
        else:
            truth = ["" if value == MISSING else str(value) for value in predictions.labels[row]]
            said = [str(int(value >= 0.5)) for value in values]
        who, where = (predictions.ids[row], predictions.patients[row]), predictions.source_size[row]
        shown = (f"{value:.9g}" for value in values)
        return [*who, *truth, *shown, *said, predictions.laterality[row], f"{predictions.quality[row]:.4f}", *where]

    return spreadsheet.to_csv(header, map(cells, range(len(predictions))))


def from_csv(evaluation: str | os.PathLike, task: Task) -> Predictions:
    """Reads the predictions.csv of an evaluation directory.

    Raises:
      ManifestError: the file is missing, or does not hold this task's columns.
    """
    path = Path(evaluation) / CSV_FILE
    if not path.is_file():
        raise metadata.ManifestError(f"{path} is missing. Run python -m dr_edge.evaluate again.")
    single = task.kind == "classification"
    names = ["label"] if single else [f"label_{name}" for name in task.class_names]
    scores = [f"p_{name}" for name in task.class_names]
    places = {name: index for index, name in enumerate(task.class_names)}
    texts: dict[str, list[str]] = {name: [] for name in ("id", "patient", "laterality")}
    labels, numbers, sizes = array("q"), array("d"), array("q")
    for row in spreadsheet.each(path):  # the rows themselves would take a kilobyte each
        if not numbers:
            _check_columns(path, row, ("id", "patient", *names, *scores))
        for name, held in texts.items():
            held.append(row[name])
        numbers.extend(float(row[name]) for name in (*scores, "quality"))
        labels.extend(
            [places[row["label"]]] if single else [int(row[name]) if row[name] else MISSING for name in names]
        )
        sizes.extend((int(row["source_height"]), int(row["source_width"])))
    if not numbers:
        _check_columns(path, {}, ("id", "patient", *names, *scores))
    values = np.frombuffer(numbers).reshape(-1, len(scores) + 1)
    probabilities = values[:, :-1].copy()
    clipped = np.clip(probabilities, 1e-12, 1 - 1e-12)
    stated = np.frombuffer(labels, np.int64)
    return Predictions(
        ids=np.array(texts["id"]),
        patients=np.array(texts["patient"]),
        laterality=np.array(texts["laterality"]),
        labels=stated if single else stated.reshape(-1, len(names)),
        logits=np.log(clipped) if single else np.log(clipped / (1 - clipped)),
        probabilities=probabilities,
        quality=values[:, -1].copy(),
        source_size=np.frombuffer(sizes, np.int64).reshape(-1, 2),
    )


def _check_columns(path: Path, row: Mapping[str, str], names: Sequence[str]) -> None:
    """Raises ManifestError where a row lacks columns."""
    missing = [name for name in names if name not in row]
    if missing:
        raise metadata.ManifestError(f"{path}: columns {', '.join(missing)} missing. Evaluate the run again.")


def examples_by_id(
    run: TrainedRun, records: str | os.PathLike, split: str, ids: set[str], masks: tuple[str, ...] = ()
) -> dict[str, dict[str, Any]]:
    """Reads chosen examples with their pictures; only these are decoded.

    Returns:
      id -> {"image": [S, S, 3] float32 0..255, "photograph": [S, S, 3] uint8, "mask/<name>": [S, S] float32
      of 0 and 1, or -1 everywhere where there is no such mask}.
    """
    from dr_edge.data import records as records_lib
    from dr_edge.framework import tf

    found: dict[str, dict[str, Any]] = {}
    for serialized in tf.data.TFRecordDataset(records_lib.shard_paths(records, split)):
        parsed = records_lib.parse(serialized, masks=masks, photograph=True)
        name = parsed["id"].numpy().decode("utf-8")
        if name in ids:
            found[name] = {
                "image": tf.cast(records_lib.decode_image(parsed["encoded"], run.image_size), tf.float32).numpy(),
                "photograph": records_lib.decode_image(parsed["photograph"], run.image_size).numpy(),
            } | {
                f"mask/{mask}": records_lib.decode_mask(parsed[f"mask/{mask}"], run.image_size).numpy()
                for mask in masks
            }
            if len(found) == len(ids):
                break
    return found
