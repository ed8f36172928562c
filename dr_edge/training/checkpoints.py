"""Checkpoints: all variables of a training run and its place in it, written whole or not at all.

A checkpoint is a directory `step-00001234` with `variables.npz` (each variable by its place and path, bit for bit)
and `state.json`. It is written under a temporary name and renamed. Saved again at the same step, where the variables
are the same, only its `state.json` is replaced, by renaming as well.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge import metadata
from dr_edge.framework import keras

_NAME = re.compile(r"^step-(\d{8})$")
_NUMBER = re.compile(r"_\d+(?=/|$)")


def _keys(variables: Sequence[keras.Variable]) -> list[str]:
    """Returns each variable's place and path without the numbers that Keras gives to names used before in a process."""
    return [f"{index:05d}/{_NUMBER.sub('', variable.path)}" for index, variable in enumerate(variables)]


def save(directory: Path, step: int, variables: Sequence[keras.Variable], state: dict[str, Any], keep: int) -> Path:
    """Writes a checkpoint and removes all but the `keep` newest.

    Args:
      directory: the run's `checkpoints/`.
      step: global step, names the checkpoint.
      variables: of the model and the optimizer, in a fixed order.
      state: JSON-serialisable place in the run.
      keep: how many checkpoints to keep, at least 1.

    Returns:
      The checkpoint's directory.

    Raises:
      FloatingPointError: a variable is NaN or infinite; nothing is written.
    """
    path = directory / f"step-{step:08d}"
    if not path.exists():
        with metadata.staged_directory(path, flag="--run_dir") as staging:
            arrays = [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in variables]
            named: dict[str, Any] = dict(zip(_keys(variables), arrays, strict=True))
            for key, array in named.items():
                if array.dtype.kind == "f" and not np.isfinite(array).all():
                    raise FloatingPointError(f"The variable {key} is not finite")
            np.savez(staging / "variables.npz", **named)
            metadata.write_json(staging / "state.json", state)
    else:  # of the same step, so of the same variables; validation has moved the state on
        metadata.write_json(path / "state.json", state)
    for old in sorted(existing(directory))[:-keep]:
        shutil.rmtree(old)
    return path


def existing(directory: Path) -> list[Path]:
    """Returns the finished checkpoints in `directory`, oldest first."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if _NAME.match(path.name) and (path / "state.json").is_file())


def restore(path: Path, variables: Sequence[keras.Variable]) -> dict[str, Any]:
    """Assigns the checkpoint's values to `variables` and returns its state.

    Raises:
      ValueError: the checkpoint is of another model or optimizer.
    """
    with np.load(path / "variables.npz") as arrays:
        keys = _keys(variables)
        if set(keys) != set(arrays.files):
            differing = sorted(set(keys) ^ set(arrays.files))[:3]
            raise ValueError(
                f"{path} was written for another model or optimizer (differs in {differing}). "
                "Start in a new run directory."
            )
        for key, variable in zip(keys, variables, strict=True):
            if arrays[key].shape != tuple(variable.shape):
                raise ValueError(f"{path}: {key} has shape {arrays[key].shape}, expected {tuple(variable.shape)}.")
            variable.assign(arrays[key])
    return json.loads((path / "state.json").read_text(encoding="utf-8"))
