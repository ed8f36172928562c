"""What one sees of a run: the progress bar, metrics.jsonl and TensorBoard."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge import extras
from dr_edge.framework import tf
from dr_edge.progress import Progress
from dr_edge.training.metrics_log import MetricsLog


class Monitor:
    """Reports a run's steps and epochs to the terminal, metrics.jsonl and TensorBoard."""

    def __init__(
        self,
        run_dir: Path | None,
        step: int,
        epochs: int,
        total_steps: int,
        images_per_step: int,
        wandb_project: str | None = None,
        description: dict[str, Any] | None = None,
    ) -> None:
        """Continues the reports of a run that stands at `step` of `total_steps`, with so many finished `epochs`.

        Args:
          run_dir: None for a worker that reports nothing.
          step, epochs, total_steps: place in the run.
          images_per_step: of all devices together.
          wandb_project: also report to Weights & Biases, under this project.
          description: what W&B shows as the run's configuration.
        """
        self._wandb = None
        if wandb_project and run_dir:
            self._wandb = _wandb_run(wandb_project, run_dir, description or {})
        self._images_per_step = images_per_step
        self._log = MetricsLog(run_dir, epochs) if run_dir else None
        self._writer = tf.summary.create_file_writer(str(run_dir / "tensorboard")) if run_dir else None
        self._bar = Progress(
            total=total_steps,
            initial=step,
            unit="step",
            desc="train",
            dynamic_ncols=True,
            smoothing=0.05,
            disable=run_dir is None,
            bar_format=(
                "{desc} {percentage:3.0f}%|{bar}| step {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}] "
                "{postfix}"
            ),
        )
        self._shown: dict[str, str] = {}

    def step(self, epoch: int, epochs: int, loss: float | None) -> None:
        """Counts one training step; a loss, when there is one, is shown."""
        self._bar.set_description(f"epoch {epoch}/{epochs}", refresh=False)
        if loss is not None:
            self._show_loss(loss)
            self._bar.set_postfix(self._shown, refresh=False)
        self._bar.update()

    def epoch(self, split: str, step: int, epoch: int, values: dict[str, Any]) -> None:
        """Writes one row of metrics for a split and shows the scalars."""
        if self._log is None or self._writer is None:
            return
        self._log.append({"step": step, "epoch": epoch, "split": split, **values})
        scalars = {key: value for key, value in values.items() if isinstance(value, (int, float))}
        with self._writer.as_default(step=step):
            for key, value in scalars.items():
                tf.summary.scalar(f"{split}/{key}", value)
            if values.get("confusion") is not None:
                tf.summary.image(f"{split}/confusion", _confusion_picture(np.asarray(values["confusion"])))
        self._writer.flush()
        if self._wandb is not None:
            self._wandb.log({f"{split}/{key}": value for key, value in scalars.items()} | {"step": step})
        if split == "train":
            self._show_loss(values["loss"])
        else:
            self._shown |= {f"{split} {key}": f"{value:.3f}" for key, value in scalars.items() if key in _SHOWN}
        self._bar.set_postfix(self._shown)

    def _show_loss(self, loss: float) -> None:
        """Notes a loss and the speed for the bar; an epoch shorter than LOSS_EVERY shows its mean."""
        self._shown["loss"] = f"{loss:.4f}"
        if rate := self._bar.format_dict["rate"]:
            self._shown["images/s"] = f"{rate * self._images_per_step:.0f}"

    def images(self, name: str, step: int, images: tf.Tensor) -> None:
        """Shows up to eight images [B, S, S, 3] float32 0..255 in TensorBoard."""
        if self._writer is None:
            return
        with self._writer.as_default(step=step):
            tf.summary.image(name, tf.clip_by_value(images, 0.0, 255.0) / 255.0, max_outputs=8)

    def close(self) -> None:
        """Ends the bar and writes what is still held back."""
        self._bar.close()
        if self._writer is not None:
            self._writer.close()
        if self._wandb is not None:
            self._wandb.finish()


def _wandb_run(project: str, run_dir: Path, description: dict[str, Any]) -> Any:
    """Starts, or after an interruption goes on with, the W&B run of this run directory; its files stay inside it."""
    extras.require("train.wandb_project")
    import wandb

    name = run_dir.resolve().name
    identity = hashlib.sha256(str(run_dir.resolve()).encode()).hexdigest()[:16]
    return wandb.init(project=project, name=name, id=identity, resume="allow", dir=str(run_dir), config=description)


_SHOWN = ("auc", "accuracy", "mean_f1", "dice")


def _confusion_picture(confusion: np.ndarray, cell: int = 48) -> np.ndarray:
    """Returns [1, C * cell, C * cell, 1] float32 0..1: each row's shares as grey, dark for many."""
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    picture = 1.0 - np.kron(shares, np.ones((cell, cell)))
    return picture[None, ..., None].astype(np.float32)
