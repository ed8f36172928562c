"""A finished run as evaluation, explanation and export read it: the best model and what it was trained for."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from dr_edge import durable, metadata
from dr_edge.data.tasks import Task
from dr_edge.fundus import graham
from dr_edge.fundus.appearance import wanted
from dr_edge.verdict import CONSTANT, GUESSING, NOT_EVALUATED, of_bundle, unmeasured

MODEL_FILE = "best.keras"


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """What a run directory holds.

    Attributes:
      directory: the run directory.
      content: the whole of run.json.
      task: what the model is asked.
      image_size: side of the model's input in pixels.
      preprocess: {"method": ..., constants} of the records it was trained on.
      records: the records directory it was trained on, as run.json states it.
      model: flat Keras model, [B, S, S, 3] float32 0..255 preprocessed -> logits [B, C] or [B, S, S, C].
      temperature: logits are divided by it; 1.0 until a calibration is chosen (`calibration.store.calibrated`).
    """

    directory: Path
    content: Mapping[str, Any]
    task: Task
    image_size: int
    preprocess: Mapping[str, Any]
    records: str
    model: Any
    temperature: float = 1.0

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Turns logits into probabilities: softmax over classes, or a sigmoid for each disease or mask."""
        return self.task.probabilities(np.asarray(logits, np.float64) / self.temperature)

    @property
    def pictures(self) -> tuple[str, ...]:
        """Kinds of pictures (colour, greyscale, normalised) that it was trained on."""
        return wanted(self.preprocess["method"], self.content.get("pictures"))

    @property
    def background(self) -> float:
        """Grey level of an input pixel that says nothing: that outside the field of view."""
        return graham.background(self.preprocess["method"])


def load_run(run_dir: str | os.PathLike) -> TrainedRun:
    """Loads a finished run.

    Raises:
      ManifestError: no run, or one that has not finished.
      OSError: the file of its model may not be read.
      ValueError: its model cannot be read, or has no layer `logits`.
    """
    directory = Path(run_dir)
    content = metadata.read_manifest(directory, "run")
    if content["status"] != "finished":
        raise metadata.ManifestError(
            f"{directory}: the run's status is {content['status']!r}, not 'finished'. Run the training "
            "command again with this run directory; it resumes."
        )
    path = directory / MODEL_FILE
    if not path.is_file():
        raise metadata.ManifestError(
            f"{directory} holds no {MODEL_FILE}, although run.json says it finished. Train again."
        )
    with path.open("rb"):  # Keras calls a file that may not be read one that is not there
        pass
    _check_model(path, content["best"].get("sha256"))
    from dr_edge.framework import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError) as err:
        raise ValueError(f"{path} cannot be read as a Keras model: {err}. Train again, or restore the file.") from err
    if "logits" not in {layer.name for layer in model.layers}:
        raise ValueError(f"{path}: the model has no layer named 'logits'. Only models of dr_edge.models can be read.")
    return TrainedRun(
        directory,
        content,
        Task.from_json(content["task"]),
        int(content["image_size"]),
        content["preprocess"],
        str(content["records"]),
        model,
    )


def _check_model(path: Path, sha256: str | None) -> None:
    """Raises ValueError where best.keras is not the file that training wrote.

    Args:
      path: the file.
      sha256: as run.json states it; None: the run is of an earlier release.
    """
    if sha256 is not None:
        if metadata.sha256_file(path) != sha256:
            raise metadata.ManifestError(
                f"{path} is not the file that training wrote (run.json states another sha256): it is damaged, or was "
                "replaced. Restore it from a copy, or train again in another run directory."
            )
        return
    if damage := durable.zip_damage(path):
        raise ValueError(f"{path} cannot be read as a Keras model: {damage}. Train again, or restore the file.")
    logging.warning("%s is of an earlier release, which kept no digest of it: damage to it may go unnoticed.", path)


def fits(dataset: Mapping[str, Any], run: TrainedRun) -> bool:
    """Says whether records, by their dataset.json, hold what the run's model takes: its size and preprocessing."""
    return dataset["image_size"] == run.image_size and dataset["preprocess"] == run.preprocess


def check_records(records: str | os.PathLike, run: TrainedRun) -> None:
    """Raises ValueError where records do not fit the run's model: another size or another preprocessing."""
    content = metadata.read_manifest(records, "dataset")
    if not fits(content, run):
        raise ValueError(
            f"{records} holds {content['image_size']} px images preprocessed by {content['preprocess']}, "
            "but the model of "
            f"{run.directory} was trained on {run.image_size} px, {run.preprocess}. Build the records with "
            f"--image_size={run.image_size} --preprocess={run.preprocess.get('method')}."
        )


def evaluation_of(run: TrainedRun) -> Mapping[str, Any] | None:
    """Returns the metrics.json in RUN/evaluation/test, where that judged the model held now; else None."""
    directory = run.directory / "evaluation" / "test"
    if not metadata.manifest_path(directory, "evaluation").is_file():
        return None
    content = metadata.read_manifest(directory, "evaluation")
    return content if content.get("model_sha256") == metadata.sha256_file(run.directory / MODEL_FILE) else None


def verdict_of(run: TrainedRun) -> Mapping[str, Any]:
    """Returns the verdict in RUN/evaluation/test, where that judged the model held now; else "not evaluated"."""
    baseline = CONSTANT if run.task.kind == "segmentation" else GUESSING
    content = evaluation_of(run)
    if content is not None:
        return of_bundle(content)
    text = (
        "Not evaluated: nobody has measured this model on a test split. Run python -m dr_edge.evaluate "
        f"--run_dir={run.directory}"
    )
    return unmeasured(NOT_EVALUATED, text, baseline)
