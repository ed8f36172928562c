"""What a run is made of: network, optimizer, average, and the network that is shown; built once, under the strategy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from absl import logging

from dr_edge.framework import keras, tf
from dr_edge.training import checkpoints
from dr_edge.training import precision as precision_lib
from dr_edge.training.averaging import WeightAverage
from dr_edge.training.epoch import State


@dataclasses.dataclass(frozen=True)
class Parts:
    """The variables of a run.

    Attributes:
      network: what is trained.
      optimizer: built for all its trainable variables.
      average: moving average of its weights, or None.
      shown: what is validated and saved: the network itself, or its float32 twin with the averaged or the same weights.
    """

    network: keras.Model
    optimizer: keras.Optimizer
    average: WeightAverage | None
    shown: keras.Model

    @property
    def variables(self) -> list[keras.Variable]:
        """All that a checkpoint holds, in a fixed order."""
        return [*self.network.variables, *self.optimizer.variables, *(self.average.variables if self.average else ())]

    def resume(self, directory: Path, own: bool) -> State:
        """Restores the newest checkpoint in `directory` that reads, if there is one, and returns where the run stands.

        Args:
          directory: the run's `checkpoints/`.
          own: whether this process writes the run, and so may set aside what does not read.
        """
        saved = checkpoints.restore_newest(directory, self.variables, own)
        if saved is not None:
            state = State(**saved)
            logging.info("Resuming %s after epoch %d, step %d.", directory.parent, state.epoch, state.step_in_epoch)
            return state
        if self.average is not None:
            self.average.restart()  # at the initial weights, where there are some
        return State()

    def show(self) -> None:
        """Brings `shown` up to date."""
        if self.average is not None:
            self.average.copy_to(self.shown)
        elif self.shown is not self.network:
            precision_lib.copy_weights(self.network, self.shown)


def build(
    strategy: tf.distribute.Strategy,
    model: Callable[[], keras.Model],
    optimizer: Callable[..., keras.Optimizer],
    schedule: Callable[[], object],
    ema_decay: float | None,
    precision: str,
) -> Parts:
    """Builds the parts under `strategy`.

    Args:
      strategy: where the step runs.
      model: makes the network.
      optimizer: learning rate -> optimizer; its weight decay leaves biases and normalisation alone.
      schedule: makes the learning rate.
      ema_decay: see WeightAverage; None: no average.
      precision: one of precision.POLICIES.
    """
    with strategy.scope(), precision_lib.policy(precision):
        network = model()
        trainer = optimizer(schedule())
        if trainer.weight_decay:
            trainer.exclude_from_weight_decay(var_list=[v for v in network.trainable_variables if len(v.shape) < 2])
        trainer = precision_lib.scaled(trainer, precision)
        trainer.build(network.trainable_variables)
        average = WeightAverage(network, ema_decay) if ema_decay is not None else None
        shown = network if average is None and precision == "float32" else precision_lib.float32_twin(network)
    return Parts(network, trainer, average, shown)
