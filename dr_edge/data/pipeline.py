"""From shards to batches: what training, evaluation and calibration read.

A training epoch is a function of (records, seed, epoch) alone: shards and examples are shuffled by seeds derived from
both, and each example is augmented with a seed of its own place in the epoch. A resumed run therefore sees what the
uninterrupted run would have seen, without saved iterators. Nothing is augmented before the split, and never outside
training.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import gin
import numpy as np
import tensorflow as tf

from dr_edge import metadata
from dr_edge.data import records as records_lib
from dr_edge.data.tasks import Task
from dr_edge.fundus import graham

SHUFFLE_BUFFER = 4096  # serialised examples of about 30 kB: 120 MB
BALANCES = ("none", "oversample")


@dataclasses.dataclass(frozen=True)
class RecordsInfo:
    """What dataset.json says that a model needs to know.

    Attributes:
      directory: the records directory.
      image_size: side of the stored crops in pixels.
      preprocess: {"method": ..., constants} as tfrecord_tools wrote them.
      content: the whole of dataset.json.
    """

    directory: str
    image_size: int
    preprocess: Mapping[str, Any]
    content: Mapping[str, Any]

    @property
    def background(self) -> float:
        """Grey level outside the field of view."""
        return graham.background(self.preprocess["method"])


def read_info(records: str | os.PathLike) -> RecordsInfo:
    """Reads dataset.json.

    Raises:
      ManifestError: the directory holds no finished records.
    """
    content = metadata.read_manifest(records, "dataset")
    return RecordsInfo(str(records), content["image_size"], content["preprocess"], content)


def check_task(info: RecordsInfo, task: Task) -> None:
    """Raises ValueError where the records do not hold what the task reads, naming what they hold."""
    for kind, wanted, held in (
        ("labels", task.labels, info.content["labels"]),
        ("masks", task.masks, info.content.get("masks", ())),
    ):
        missing = [name for name in wanted if name not in held]
        if missing:
            raise ValueError(
                f"Task {task.name!r} reads the {kind} {missing}, but {info.directory} holds {sorted(held)}. "
                f"Choose another task or build records of a data set that has them."
            )


def class_counts(info: RecordsInfo, split: str, task: Task) -> np.ndarray:
    """Counts the examples of each class in a split, from dataset.json.

    Returns:
      classification: [C] int64; multilabel: [C, 2] int64, absent and present; segmentation: [1] int64, all examples.
    """
    stated = info.content["splits"].get(split, {})
    if task.kind == "segmentation":
        return np.asarray([stated.get("examples", 0)])
    if task.kind == "multilabel":
        per_label = [stated.get("classes", {}).get(name, {}) for name in task.labels]
        return np.asarray([[counts.get("0", 0), counts.get("1", 0)] for counts in per_label])
    totals = np.zeros(len(task.class_names), np.int64)
    for value, count in stated.get("classes", {}).get(task.labels[0], {}).items():
        index = _mapped(task, int(value))
        if index >= 0:
            totals[index] += count
    return totals


def example_count(info: RecordsInfo, split: str, task: Task) -> int:
    """Returns how many examples of a split the task uses."""
    if task.kind == "classification":
        return int(class_counts(info, split, task).sum())
    return int(info.content["splits"].get(split, {}).get("examples", 0))


def _mapped(task: Task, value: int) -> int:
    """Returns the class of a label value, -1 where the image is left out."""
    if value < 0:
        return -1
    table = task.mapping or tuple(range(len(task.class_names)))
    if value >= len(table):
        raise ValueError(f"Task {task.name!r} has no class for label value {value} of {task.labels[0]!r}: {table}.")
    return table[value]


def _with_target(parsed: dict[str, tf.Tensor], task: Task, image_size: int) -> dict[str, tf.Tensor]:
    """Adds "label": [] int32 (classification, -1: left out), [L] float32 (multilabel, -1: missing) or [S, S, M] float32."""
    if task.kind == "classification":
        value = parsed[f"label/{task.labels[0]}"]
        if task.mapping:
            table = tf.constant(task.mapping, tf.int32)
            value = tf.where(value >= 0, tf.gather(table, tf.maximum(value, 0)), -1)
        label = value
    elif task.kind == "multilabel":
        label = tf.stack([tf.cast(parsed[f"label/{name}"], tf.float32) for name in task.labels])
    else:
        label = tf.stack([records_lib.decode_mask(parsed[f"mask/{name}"], image_size) for name in task.masks], axis=-1)
    return {**parsed, "label": label}


def _parser(task: Task, photograph: bool = False) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        return records_lib.parse(serialized, labels=task.labels, masks=task.masks, photograph=photograph)

    return parse


def _labelled(task: Task, image_size: int) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    def add(parsed: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return _with_target(parsed, task, image_size)

    return add


def _is_used(task: Task) -> Callable[[dict[str, tf.Tensor]], tf.Tensor]:
    """Keeps the examples that have what the task asks for."""

    def used(example: dict[str, tf.Tensor]) -> tf.Tensor:
        if task.kind == "classification":
            return example["label"] >= 0
        return tf.reduce_any(example["label"] >= 0)

    return used


def _decoded(image_size: int, photograph: bool) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    def decode(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        out = {key: example[key] for key in ("label", "id", "patient", "laterality", "quality", "source_size")}
        out["image"] = tf.cast(records_lib.decode_image(example["encoded"], image_size), tf.float32)
        if photograph:
            out["photograph"] = records_lib.decode_image(example["photograph"], image_size)
        return out

    return decode


def evaluation_batches(
    records: str | os.PathLike, split: str, task: Task, batch_size: int, photograph: bool = False
) -> tf.data.Dataset:
    """Reads a split once, in the order of its shards, without augmentation.

    Args:
      records: a records directory.
      split: "train", "val" or "test".
      task: what to read as "label".
      batch_size: of all batches but the last, which holds the rest.
      photograph: also give "photograph", the crop before normalisation.

    Returns:
      Dataset of dicts: "image" [B, S, S, 3] float32 0..255 (preprocessed), "label" [B] int32, [B, L] float32
      (-1: missing) or [B, S, S, M] float32, "id", "patient", "laterality" [B] string, "quality" [B] float32,
      "source_size" [B, 2] int64, and "photograph" [B, S, S, 3] uint8 if asked for.

    Raises:
      ManifestError, ValueError: no such records, split or label.
    """
    info = read_info(records)
    check_task(info, task)
    dataset = tf.data.TFRecordDataset(records_lib.shard_paths(records, split))
    dataset = dataset.map(_parser(task, photograph), num_parallel_calls=2)
    dataset = dataset.map(_labelled(task, info.image_size)).filter(_is_used(task))
    dataset = dataset.map(_decoded(info.image_size, photograph), num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(batch_size).prefetch(2)


def epoch_seeds(seed: int, epoch: int, count: int) -> list[int]:
    """Returns `count` non-negative seeds that depend on (seed, epoch) alone."""
    return [int(value) for value in np.random.SeedSequence([seed, epoch]).generate_state(count, np.uint32) >> 1]


@gin.configurable(module="pipeline", denylist=["records", "task", "batch_size", "seed", "epoch", "first_step", "shard"])
def training_batches(
    records: str | os.PathLike,
    task: Task,
    batch_size: int,
    seed: int,
    epoch: int,
    first_step: int = 0,
    augmentation: Callable[..., tuple[tf.Tensor, tf.Tensor]] | None = None,
    balance: str = "none",
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Reads one shuffled, balanced and augmented epoch of the training split.

    Args:
      records: a records directory.
      task: what to read as "label".
      batch_size: examples per step of all workers together; the last, smaller batch of an epoch is dropped.
      seed, epoch: decide order and augmentation.
      first_step: leave out the first steps of the epoch (resuming); they are skipped before any decoding.
      augmentation: (image [S, S, 3] float32, label, seed [2] int32, background) -> (image, label); None: none.
      balance: "none", or "oversample": each class is drawn with the same probability (classification only).
      shard: (index, count) of this worker; it reads examples index, index + count, ... of each global batch.

    Returns:
      Dataset of dicts: "image" [B / count, S, S, 3] float32 0..255 and "label" as in `evaluation_batches`.

    Raises:
      ManifestError, ValueError: no such records or label; fewer examples than a batch; an unknown balance.
    """
    info = read_info(records)
    check_task(info, task)
    examples = example_count(info, "train", task)
    index, workers = shard
    if balance not in BALANCES or (balance == "oversample" and task.kind != "classification"):
        raise ValueError(f"balance must be one of {BALANCES}, oversample for classification only. Received: {balance!r}.")
    if examples < batch_size or batch_size % workers:
        raise ValueError(
            f"{records}: {examples} training examples for batches of {batch_size} on {workers} workers. "
            f"Lower batch_size, and keep it a multiple of the workers."
        )
    file_seed, shuffle_seed, sample_seed, *class_seeds = epoch_seeds(seed, epoch, 3 + len(task.class_names))
    paths = list(np.random.default_rng(file_seed).permutation(records_lib.shard_paths(records, "train")))
    labelled = tf.data.TFRecordDataset(paths).map(_parser(task)).map(_labelled(task, info.image_size))
    labelled = labelled.filter(_is_used(task))
    if balance == "oversample":
        labelled = _oversampled(labelled, class_counts(info, "train", task), sample_seed, class_seeds)
    else:
        labelled = labelled.shuffle(SHUFFLE_BUFFER, seed=shuffle_seed, reshuffle_each_iteration=False)
    steps = examples // batch_size
    dataset = labelled.enumerate().take(steps * batch_size).skip(first_step * batch_size).shard(workers, index)

    def finish(position: tf.Tensor, example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        image = tf.cast(records_lib.decode_image(example["encoded"], info.image_size), tf.float32)
        label = example["label"]
        if augmentation is not None:
            place = tf.cast(tf.stack([position, epoch]), tf.int32)
            own_seed = tf.random.experimental.stateless_fold_in(place, shuffle_seed)
            image, label = augmentation(image, label, own_seed, info.background)
        return {"image": image, "label": label}

    dataset = dataset.map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.batch(batch_size // workers, drop_remainder=True).prefetch(4)


def _oversampled(
    labelled: tf.data.Dataset, counts: np.ndarray, sample_seed: int, class_seeds: list[int]
) -> tf.data.Dataset:
    """Draws each class that occurs with the same probability, for as long as it is asked."""
    present = [index for index, count in enumerate(counts) if count]

    def of_class(index: int) -> tf.data.Dataset:
        only = labelled.filter(lambda example: tf.equal(example["label"], index))
        # Each repetition is shuffled anew, from one seed: still a function of (seed, epoch).
        return only.shuffle(SHUFFLE_BUFFER, seed=class_seeds[index], reshuffle_each_iteration=True).repeat()

    weights = [1 / len(present)] * len(present)
    return tf.data.Dataset.sample_from_datasets([of_class(index) for index in present], weights, seed=sample_seed)
