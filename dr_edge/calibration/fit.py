"""What is fitted after training and baked into a bundle: temperature, feature statistics, operating points.

Temperature and operating points come from the validation split, feature statistics from the training split; the test
split is kept for parity.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dr_edge.calibration import statistics
from dr_edge.calibration.operating_points import RULES, choose_threshold
from dr_edge.data import pipeline
from dr_edge.data.records_info import read_info
from dr_edge.data.tasks import Task
from dr_edge.progress import Progress
from dr_edge.runs import TrainedRun

BATCH = 16
OOD_QUANTILES = (0.95, 0.99)


@dataclasses.dataclass(frozen=True)
class Fit:
    """What the bundle states of a model's reliability.

    Attributes:
      temperature: logits are divided by it.
      calibration: how it was fitted, for metadata.json.
      features: statistics for `ood_distance`, or None.
      ood: thresholds of `ood_distance`, for metadata.json.
      operating_points: thresholds of the positive class, for metadata.json.
    """

    temperature: float
    calibration: dict[str, Any]
    features: statistics.FeatureStatistics | None
    ood: dict[str, Any]
    operating_points: list[dict[str, Any]]


Predict = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]


def fit(run: TrainedRun, records: str | os.PathLike, max_images: int = 2000, predict: Predict | None = None) -> Fit:
    """Fits temperature, feature statistics and operating points.

    Args:
      run: a finished run.
      records: the records directory.
      max_images: the most training images to read, evenly over the classes.
      predict: images [B, S, S, 3] -> (logits [B, C], penultimate features [B, F] or None), of a network that
        stands for the run's; None for the run's own.

    Raises:
      ValueError: a split is missing.
      RuntimeError: the model's outputs are not finite.
    """
    predict = predict or predictor(run)
    val = _collect(predict, records, "val", run.task, None, "temperature and distances (val)")
    if run.task.kind == "segmentation":
        features, ood = _feature_distance(predict, records, run.task, max_images, val.get("features"))
        return Fit(1.0, {"method": "none", "reason": "masks are not calibrated"}, features, ood, [])
    multilabel = run.task.kind == "multilabel"
    temperature = statistics.fit_temperature(val["logits"], val["labels"], multilabel)
    calibration = {
        "method": "temperature scaling (Guo et al., 2017), targets smoothed by class size (Platt, 1999)",
        "temperature": temperature,
        "split": "val",
        "images": len(val["labels"]),
    }
    points = []
    if not multilabel:
        probabilities = run.task.probabilities(val["logits"] / temperature)
        calibration["ece_before"] = _ece(run.task.probabilities(val["logits"]), val["labels"])
        calibration["ece_after"] = _ece(probabilities, val["labels"])
        if run.task.positive:
            ill = run.task.is_positive(val["labels"]).astype(int)
            points = operating_points(run.task.positive_probability(probabilities), ill)
    features, ood = _feature_distance(predict, records, run.task, max_images, val.get("features"))
    return Fit(temperature, calibration, features, ood, points)


def _feature_distance(
    predict: Predict, records: str | os.PathLike, task: Task, max_images: int, val: np.ndarray | None
) -> tuple[statistics.FeatureStatistics | None, dict[str, Any]]:
    """Fits the distance from the training images, and its threshold on the validation images' features `val`.

    Returns:
      The statistics and what metadata.json says of them; None and the reason where the network has no such features.
    """
    if val is None:
        return None, {"reason": "the network has no layer penultimate"}
    train = _collect(predict, records, "train", task, max_images, "feature statistics (train)")
    values = train["features"].astype(np.float64)
    if values.std(axis=0).max() <= statistics.RESOLUTION * np.sqrt(np.mean(np.square(values))):
        # Features may die in training. What varies by less than an 8-bit artifact rounds would give distances of
        # rounding errors.
        return None, {"reason": "the layer penultimate gives nearly the same features for all training images"}
    # Several diseases and masks are no classes: there one mean stands for all images.
    labels = train["labels"] if task.kind == "classification" else np.zeros(len(train["features"]), int)
    features = statistics.fit_features(train["features"], labels)
    distances = statistics.mahalanobis_distance(val, features)
    return features, {
        "method": "Mahalanobis distance to the nearest class mean (Lee et al., 2018), Ledoit-Wolf shrinkage",
        "unit": "standard deviations of the training images' features",
        "shrinkage": features.shrinkage,
        "images": features.images,
        "threshold": float(np.quantile(distances, OOD_QUANTILES[-1])),
        "quantiles": {f"{q:.2f}": float(np.quantile(distances, q)) for q in OOD_QUANTILES},
        "split": "val",
        "photographs": len(distances),  # of that split, behind the threshold
    }


def predictor(run: TrainedRun) -> Predict:
    """Returns the run's own network as `fit` calls it."""
    from dr_edge.framework import keras

    named = {layer.name for layer in run.model.layers}
    names = [name for name in ("logits", "penultimate") if name in named]
    network = keras.Model(run.model.input, [run.model.get_layer(name).output for name in names])

    def predict(images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        outputs = keras.tree.flatten(network.predict_on_batch(images))
        return outputs[0], outputs[1] if len(outputs) > 1 else None

    return predict


def operating_points(scores: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """Chooses thresholds of the positive class's probability on the validation split.

    Args:
      scores: [N] calibrated probability of the disease (`Task.positive_probability`).
      labels: [N] 0 or 1, 1 with the disease.

    Returns:
      One dict per rule of `operating_points.RULES`: name, threshold, sensitivity, specificity, split; []
      where a class is absent.
    """
    points = []
    for name, rule in RULES.items():
        threshold = choose_threshold(labels, scores, rule)
        if threshold is None:
            return []
        called = scores >= threshold
        points.append(
            {
                "name": name,
                "threshold": min(threshold, 1.0),
                "sensitivity": float(called[labels == 1].mean()),
                "specificity": float((~called)[labels == 0].mean()),
                "split": "val",
            }
        )
    return points


def class_count(task: Task) -> int:
    """Returns how many classes balancing tells apart: for several diseases one each and one for none of them."""
    return 1 if task.kind == "segmentation" else len(task.class_names) + (task.kind == "multilabel")


def _class_of(label: np.ndarray, task: Task) -> int:
    """Returns the class that balancing goes by: of several diseases the first that is present, of masks none."""
    if task.kind == "classification":
        return int(label)
    if task.kind == "multilabel":
        return int(np.argmax(label == 1)) if (label == 1).any() else -1
    return 0


def examples(
    records: str | os.PathLike, split: str, task: Task, share: int | None, title: str
) -> Iterator[dict[str, Any]]:
    """Yields decoded examples of a split.

    Args:
      records: the records directory.
      split: its name.
      task: what is labelled.
      share: the most of each class; None for all.
      title: of the progress bar.

    Yields:
      "image" [S, S, 3] float32 0..255 preprocessed, "photograph" [S, S, 3] uint8, "label", and "class", that balancing
      goes by.
    """
    info = read_info(records)
    total = pipeline.example_count(info, split, task)
    classes = class_count(task)
    seen: dict[int, int] = {}
    with Progress(total=total, desc=title, unit="image", leave=False) as bar:
        for batch in pipeline.evaluation_batches(records, split, task, BATCH, photograph=True):
            images, photographs, labels = (batch[key].numpy() for key in ("image", "photograph", "label"))
            for image, photograph, label in zip(images, photographs, labels, strict=True):
                bar.update()
                place = _class_of(label, task)
                if share is not None and seen.get(place, 0) >= share:
                    continue
                seen[place] = seen.get(place, 0) + 1
                yield {"image": image, "photograph": photograph, "label": label, "class": place}
            if share is not None and len(seen) == classes and min(seen.values()) >= share:
                return


def _collect(
    predict: Predict, records: str | os.PathLike, split: str, task: Task, max_images: int | None, title: str
) -> dict[str, np.ndarray]:
    """Returns logits, features (where the network has them) and labels of a split; of a segmentation the features
    alone, because masks of a whole split fill the memory.
    """
    share = None if max_images is None else -(-max_images // class_count(task))
    masks = task.kind == "segmentation"
    parts: dict[str, list[np.ndarray]] = {"logits": [], "features": [], "labels": []}
    waiting: list[dict[str, Any]] = []
    counted: list[int] = []

    def flush() -> None:
        logits, features = predict(np.stack([example["image"] for example in waiting]))
        if not np.isfinite(logits).all():
            raise RuntimeError(f"The model's outputs on {split} are not finite. It diverged; train again.")
        labels = [example["label"] for example in waiting]
        kept = {"features": features} if masks else {"logits": logits, "features": features, "labels": np.stack(labels)}
        for name, value in kept.items():
            if value is not None:
                parts[name].append(np.asarray(value))
        counted.append(len(waiting))
        waiting.clear()

    for example in examples(records, split, task, share, title):
        waiting.append(example)
        if len(waiting) == BATCH:
            flush()
    if waiting:
        flush()
    if not counted:
        raise ValueError(f"{records}: the split {split!r} holds no image for the task {task.name!r}.")
    collected = {name: np.concatenate(values) for name, values in parts.items() if values}
    if not masks:
        collected["labels"] = np.rint(collected["labels"]).astype(int)
    return collected


def _ece(probabilities: np.ndarray, labels: np.ndarray) -> float:
    predicted = probabilities.argmax(axis=1)
    return statistics.expected_calibration_error(probabilities.max(axis=1), predicted == labels)
