"""A second stage: training that starts from the best model of a finished run."""

from __future__ import annotations

from typing import Any

from dr_edge import metadata
from dr_edge.framework import keras
from dr_edge.runs import MODEL_FILE, load_run


def load(network: keras.Model, run_dir: str) -> dict[str, Any]:
    """Assigns the weights of RUN/best.keras to `network`.

    Args:
      network: of the architecture that the run trained.
      run_dir: a finished run.

    Returns:
      What was loaded, for run.json: {"run", "best", "sha256"}.

    Raises:
      ManifestError: no run, or an unfinished one.
      ValueError: the run's network is another one; names the first weight that differs.
    """
    run = load_run(run_dir)
    theirs, ours = run.model.weights, network.weights
    for number in range(max(len(theirs), len(ours))):
        left = f"{theirs[number].path} {tuple(theirs[number].shape)}" if number < len(theirs) else "nothing"
        right = f"{ours[number].path} {tuple(ours[number].shape)}" if number < len(ours) else "nothing"
        if left.split("/")[-1] != right.split("/")[-1]:  # name and shape; numbered layer names may differ
            raise ValueError(
                f"train.initial_weights = {run_dir!r} holds another network ({run.model.name}) than this configuration "
                f"builds ({network.name}): {left} against {right}. Bind the same train.model, and a task of as many "
                "classes."
            )
    for weight, target in zip(theirs, ours, strict=True):
        target.assign(keras.ops.convert_to_numpy(weight))
    digest = metadata.sha256_file(run.directory / MODEL_FILE)
    return {"run": str(run.directory.resolve()), "best": run.content["best"], "sha256": digest}
