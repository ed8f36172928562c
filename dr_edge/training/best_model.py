"""best.keras: the best model so far, its digest, and what a run that is resumed makes of the file that it finds.

The file and run.json are two files, so run.json says which file comes ("next_best") before it is there: whenever the
run is killed, the digest of the file stands in run.json or in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from absl import logging

from dr_edge import durable, metadata
from dr_edge.framework import keras
from dr_edge.runs import MODEL_FILE
from dr_edge.training import run_directory


def write(
    run_path: Path, model: keras.Model, best: Mapping[str, Any], description: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes best.keras whole, and run.json, which names it.

    Args:
      run_path: the run directory.
      model: the best so far.
      best: "metric", "value", "epoch" and "step" of its validation.
      description: content of run.json; its "best" is of the file that stands there now.

    Returns:
      `best` with the "sha256" of the file.
    """
    temporary = run_path / run_directory.UNFINISHED_MODEL
    model.save(temporary)
    durable.sync(temporary)
    named = {**best, "sha256": metadata.sha256_file(temporary)}
    run_directory.write_run(run_path, {**description, "next_best": named})
    temporary.replace(run_path / MODEL_FILE)
    durable.sync(run_path)
    run_directory.write_run(run_path, {**description, "best": named})
    return named


def recover(run_path: Path, best: Mapping[str, Any], rebuild: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """Returns what best.keras is, for a run that goes on from a checkpoint.

    Args:
      run_path: the run directory.
      best: of the checkpoint; {}: no epoch had been validated.
      rebuild: writes the file anew where a checkpoint holds that model, and returns `best` with its digest; None where
        none does.

    Returns:
      `best`, or of a later epoch where the run was killed between that epoch and its checkpoint.

    Raises:
      ValueError: the best model is lost.
    """
    path = run_path / MODEL_FILE
    known = [entry for entry in (best, *_said(run_path)) if entry and entry["epoch"] >= best.get("epoch", 0)]
    if path.is_file():
        digest = metadata.sha256_file(path)
        for entry in known:
            if entry.get("sha256") == digest:
                return dict(entry)
        if best and "sha256" not in best:
            return _of_earlier_release(path, best, digest)
    if not best:  # nothing was chosen yet: the first epoch writes it
        return {}
    what = "is not the file that this run wrote: it is damaged, or was replaced" if path.is_file() else "is gone"
    rebuilt = rebuild()
    if rebuilt is None:
        raise ValueError(
            f"{path} {what}, and no checkpoint holds the model of epoch {best['epoch']}, the best so far. Restore the "
            "file from a copy, or train again in another --run_dir."
        )
    logging.warning("%s %s. The checkpoint of epoch %d holds that model.", path, what, best["epoch"])
    return rebuilt


def _said(run_path: Path) -> list[dict[str, Any]]:
    """Returns what run.json says of the best model: the one that is there, and the one that was being written."""
    try:
        content = metadata.read_manifest(run_path, "run")
    except metadata.ManifestError:  # killed before there was one, or damaged: it is written again
        return []
    return [entry for entry in (content["best"], content.get("next_best")) if entry]


def _of_earlier_release(path: Path, best: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """Takes a file whose digest nobody noted, where it is whole by its own checksums."""
    if damage := durable.zip_damage(path):
        raise ValueError(f"{path} is damaged ({damage}). Restore it from a copy, or train again in another --run_dir.")
    logging.warning("%s was written by an earlier release, which kept no digest of it: it is taken as it is.", path)
    return {**best, "sha256": digest}
