"""A run directory: who may write it, where a run stands, and what run.json says.

A run is named by its configuration. The same command in the same directory goes on with it; another configuration is
refused, so that no run is ever half one thing and half another.
"""

from __future__ import annotations

import difflib
import json
import platform
from pathlib import Path
from typing import Any

import gin
import numpy as np
from absl import logging

from dr_edge import locks, metadata
from dr_edge.framework import keras, tf
from dr_edge.runs import MODEL_FILE
from dr_edge.training import checkpoints, metrics_log

CONFIG_FILE, OPERATIVE_FILE = "config.gin", "operative_config.gin"
UNFINISHED_MODEL = ".best.tmp.keras"  # what best.keras is written as
LOCK_FILE = ".lock"
_HELD: dict[Path, locks.Lock] = {}  # run directory -> its lock


def configuration(records: str | Path) -> str:
    """Returns what makes a run this one: the records' digest and every gin binding but the run directory, as text."""
    digest = metadata.sha256_file(metadata.manifest_path(records, "dataset"))
    lines = gin.config_str(max_line_length=110).splitlines()
    kept = [line for line in lines if not line.startswith("train.run_dir")]
    return "\n".join([f"# records: dataset.json of sha256 {digest}", *kept]) + "\n"


def claim(run_dir: str | Path, records: str | Path) -> str:
    """Takes `run_dir` for the configuration in force on these records.

    Returns:
      "new", "resume" (a run of the same configuration was interrupted) or "finished" (it is complete).

    A directory in which another configuration has trained nothing yet is taken over. Of several workers of one run the
    first claims it.

    Raises:
      InUse: another process trains there now; says which.
      ValueError: the directory holds a run of another configuration or of other records, or no run at all.
    """
    configured = configuration(records)
    path = Path(run_dir)
    config_file = path / CONFIG_FILE
    if path.exists() and not config_file.is_file() and not _is_empty(path):
        raise ValueError(f"{path} exists and holds no run. Choose another --run_dir, or remove it.")
    if (
        config_file.is_file()
        and is_finished(path)
        and config_file.read_text(encoding="utf-8", errors="replace") == configured
    ):
        return "finished"  # also where nothing can be written any more
    path.mkdir(parents=True, exist_ok=True)
    release(path)
    lock = _HELD[path.resolve()] = locks.take(path / LOCK_FILE, path, "trained", flag="--run_dir")
    if lock.held:
        _remove_leftovers(path)
    if not config_file.is_file():
        metadata.write_text(config_file, configured)
        return "new"
    before, now = config_file.read_text(encoding="utf-8", errors="replace"), configured
    if before != now and not _holds_training(path):
        logging.info("%s holds no checkpoint of the configuration before; it is taken for this one.", path)
        metadata.write_text(config_file, configured)
        return "new"
    if before != now:
        release(path)
        changes = difflib.unified_diff(
            before.splitlines(), now.splitlines(), "the run there", "this command", lineterm="", n=0
        )
        raise ValueError(
            f"{path} already holds a run of another configuration:\n"
            + "\n".join(line for line in changes if not line.startswith("@@"))
            + "\nChoose another --run_dir, or remove it."
        )
    if is_finished(path):
        release(path)
        return "finished"
    return "resume"


def release(run_dir: str | Path) -> None:
    """Lets go of a run directory that `claim` took."""
    held = _HELD.pop(Path(run_dir).resolve(), None)
    if held is not None:
        held.release()


def _is_empty(path: Path) -> bool:
    """Says whether a directory holds nothing but perhaps what a process left that was killed at its start."""
    return path.is_dir() and all(
        entry.name == LOCK_FILE or entry.name.startswith(f".{CONFIG_FILE}.") for entry in path.iterdir()
    )


def _remove_leftovers(path: Path) -> None:
    """Removes what a killed training was writing; by their names, since other commands write there too."""
    for name in (CONFIG_FILE, OPERATIVE_FILE, metrics_log.FILE, metrics_log.DAMAGED_FILE, metadata.MANIFESTS["run"][0]):
        metadata.remove_leftovers(path, name)
    (path / UNFINISHED_MODEL).unlink(missing_ok=True)
    if (path / checkpoints.DIRECTORY).is_dir():
        metadata.remove_leftovers(path / checkpoints.DIRECTORY)
        for lock in (path / checkpoints.DIRECTORY).glob(".step-*.lock"):  # killed right after a checkpoint had its name
            lock.unlink(missing_ok=True)


def _holds_training(path: Path) -> bool:
    """Says whether a run has left something that was trained."""
    return is_finished(path) or (path / MODEL_FILE).exists() or bool(checkpoints.existing(path / checkpoints.DIRECTORY))


def is_finished(run_dir: str | Path) -> bool:
    """Says whether `run_dir` holds a run that has ended as its configuration says, by a run.json that reads."""
    path = metadata.manifest_path(run_dir, "run")
    if not path.is_file():
        return False
    try:
        json.loads(path.read_bytes())
    except ValueError:
        logging.warning("%s is damaged. It is written again where this run goes on.", path)
        return False
    return metadata.read_manifest(run_dir, "run")["status"] == "finished"


def write_run(run_dir: str | Path, content: dict[str, Any]) -> None:
    """Writes run.json with the versions that the run was made with added."""
    versions = {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
    metadata.write_manifest(run_dir, "run", {**content, "versions": versions})
