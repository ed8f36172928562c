"""Checkpoints: all variables of a training run and its place in it, written whole or not at all.

A checkpoint is a directory `step-00001234` with `variables.npz` (each variable by its place and path, bit for bit)
and `checkpoint.json`, which comes last: the run's place, the SHA-256 of every file, and its own. It is written under a
temporary name, synced and renamed. Saved again at the same step, where the variables are the same, only its
`checkpoint.json` is replaced, by renaming as well. One that does not read is set aside, and the one before it is taken.

Those of earlier releases hold `state.json` in its place and no digests.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from dr_edge import durable, metadata
from dr_edge.framework import keras

DIRECTORY = "checkpoints"  # of a run
VARIABLES_FILE, MANIFEST, OLD_STATE_FILE = "variables.npz", "checkpoint.json", "state.json"
SCHEMA, VERSION = "dr_edge.checkpoint", 1
_NAME = re.compile(r"^step-(\d{8})$")
_NUMBER = re.compile(r"_\d+(?=/|$)")
_OLD_STATE: dict[str, Any] = {
    "epoch": int, "step_in_epoch": int, "loss_sum": (int, float), "best": dict, "seconds": (int, float),
}  # fmt: skip


class Damaged(ValueError):
    """A checkpoint does not read; says why."""


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
    if path.exists():  # of the same step, so of the same variables; validation has moved the state on
        try:
            _renew(path, state)
        except Damaged as err:
            _leave(path, err, own=True)
    if not path.exists():
        _write(path, variables, state)
    for old in existing(directory)[:-keep]:
        shutil.rmtree(old)
    return path


def existing(directory: Path) -> list[Path]:
    """Returns the checkpoints in `directory`, oldest first, those that do not read among them."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if _NAME.match(path.name) and path.is_dir())


def at_epoch(directory: Path, epoch: int) -> Path | None:
    """Returns a checkpoint that was saved between that epoch, which was its last, and the next one, and that reads."""
    for path in reversed(existing(directory)):
        try:
            state = read_state(path)
        except Damaged:
            continue
        if (state["epoch"], state["step_in_epoch"]) == (epoch, 0):
            return path
    return None


def restore_newest(directory: Path, variables: Sequence[keras.Variable], own: bool) -> dict[str, Any] | None:
    """Assigns the values of the newest checkpoint that reads to `variables` and returns its state; None: there is none.

    Args:
      directory: the run's `checkpoints/`.
      variables: as they were saved.
      own: whether this process writes the run: then checkpoints that do not read are set aside, as `damaged-step-...`.

    Raises:
      ValueError: the checkpoint is of another model or optimizer, or of a later release.
      PermissionError: it may not be read.
    """
    for path in reversed(existing(directory)):
        try:
            return restore(path, variables)
        except Damaged as err:
            if path.exists():  # else the worker that writes the run has set it aside by now
                _leave(path, err, own)
    return None


def restore(path: Path, variables: Sequence[keras.Variable]) -> dict[str, Any]:
    """Assigns the checkpoint's values to `variables` and returns its state.

    Raises:
      Damaged: it does not read; nothing was assigned.
      ValueError: the checkpoint is of another model or optimizer, or of a later release.
      PermissionError: it may not be read.
    """
    state = read_state(path)
    with np.load(path / VARIABLES_FILE) as arrays:
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
    return state


def read_state(path: Path) -> dict[str, Any]:
    """Returns the state of a checkpoint after every file of it was compared with its digest.

    Raises:
      Damaged, ValueError, PermissionError: as `restore`.
    """
    try:
        if not (path / MANIFEST).is_file():
            return _old_state(path)
        content = _content(path)
        for name, expected in content["files"].items():
            if metadata.sha256_file(path / name) != expected:
                raise Damaged(f"{name} is not the file that was written")
    except (PermissionError, MemoryError):
        raise
    except OSError as err:  # a file is gone, or the disk does not give it
        raise Damaged(f"{Path(err.filename or path).name}: {err.strerror}") from err
    return content["state"]


