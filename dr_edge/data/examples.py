"""From serialised examples to images and what a task asks of them; the steps that `pipeline` maps over records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dr_edge.data import records as records_lib
from dr_edge.data.augment import Augmentation
from dr_edge.data.centre_maps import centre_maps
from dr_edge.data.records_info import RecordsInfo
from dr_edge.data.tasks import Task
from dr_edge.framework import tf
from dr_edge.fundus.in_graph import prepare

SECOND_VIEW = 0x0002  # folded into the seed of an example for its second view


def with_target(
    parsed: dict[str, tf.Tensor], task: Task, image_size: int, tables: Sequence[Sequence[int]]
) -> dict[str, tf.Tensor]:
    """Adds "label": [] int32 (classification, -1: omitted), [L] float32 (multilabel, -1: missing) or [S, S, M] float32.

    Args:
      parsed: from `records.parse`.
      task: what is asked.
      image_size: S.
      tables: from `label_values.tables`, one for each label of the task.
    """

    def looked_up(name: str, table: Sequence[int]) -> tf.Tensor:
        value = parsed[f"label/{name}"]
        return tf.where(value >= 0, tf.gather(tf.constant(table, tf.int32), tf.maximum(value, 0)), -1)

    found = [looked_up(name, table) for name, table in zip(task.labels, tables, strict=True)]
    if task.kind == "classification":
        label = found[0]
    elif task.kind == "multilabel":
        label = tf.stack([tf.cast(value, tf.float32) for value in found])
    else:
        label = tf.stack([records_lib.decode_mask(parsed[f"mask/{name}"], image_size) for name in task.masks], axis=-1)
    target = {"label": label}
    if task.centres:
        target["centres"] = tf.stack([parsed[f"centre/{name}"] for name in task.centres])  # [N, 2]
    return {**parsed, **target}


def parser(
    task: Task, photograph: bool = False, extra_labels: Sequence[str] = ()
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        labels = tuple(dict.fromkeys((*task.labels, *extra_labels)))
        return records_lib.parse(
            serialized, labels=labels, masks=task.masks, centres=task.centres, photograph=photograph
        )

    return parse


def labelled(
    task: Task, image_size: int, tables: Sequence[Sequence[int]]
) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    def add(parsed: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return with_target(parsed, task, image_size, tables)

    return add


def illness(label: tf.Tensor, task: Task) -> tf.Tensor:
    """Returns [] int32, 1 where the class of a classification shows a disease, else 0; other labels as they are.

    Where none of its classes is known to be a disease, every one counts as 1.
    """
    if task.kind != "classification":
        return label
    if not task.unhealthy:
        return tf.ones([], tf.int32)
    return tf.cast(
        tf.reduce_any(tf.equal(label, tf.constant(task.unhealthy, label.dtype, [len(task.unhealthy)]))), tf.int32
    )


def is_used(task: Task) -> Callable[[dict[str, tf.Tensor]], tf.Tensor]:
    """Keeps the examples that have the class that the task asks for.

    Of several labels or masks any may be missing: losses and metrics leave out what is. An image that lacks all of them
    costs nothing, and stays, because dataset.json, by which steps are counted, does not say how many there are.
    """

    def used(example: dict[str, tf.Tensor]) -> tf.Tensor:
        return example["label"] >= 0 if task.kind == "classification" else tf.constant(True)

    return used


def with_centre_maps(label: tf.Tensor, centres: tf.Tensor | None, task: Task) -> tf.Tensor:
    """Adds the heat maps that the task asks for to the masks [S, S, M]; any other label stays as it is."""
    if not task.draws_centres:
        return label
    return tf.concat([label, centre_maps(centres, label.shape[0])], axis=-1)


def decoded(
    task: Task, image_size: int, photograph: bool, extra_labels: Sequence[str]
) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    kept = ("id", "patient", "laterality", "quality", "source_size", "crop_box")

    def decode(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        out = {key: example[key] for key in (*kept, *(f"label/{name}" for name in extra_labels))}
        out |= {key: example[key] for key in ("centres",) if key in example}
        out["label"] = with_centre_maps(example["label"], example.get("centres"), task)
        out["image"] = tf.cast(records_lib.decode_image(example["encoded"], image_size), tf.float32)
        if photograph:
            out["photograph"] = records_lib.decode_image(example["photograph"], image_size)
        return out

    return decode


def reads_photograph(augmentation: Callable[..., Any] | None) -> bool:
    """Says whether an augmentation begins with the photograph before normalisation."""
    return isinstance(augmentation, Augmentation) and augmentation.photograph is not None


def for_training(
    task: Task,
    info: RecordsInfo,
    augmentation: Callable[..., tuple[tf.Tensor, ...]] | None,
    weights: np.ndarray | None,
    views: int = 1,
) -> Callable[[dict[str, tf.Tensor], tf.Tensor], dict[str, tf.Tensor]]:
    """Returns the step that makes a labelled example one to train on.

    Args:
      task: what is asked.
      info: of the records: side S, background, how photographs are normalised.
      augmentation: as `augment.augmentation` returns it; None: none.
      weights: [C], what an example of each class counts; None: alike.
      views: 2 also gives "second_view", the same example augmented by another seed.

    Returns:
      (labelled example, seed [2] int32 of its augmentation) -> {"image" [S, S, 3] float32 0..255, "label" and, where
      the task has them, "centres" as in `with_target`, "weight" [] float32 where there are weights, and "second_view"
      [S, S, 3] float32 if asked for}.
    """
    start = start_image(info, augmentation)

    def view(example: dict[str, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        label, centres = example["label"], example.get("centres")
        # A class says nothing of illness by its number: what augmentation is told of a classification is 1 for the ill.
        told = illness(label, task)
        image = start(example, told, seed)
        if augmentation is None:
            return image, label, centres
        changed = augmentation(image, told, seed, info.background, centres)
        if label.shape.rank == 3:  # a missing mask stays missing where the warp brought in new pixels
            missing = tf.reduce_any(label < 0, axis=[0, 1], keepdims=True)
            label = tf.where(missing, -1.0, changed[1])
        return changed[0], label, changed[2] if len(changed) > 2 else None

    def finish(example: dict[str, tf.Tensor], seed: tf.Tensor) -> dict[str, tf.Tensor]:
        image, label, centres = view(example, seed)
        batch = {"image": image, "label": with_centre_maps(label, centres, task)}
        if weights is not None:
            batch["weight"] = tf.gather(tf.constant(weights, tf.float32), example["label"])
        if centres is not None:
            batch["centres"] = centres
        if views == 2:
            other = tf.random.experimental.stateless_fold_in(seed, SECOND_VIEW)
            batch["second_view"] = view(example, other)[0]
        return batch

    return finish


def start_image(
    info: RecordsInfo, augmentation: Callable[..., Any] | None
) -> Callable[[Mapping[str, tf.Tensor], tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns (example, illness, seed) -> [S, S, 3] float32 0..255, what the model takes, before it is augmented.

    That is the stored normalised image; where the augmentation begins with the photograph, that one degraded and then
    normalised in the graph.
    """
    size = info.image_size
    if not isinstance(augmentation, Augmentation) or augmentation.photograph is None:
        return lambda example, told, seed: tf.cast(records_lib.decode_image(example["encoded"], size), tf.float32)

    lacking = (
        f"{info.directory} holds normalised images without their photographs, on which augment.augmentation.photograph "
        "works. Build the records again, or bind it to None."
    )

    def start(example: Mapping[str, tf.Tensor], told: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        encoded = example["photograph"]
        if info.preprocess["method"] != "crop":  # else they are one and the same
            both = tf.debugging.Assert(tf.not_equal(encoded, example["encoded"]), [lacking])
            with tf.control_dependencies([both] if both is not None else []):  # eager execution has raised by now
                encoded = tf.identity(encoded)
        crop = augmentation.degraded(tf.cast(records_lib.decode_image(encoded, size), tf.float32), told, seed)
        return tf.ensure_shape(prepare(crop[None], info.preprocess)[0], crop.shape)

    return start
