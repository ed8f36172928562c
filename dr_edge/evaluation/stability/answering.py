"""What answers photographs while stability is measured: a bundle, or a run through the same chain as its bundle.

The chain is that of `predict`: decode, find the field of view, crop, refuse or run the network, and say what its
outputs mean at the operating point. A run differs in two things: Keras computes what an artifact would, and all crops
of a photograph go through the network at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dr_edge.calibration import statistics
from dr_edge.fundus.graham import preprocess
from dr_edge.fundus.quality import DEFAULT_MIN_QUALITY
from dr_edge.fundus.read_crop import Photograph, read_crop
from dr_edge.prediction.answer import interpret, refused
from dr_edge.prediction.bundle import Bundle, deciding_point
from dr_edge.prediction.predictor import Predictor
from dr_edge.prediction.schema import Answer
from dr_edge.runs import MODEL_FILE, TrainedRun
from dr_edge.verdict import NOT_EVALUATED, unmeasured

if TYPE_CHECKING:  # it imports TensorFlow, which the answers of a bundle do without
    from dr_edge.calibration.fit import Fit


class Answering(Protocol):
    """Answers photographs in two halves, so that files are decoded by several threads and the network runs in one."""

    @property
    def bundle(self) -> Bundle:
        """Task, thresholds and names."""

    def read(self, data: bytes) -> Photograph:
        """Decodes, finds and crops; raises PhotographError where the bytes are no readable photograph."""

    def answers(self, photographs: Sequence[Photograph]) -> list[Answer]:
        """Returns an answer to each photograph, refusals among them."""


class OfBundle:
    """The answers of an exported bundle, artifact and all; needs no TensorFlow."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self.bundle = bundle
        self._predictor = Predictor(bundle, threads)

    def read(self, data: bytes) -> Photograph:
        """See `Answering`."""
        return self._predictor.read(data)

    def answers(self, photographs: Sequence[Photograph]) -> list[Answer]:
        """See `Answering`."""
        return [self._predictor.answer(photograph).answer for photograph in photographs]


class OfRun:
    """The answers of a finished run of a classification or multilabel task, as its bundle would give them.

    Args:
      run: the finished run.
      fit: what was fitted to it (temperature, operating points, distance); None for nothing.
      batch_size: crops that the network takes at once; 12 leaves little of three batches empty.
    """

    def __init__(self, run: TrainedRun, fit: Fit | None, batch_size: int = 12) -> None:
        from dr_edge.calibration.fit import predictor

        self._run = run if fit is None else dataclasses.replace(run, temperature=fit.temperature)
        self._fit = fit
        self._batch = batch_size
        self._predict = predictor(run)
        self.bundle = _as_bundle(run, fit)

    def read(self, data: bytes) -> Photograph:
        """See `Answering`."""
        return read_crop(data, self.bundle.image_size, pictures=self.bundle.pictures)

    def answers(self, photographs: Sequence[Photograph]) -> list[Answer]:
        """See `Answering`."""
        outputs = iter(self._outputs([each.crop for each in photographs if each.crop is not None]))
        return [
            refused(each) if each.crop is None else interpret(self.bundle, each, next(outputs)) for each in photographs
        ]

    def _outputs(self, crops: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Returns the outputs of each crop [S, S, 3] uint8, as an artifact names them."""
        found: list[dict[str, np.ndarray]] = []
        for start in range(0, len(crops), self._batch):
            part = crops[start : start + self._batch]
            images = np.stack([preprocess(crop, self._run.preprocess["method"]) for crop in part]).astype(np.float32)
            # One or a whole batch: for each other shape TensorFlow would trace the network anew.
            missing = 0 if len(part) == 1 else self._batch - len(part)
            padded = np.pad(images, [(0, missing), (0, 0), (0, 0), (0, 0)])
            logits, features = self._predict(padded)
            probabilities = self._run.probabilities(np.asarray(logits)[: len(part)])
            if not np.isfinite(probabilities).all():
                raise RuntimeError(f"{self._run.directory}: the model gives outputs that are not finite. Train again.")
            rows = [{"probabilities": np.asarray(row, np.float32)} for row in probabilities]
            if features is not None and self._fit is not None and self._fit.features is not None:
                distances = statistics.mahalanobis_distance(np.asarray(features)[: len(part)], self._fit.features)
                for row, distance in zip(rows, distances, strict=True):
                    row["ood_distance"] = np.array([distance], np.float32)
            found += rows
        return found


def _as_bundle(run: TrainedRun, fit: Fit | None) -> Bundle:
    """Returns what a bundle of the run would state of its task and thresholds; it holds no artifact."""
    task = run.task
    stated: dict[str, Any] = {"name": task.name, "kind": task.kind, "class_names": list(task.class_names)}
    if task.kind == "classification":
        stated |= {
            "positive_class": task.positive_name,
            "negative_class": task.negative_name,
            "positive_indices": list(task.positive),
        }
    points: Sequence[Mapping[str, Any]] = () if fit is None else fit.operating_points
    manifest = {
        "task": stated,
        "image_size": run.image_size,
        "preprocess": run.preprocess,
        "pictures": run.content.get("pictures"),
        "ood": {} if fit is None else fit.ood,
        "verdict": unmeasured(NOT_EVALUATED, ""),  # what it says of the model is not of one photograph
    }
    point = deciding_point(run.directory, points)
    return Bundle(run.directory, manifest, MODEL_FILE, "", b"", point, DEFAULT_MIN_QUALITY)
