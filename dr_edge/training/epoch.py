"""One epoch of the loop: its steps, its place in the run, and requests to stop."""

from __future__ import annotations

import dataclasses
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from dr_edge.framework import keras, tf
from dr_edge.training.monitor import Monitor

LOSS_EVERY = 10  # steps between two looks at the loss: reading it waits for the device
DIVERGED = (
    "Lower the learning rate, add warm-up, or look at the inputs in TensorBoard. The last checkpoint is from before."
)


@dataclasses.dataclass
class State:
    """A run's place: what a checkpoint holds beside the variables.

    Attributes:
      epoch: finished epochs.
      step_in_epoch: finished steps of the epoch that runs.
      loss_sum: of those steps.
      best: {"metric", "value", "epoch", "step"} of the best validation so far, or {}.
      seconds: spent training.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    best: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


class Timer:
    """Says when so many minutes have passed since it last said so."""

    def __init__(self, minutes: float | None) -> None:
        """Counts from now; None: never."""
        self._seconds = math.inf if minutes is None else 60.0 * minutes
        self._last = time.monotonic()

    def due(self) -> bool:
        """Returns True once per period."""
        if time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True


def run_epoch(
    state: State,
    epochs: int,
    batches: Any,
    train_step: Callable[..., tf.Tensor],
    monitor: Monitor,
    stop: list[int],
    timer: Timer,
    save: Callable[[], None],
    first_images: Callable[[Any], tf.Tensor],
) -> None:
    """Runs the steps that are left of an epoch, or until a stop is requested, and counts them in `state`.

    Args:
      state: is changed.
      epochs: of the whole run, for the progress bar.
      batches: iterable of batches, from the step at which `state` stands.
      train_step: batch -> loss.
      monitor: sees each step.
      stop: filled by `stop_requests`.
      timer: when it is due, the run is saved between two steps.
      save: writes a checkpoint of `state`.
      first_images: batch -> the images of one device, to be shown.

    Raises:
      FloatingPointError: the loss is not finite; names the step.
    """
    pending: list[tf.Tensor] = []

    def read_losses() -> float:
        values = [float(value) for value in pending]
        pending.clear()
        for offset, value in enumerate(values):
            if not math.isfinite(value):
                bad = state.step_in_epoch - len(values) + offset + 1
                raise FloatingPointError(
                    f"The loss became {value} at step {bad} of epoch {state.epoch + 1}. {DIVERGED}"
                )
            state.loss_sum += value
        return values[-1]

    for batch in batches:
        if state.epoch == 0 and state.step_in_epoch == 0:
            monitor.images("train/augmented", 0, first_images(batch))
        pending.append(train_step(batch))
        state.step_in_epoch += 1
        shown = read_losses() if len(pending) == LOSS_EVERY else None
        monitor.step(state.epoch + 1, epochs, shown)
        if stop:
            break
        if timer.due():
            if pending:
                read_losses()
            save()
    if pending:
        read_losses()


def finish_epoch(state: State, steps_per_epoch: int, monitor: Monitor, optimizer: keras.Optimizer) -> None:
    """Reports the mean training loss of a full epoch and moves `state` to the next one."""
    if state.step_in_epoch != steps_per_epoch:
        raise RuntimeError(
            f"Epoch {state.epoch + 1} gave {state.step_in_epoch} steps where dataset.json promises {steps_per_epoch}. "
            "Check the records: python -m tfrecord_tools.verify RECORDS"
        )
    values = {"loss": state.loss_sum / steps_per_epoch, "learning_rate": float(np.asarray(optimizer.learning_rate))}
    state.epoch += 1
    monitor.epoch("train", state.epoch * steps_per_epoch, state.epoch, values)
    state.step_in_epoch, state.loss_sum = 0, 0.0


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Yields a list that SIGINT and SIGTERM fill; a second signal interrupts at once, as usual."""
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(number, before[number])

    before: dict[int, Any] = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