def _keys(variables: Sequence[keras.Variable]) -> list[str]:
    """Returns each variable's place and path without the numbers that Keras gives to names used before in a process."""
    return [f"{index:05d}/{_NUMBER.sub('', variable.path)}" for index, variable in enumerate(variables)]


def _write(path: Path, variables: Sequence[keras.Variable], state: dict[str, Any]) -> None:
    """Writes a whole checkpoint: the variables, synced, then what speaks for them."""
    with metadata.staged_directory(path, flag="--run_dir") as staging:
        arrays = [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in variables]
        named: dict[str, Any] = dict(zip(_keys(variables), arrays, strict=True))
        for key, array in named.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise FloatingPointError(f"The variable {key} is not finite")
        file = staging / VARIABLES_FILE
        np.savez(file, **named)
        durable.sync(file)
        _write_manifest(staging, {VARIABLES_FILE: metadata.sha256_file(file)}, state)


def _renew(path: Path, state: dict[str, Any]) -> None:
    """Replaces the state of a checkpoint.

    Raises:
      Damaged: its checkpoint.json does not read.
    """
    if (path / MANIFEST).is_file():
        _write_manifest(path, _content(path)["files"], state)
    else:  # of an earlier release, whose files nothing vouches for
        metadata.write_json(path / OLD_STATE_FILE, state)


def _write_manifest(path: Path, files: dict[str, str], state: dict[str, Any]) -> None:
    content = {"schema": SCHEMA, "version": VERSION, "files": files, "state": state}
    durable.sync(path)
    metadata.write_json(path / MANIFEST, {**content, "sha256": _digest(content)})
    durable.sync(path)


def _digest(content: dict[str, Any]) -> str:
    """Returns the SHA-256 of what a checkpoint.json says, however it is laid out."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _content(path: Path) -> dict[str, Any]:
    """Reads checkpoint.json, which vouches for itself.

    Raises:
      Damaged: it does not read.
      ValueError: it is of a later release.
    """
    try:
        content = json.loads((path / MANIFEST).read_bytes())
    except ValueError as err:
        raise Damaged(f"{MANIFEST} is not valid JSON") from err
    if not isinstance(content, dict) or content.pop("sha256", None) != _digest(content):
        raise Damaged(f"{MANIFEST} is not what was written")
    if (content["schema"], content["version"]) != (SCHEMA, VERSION):
        raise ValueError(
            f"{path} is a checkpoint of version {content['version']}, this release reads version {VERSION}. Go on with "
            "the release that wrote it, or start in a new run directory."
        )
    return content


def _old_state(path: Path) -> dict[str, Any]:
    """Reads the state of a checkpoint of an earlier release, as far as what it holds can be checked."""
    try:
        state = json.loads((path / OLD_STATE_FILE).read_bytes())
    except ValueError as err:
        raise Damaged(f"{OLD_STATE_FILE} is not valid JSON") from err
    if damage := durable.zip_damage(path / VARIABLES_FILE):
        raise Damaged(f"{VARIABLES_FILE}: {damage}")
    if not isinstance(state, dict) or any(not isinstance(state.get(name), kind) for name, kind in _OLD_STATE.items()):
        raise Damaged(f"{OLD_STATE_FILE} does not say where the run stands")
    logging.warning(
        "%s is a checkpoint of an earlier release, which kept no digests: damage to it may go unnoticed.", path
    )
    return state


def _leave(path: Path, err: Damaged, own: bool) -> None:
    """Says that a checkpoint does not read, and gives it another name where this process writes the run."""
    before = [other.name for other in existing(path.parent) if other.name < path.name]
    instead = f"goes on from {before[-1]}" if before else "starts from the beginning: there is no other checkpoint"
    if not own:
        logging.warning("%s does not read (%s). The run %s.", path, err, instead)
        return
    aside, number = path.with_name(f"damaged-{path.name}"), 2
    while aside.exists():
        aside, number = path.with_name(f"damaged-{path.name}-{number}"), number + 1
    path.rename(aside)
    durable.sync(path.parent)
    logging.warning("%s does not read (%s). It is set aside as %s, and the run %s.", path, err, aside.name, instead)
