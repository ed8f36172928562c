"""Where the step runs: the tf.distribute strategies that a gin file can choose.

The one loop runs under each of them, because its step is `strategy.run` inside one tf.function.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import gin
from absl import logging

from dr_edge.framework import tf
from dr_edge.training import workers


@gin.configurable(module="strategies")
def one_device() -> tf.distribute.Strategy:
    """The first GPU where there is one, else the CPU."""
    _say_that_it_is_alone()
    return tf.distribute.get_strategy()


def _say_that_it_is_alone() -> None:
    """Warns where TF_CONFIG names several workers and this one would train as if there were no other."""
    try:
        count = len(workers.check_config(os.environ.get("TF_CONFIG", "")))
    except ValueError:
        return
    if count > 1:
        logging.warning(
            "TF_CONFIG names %d workers, but train.strategy is not for several machines: this one trains alone. Bind "
            "train.strategy = @strategies.multi_worker.",
            count,
        )


@gin.configurable(module="strategies")
def mirrored() -> tf.distribute.Strategy:
    """All GPUs of this machine, each with a copy of the weights; on a machine without GPUs all logical CPU devices.

    Batch normalisation uses each device's own share of the batch, as usual under data parallelism.

    Raises:
      RuntimeError: there is only one device.
    """
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        raise RuntimeError(
            f"strategies.mirrored needs two or more devices, found {[device.name for device in devices]}. "
            "Bind train.strategy = @strategies.one_device."
        )
    return tf.distribute.MirroredStrategy([device.name for device in devices])


@gin.configurable(module="strategies")
def multi_worker() -> tf.distribute.Strategy:
    """All machines that the variable TF_CONFIG names, else all tasks of the SLURM job step; each runs the same command.

    Batch normalisation uses each worker's own share of the batch. The run directory must be on a file system that all
    workers see: the first one (chief) writes it, all resume from it.

    Raises:
      ValueError: there is neither, or a single worker.
    """
    if "TF_CONFIG" not in os.environ:
        config = workers.config_from_slurm(os.environ)
        if config is not None:
            os.environ["TF_CONFIG"] = config  # where TensorFlow looks
    config = os.environ.get("TF_CONFIG", "")
    named = workers.check_config(config) if config.strip() else []
    if len(named) < 2:
        raise ValueError(
            f"strategies.multi_worker needs TF_CONFIG with two or more workers (or srun), found {named}. {workers.FORM}"
        )
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


def worker(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """Returns the index of this worker and the number of workers; (0, 1) on one machine."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    return int(resolver.task_id), len(resolver.cluster_spec().as_dict()["worker"])


def check_same(strategy: tf.distribute.Strategy, text: str, place: str | os.PathLike) -> None:
    """Raises ValueError, on every worker, where the workers do not all read the same in the run directory.

    Each restores the variables by itself: from different checkpoints they would train on with different weights.

    Args:
      strategy: where the step runs.
      text: what this worker reads.
      place: the run directory, for the message.
    """
    index, count = worker(strategy)
    if count == 1:
        return
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
    told = strategy.run(lambda: tf.constant([number], tf.int64))
    if len(set(strategy.gather(told, axis=0).numpy().tolist())) > 1:
        raise ValueError(
            f"The workers do not see the same {place}: worker {index} of {count} stands at {text}, another elsewhere. "
            "All of them need one file system that they share. Run the same command on every machine again."
        )


def first_local(strategy: tf.distribute.Strategy, value: Any) -> tf.Tensor:
    """Returns what the first device of this machine holds of a distributed value; a tensor is returned as it is."""
    return strategy.experimental_local_results(value)[0]


def distribute(strategy: tf.distribute.Strategy, batches: Callable[[tuple[int, int]], tf.data.Dataset]) -> Any:
    """Returns an iterable of distributed batches.

    Args:
      strategy: where the step runs.
      batches: (index, count) of a worker -> the dataset of its shares of the global batches.
    """
    index, count = worker(strategy)
    if count == 1:
        return strategy.experimental_distribute_dataset(batches((0, 1)))

    # The shares are cut by pipeline.training_batches, so that they do not depend on tf.data's own sharding.
    return strategy.distribute_datasets_from_function(lambda context: batches((index, count)))
