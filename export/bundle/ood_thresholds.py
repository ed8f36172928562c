"""Each artifact's own threshold of `ood_distance`, from its own distances of the validation photographs.

Eight bits shift features, and by nearly the same for every photograph: the frame around the field of view is one value,
rounded one way everywhere. That adds to all distances alike. In static_int8 the median of a UNet's (system C,
Drishti-GS1) is 30 where float32 has 12: by the trained network's threshold every photograph would be unlike the
training photographs.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge.calibration import store
from dr_edge.calibration.fit import OOD_QUANTILES
from dr_edge.data import pipeline
from dr_edge.data.records_info import read_info
from dr_edge.data.tasks import Task
from dr_edge.progress import Progress
from export.formats import Format
from export.parity import runtime
from export.photographs import StoredPhotographs

OUTPUT = "ood_distance"
PHOTOGRAPHS = 1000  # at most; a 99 % quantile needs no more
EXACT = ("float32", "float16")  # variants that keep the features, and with them the trained network's threshold
GONE = (
    "its threshold is measured on validation photographs of the records that the run was trained on; they are not there"
)


def thresholds(
    directory: Path, formats: Sequence[Format], ood: Mapping[str, Any], records: str | os.PathLike | None, task: Task
) -> dict[str, dict[str, Any]]:
    """Returns for the file of each format the threshold of its distance (`own_threshold`), or {reason} why it has none.

    Args:
      directory: where the files stand.
      formats: of the files.
      ood: what metadata.json says of the trained network's distance; without a threshold there is nothing to measure.
      records: that the run was fitted on; None where they are gone: then 8-bit artifacts have no threshold, and EXACT
        ones keep the network's.
      task: of the run.
    """
    if "threshold" not in ood:
        return {}
    if records is None or not store.has_split(records, "val"):
        return {fmt.file: {"reason": GONE} for fmt in formats if fmt.variant not in EXACT}
    count = min(pipeline.example_count(read_info(records), "val", task), PHOTOGRAPHS)
    photographs = StoredPhotographs(records, "val", task, count)
    found = {}
    with Progress(total=count * len(formats), desc="thresholds of the distance", unit="image", leave=False) as bar:
        for fmt in formats:
            run = runtime.open_artifact(directory / fmt.file)
            found[fmt.file] = own_threshold(run, _counted(photographs, bar))
    return found


def _counted(photographs: Iterable[np.ndarray], bar: Progress) -> Iterable[np.ndarray]:
    for photograph in photographs:
        yield photograph
        bar.update()


def own_threshold(
    run: Callable[[np.ndarray], Mapping[str, np.ndarray]], photographs: Iterable[np.ndarray]
) -> dict[str, Any]:
    """Measures the threshold of one artifact.

    Args:
      run: the artifact, from [1, S, S, 3] uint8 to its outputs.
      photographs: of the validation split, [1, S, S, 3] uint8.

    Returns:
      threshold (the highest of OOD_QUANTILES), quantiles {share: distance}, and photographs, how many they are from.

    Raises:
      ValueError: no photographs.
      FloatingPointError: a distance is not finite.
    """
    distances = np.array([float(run(each)[OUTPUT].ravel()[0]) for each in itertools.islice(photographs, PHOTOGRAPHS)])
    if not distances.size:
        raise ValueError("The validation split holds no photograph: the threshold of ood_distance cannot be measured.")
    if not np.isfinite(distances).all():
        raise FloatingPointError("ood_distance of a validation photograph is not finite. Train or calibrate again.")
    quantiles = {f"{share:.2f}": float(np.quantile(distances, share)) for share in OOD_QUANTILES}
    return {"threshold": quantiles[f"{OOD_QUANTILES[-1]:.2f}"], "quantiles": quantiles, "photographs": distances.size}


def share_beyond(outputs: Mapping[str, np.ndarray], ood: Mapping[str, Any]) -> float | None:
    """Returns the share of an artifact's outputs whose distance lies beyond its threshold; None without a threshold."""
    return float((outputs[OUTPUT] > ood["threshold"]).mean()) if "threshold" in ood else None
