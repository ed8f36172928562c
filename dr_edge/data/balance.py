"""Balance of the classes in training: examples drawn alike, or losses weighed alike. Never in validation and test."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from dr_edge.data.tasks import Task
from dr_edge.framework import tf

BALANCES = ("none", "oversample", "loss_weights")
SHUFFLE_BUFFER = 4096  # serialised examples of about 30 kB: 120 MB


def check(balance: str, balance_label: str | None, task: Task, labels: Collection[str]) -> None:
    """Looks at the balance that `pipeline.training_batches` is asked for.

    Args:
      balance, balance_label: as there.
      task: what is trained.
      labels: that the records hold.

    Raises:
      ValueError: no such balance or label, or one that does not go with the other or with the task.
    """
    by_label = balance == "oversample" and balance_label is not None
    if balance not in BALANCES or (balance != "none" and task.kind != "classification" and not by_label):
        raise ValueError(
            f"balance must be one of {BALANCES}, and 'none' unless the task is a classification or oversample has a "
            f"balance_label. Received: {balance!r}."
        )
    if balance_label is not None and (not by_label or balance_label not in labels):
        raise ValueError(
            f"balance_label needs balance = 'oversample' and a label of the records ({sorted(labels)}). "
            f"Received: {balance_label!r} with balance {balance!r}."
        )


def class_weights(counts: np.ndarray) -> np.ndarray:
    """Returns each class's loss weight [C] float64, so that all that occur weigh alike and the mean weight is 1.

    Args:
      counts: [C], examples of each class in the training split.
    """
    present = counts > 0
    return np.where(present, counts.sum() / (present.sum() * np.maximum(counts, 1)), 0.0)


def oversampled(
    labelled: tf.data.Dataset, stratum: str, counts: np.ndarray, sample_seed: int, class_seeds: list[int]
) -> tf.data.Dataset:
    """Draws each value of `stratum` that occurs alike often, without end; a missing one (-1) as the commonest."""
    present = [index for index, count in enumerate(counts) if count]
    most_frequent = int(np.argmax(counts))

    def of_class(index: int) -> tf.data.Dataset:
        def is_member(example: dict[str, tf.Tensor]) -> tf.Tensor:
            value = example[stratum]
            return tf.equal(tf.where(value < 0, most_frequent, value), index)

        only = labelled.filter(is_member)
        # Each repetition is shuffled anew, from one seed: still a function of (seed, epoch).
        return only.shuffle(SHUFFLE_BUFFER, seed=class_seeds[index], reshuffle_each_iteration=True).repeat()

    weights = [1 / len(present)] * len(present)
    return tf.data.Dataset.sample_from_datasets([of_class(index) for index in present], weights, seed=sample_seed)
