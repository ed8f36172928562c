"""From shards to batches: what training, evaluation and calibration read.

A training epoch is a function of (records, seed, epoch) alone: shards and examples are shuffled by seeds derived from
both, and each example is augmented with a seed of its own place in the epoch. A resumed run therefore sees what the
uninterrupted run would have seen, without saved iterators. Nothing is augmented before the split, and never outside
training.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gin
import numpy as np

from dr_edge.data import balance as balance_lib
from dr_edge.data import examples as examples_lib
from dr_edge.data import label_values
from dr_edge.data import records as records_lib
from dr_edge.data.records_info import RecordsInfo, read_info
from dr_edge.data.tasks import LabelTask, Task
from dr_edge.framework import tf


def check_task(info: RecordsInfo, task: Task) -> None:
    """Raises ValueError where the records do not hold what the task reads, or hold its classes in another order."""
    for kind, wanted, held in (
        ("labels", task.labels, info.content["labels"]),
        ("masks", task.masks, info.content.get("masks", ())),
        ("centres", task.centres, info.content.get("centres", ())),
    ):
        missing = [name for name in wanted if name not in held]
        if missing:
            raise ValueError(
                f"Task {task.name!r} reads the {kind} {missing}, but {info.directory} holds {sorted(held)}. "
                "Choose another task or build records of a data set that has them."
            )
    label_values.check(info, task)


def resolve(info: RecordsInfo, task: Task | LabelTask) -> Task:
    """Returns the task for these records: `tasks.label` takes its class names, and which are the disease, from them.

    Raises:
      ValueError: the records do not hold the label, other names were given, or which class is the disease is not known.
    """
    if isinstance(task, LabelTask):
        held = info.content["labels"]
        if task.name not in held:
            raise ValueError(
                f"tasks.label.name = {task.name!r}, but {info.directory} holds the labels {sorted(held)}. Give one of "
                "these."
            )
        return task.resolve(held[task.name], label_values.stated(info, task.name))
    if task.positive_assumed:
        raise ValueError(
            f"Which class of task {task.name!r} is the disease? Its names {list(task.class_names)} do not say it "
            "safely: give the task positive=(index of the class,)."
        )
    return task


def class_counts(info: RecordsInfo, split: str, task: Task) -> np.ndarray:
    """Counts the examples of each class in a split, from dataset.json.

    Returns:
      classification: [C] int64; multilabel: [C, 2] int64, absent and present; segmentation: [1] int64, all examples.
    """
    stated = info.content["splits"].get(split, {})
    if task.kind == "segmentation":
        return np.asarray([stated.get("examples", 0)])
    tables = label_values.tables(info, task)
    if task.kind == "multilabel":
        return np.asarray(
            [_counted(info, stated, name, table, 2) for name, table in zip(task.labels, tables, strict=True)]
        )
    return _counted(info, stated, task.labels[0], tables[0], len(task.class_names))


def _counted(
    info: RecordsInfo, stated: Mapping[str, Any], label: str, table: Sequence[int], classes: int
) -> np.ndarray:
    """Counts the examples of a split by what `table` makes of the values of a label: [classes] int64."""
    totals = np.zeros(classes, np.int64)
    for value, count in stated.get("classes", {}).get(label, {}).items():
        if int(value) >= len(table):
            raise ValueError(
                f"{info.directory} counts images of the value {value} of {label!r}, of which it has no name."
            )
        if int(value) >= 0 and table[int(value)] >= 0:
            totals[table[int(value)]] += count
    return totals


def example_count(info: RecordsInfo, split: str, task: Task) -> int:
    """Returns how many examples of a split the task uses."""
    if task.kind == "classification":
        return int(class_counts(info, split, task).sum())
    return int(info.content["splits"].get(split, {}).get("examples", 0))


def label_counts(info: RecordsInfo, split: str, label: str) -> np.ndarray:
    """Counts the examples of each value of a label in a split, missing ones left out: [C] int64."""
    totals = np.zeros(len(info.content["labels"][label]), np.int64)
    for value, count in info.content["splits"].get(split, {}).get("classes", {}).get(label, {}).items():
        if int(value) >= 0:
            totals[int(value)] += count
    return totals


def evaluation_batches(
    records: str | os.PathLike,
    split: str,
    task: Task,
    batch_size: int,
    photograph: bool = False,
    extra_labels: Sequence[str] = (),
) -> tf.data.Dataset:
    """Reads a split once, in the order of its shards, without augmentation.

    Args:
      records: a records directory.
      split: "train", "val" or "test".
      task: what to read as "label".
      batch_size: of all batches but the last, which holds the rest.
      photograph: also give "photograph", the crop before normalisation.
      extra_labels: labels that the task does not ask for, also given as "label/<name>" [B] int32 (-1: missing).

    Returns:
      Dataset of dicts: "image" [B, S, S, 3] float32 0..255 (preprocessed), "label" [B] int32, [B, L] float32
      (-1: missing) or [B, S, S, M] float32, "id", "patient", "laterality" [B] string, "quality" [B] float32,
      "source_size" [B, 2] int64, "crop_box" [B, 4] float32, "centres" [B, N, 2] float32 where the task has centres,
      and "photograph" [B, S, S, 3] uint8 if asked for.

    Raises:
      ManifestError, ValueError: no such records, split or label.
    """
    info = read_info(records)
    check_task(info, task)
    dataset = tf.data.TFRecordDataset(records_lib.shard_paths(records, split))
    dataset = dataset.map(examples_lib.parser(task, photograph, extra_labels), num_parallel_calls=2)
    dataset = dataset.map(examples_lib.labelled(task, info.image_size, label_values.tables(info, task))).filter(
        examples_lib.is_used(task)
    )
    decode = examples_lib.decoded(task, info.image_size, photograph, extra_labels)
    dataset = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(batch_size).prefetch(2)


def epoch_seeds(seed: int, epoch: int, count: int) -> list[int]:
    """Returns `count` non-negative seeds that depend on (seed, epoch) alone."""
    return [int(value) for value in np.random.SeedSequence([seed, epoch]).generate_state(count, np.uint32) >> 1]


def _check_batches(records: str | os.PathLike, examples: int, batch_size: int, workers: int) -> None:
    """Raises ValueError where the training split has no whole batch, or one that the workers cannot share."""
    if examples < batch_size or batch_size % workers:
        raise ValueError(
            f"{records}: {examples} training examples for batches of {batch_size} on {workers} workers. "
            "Lower batch_size, and keep it a multiple of the workers."
        )


def _check_views(views: int, augmentation: Callable[..., tuple[tf.Tensor, tf.Tensor]] | None) -> None:
    """Raises ValueError unless so many views of an image can be given."""
    if views not in (1, 2):
        raise ValueError(f"views must be 1 or 2: an epoch gives an image once, or twice. Received: {views!r}.")
    if views == 2 and augmentation is None:
        raise ValueError(
            "train.consistency compares two augmented views of an image, and there is no augmentation. Bind "
            "pipeline.training_batches.augmentation = @augment.augmentation(), or train.consistency = 0."
        )


@gin.configurable(
    module="pipeline", denylist=["records", "task", "batch_size", "seed", "epoch", "first_step", "shard", "views"]
)
def training_batches(
    records: str | os.PathLike,
    task: Task,
    batch_size: int,
    seed: int,
    epoch: int,
    first_step: int = 0,
    augmentation: Callable[..., tuple[tf.Tensor, tf.Tensor]] | None = None,
    balance: str = "none",
    balance_label: str | None = None,
    shard: tuple[int, int] = (0, 1),
    views: int = 1,
) -> tf.data.Dataset:
    """Reads one shuffled, balanced and augmented epoch of the training split.

    Args:
      records: a records directory.
      task: what to read as "label".
      batch_size: examples per step of all workers together; the last, smaller batch of an epoch is dropped.
      seed, epoch: decide order and augmentation.
      first_step: leave out the first steps of the epoch (resuming); they are skipped before any decoding.
      augmentation: as `augment.augmentation` returns it; None: none.
      balance: "none"; "oversample": each class is drawn with the same probability; "loss_weights": each example counts
        by the inverse of its class's share of the training split, 1 on average. The last two for classification, where
        balance_label is not given.
      balance_label: label of the records whose values "oversample" draws alike, for tasks that are no classification:
        for example "glaucoma", when disc and cup are drawn. An image without it counts to its most frequent value.
      shard: (index, count) of this worker; it reads examples index, index + count, ... of each global batch.
      views: 1, or 2, which also gives each image augmented by another seed, for the consistency of
        `train.consistency`.

    Returns:
      Dataset of dicts: "image" [B / count, S, S, 3] float32 0..255, "label" (and "centres") as in `evaluation_batches`,
      "weight" [B / count] float32 with balance "loss_weights", and "second_view", of the shape of "image", with two
      views.

    Raises:
      ManifestError, ValueError: no such records or label; fewer examples than a batch; an unknown balance; another
        number of views, or two of them without augmentation.
    """
    info = read_info(records)
    check_task(info, task)
    examples = example_count(info, "train", task)
    index, workers = shard
    balance_lib.check(balance, balance_label, task, info.content["labels"])
    _check_batches(records, examples, batch_size, workers)
    _check_views(views, augmentation)
    strata = class_counts(info, "train", task) if balance_label is None else label_counts(info, "train", balance_label)
    file_seed, shuffle_seed, sample_seed, *class_seeds = epoch_seeds(seed, epoch, 3 + len(strata))
    paths = list(np.random.default_rng(file_seed).permutation(records_lib.shard_paths(records, "train")))
    parse = examples_lib.parser(
        task, examples_lib.reads_photograph(augmentation), () if balance_label is None else (balance_label,)
    )
    labelled = (
        tf.data.TFRecordDataset(paths)
        .map(parse)
        .map(examples_lib.labelled(task, info.image_size, label_values.tables(info, task)))
    )
    labelled = labelled.filter(examples_lib.is_used(task))
    if balance == "oversample":
        stratum = "label" if balance_label is None else f"label/{balance_label}"
        labelled = balance_lib.oversampled(labelled, stratum, strata, sample_seed, class_seeds)
    else:
        labelled = labelled.shuffle(balance_lib.SHUFFLE_BUFFER, seed=shuffle_seed, reshuffle_each_iteration=False)
    weights = balance_lib.class_weights(strata) if balance == "loss_weights" else None
    finished = examples_lib.for_training(task, info, augmentation, weights, views)
    steps = examples // batch_size
    dataset = labelled.enumerate().take(steps * batch_size).skip(first_step * batch_size).shard(workers, index)

    def finish(position: tf.Tensor, example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        place = tf.cast(tf.stack([position, epoch]), tf.int32)
        own_seed = tf.random.experimental.stateless_fold_in(place, shuffle_seed)
        return finished(example, own_seed)

    dataset = dataset.map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.batch(batch_size // workers, drop_remainder=True).prefetch(4)
