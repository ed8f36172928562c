"""What was fitted to a run, stored beside its model: temperature, feature statistics, thresholds.

`evaluate` and `export` use the same values; whichever comes first fits and stores them in RUN/reliability/.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from dr_edge import fitting, metadata, reliability
from dr_edge.fitting import Fit
from dr_edge.trained import MODEL_FILE, TrainedRun

DIRECTORY = "reliability"
FEATURES_FILE = "features.npz"


def fit_of(run: TrainedRun, records: str | os.PathLike) -> Fit:
    """Returns what is fitted to a run: as stored, or fitted now and stored.

    Args:
      run: the finished run.
      records: the records directory; another one than the stored fit's is fitted without replacing that.

    Raises:
      ManifestError: `records` holds no records.
      ValueError: a split is missing or the model's outputs are not finite.
    """
    metadata.read_manifest(records, "dataset")
    source = {
        "model_sha256": metadata.sha256_file(run.directory / MODEL_FILE),
        "dataset_sha256": metadata.sha256_file(metadata.manifest_path(records, "dataset")),
    }
    directory = run.directory / DIRECTORY
    if metadata.manifest_path(directory, "reliability").is_file():
        stored = metadata.read_manifest(directory, "reliability")
        if {key: stored[key] for key in source} == source:
            return _read(directory, stored)
    fit = fitting.fit(run, records)
    if Path(records).resolve() == Path(run.records).resolve():
        try:
            _store(directory, fit, source)
        except OSError as err:
            logging.warning("%s cannot be written (%s): what was fitted is not kept.", directory, err)
    return fit


def calibrated(run: TrainedRun) -> TrainedRun:
    """Returns the run with the temperature that is stored beside it, or as it is where none is stored for its model."""
    directory = run.directory / DIRECTORY
    if not metadata.manifest_path(directory, "reliability").is_file():
        return run
    stored = metadata.read_manifest(directory, "reliability")
    if stored["model_sha256"] != metadata.sha256_file(run.directory / MODEL_FILE):
        return run
    return dataclasses.replace(run, temperature=float(stored["temperature"]))


def _store(directory: Path, fit: Fit, source: dict[str, str]) -> None:
    if directory.exists():  # of another model or other records: this run was trained anew in its directory
        shutil.rmtree(directory)
    with metadata.staged_directory(directory) as staging:
        if fit.features is not None:
            np.savez(staging / FEATURES_FILE, means=fit.features.means, whitening=fit.features.whitening)
        content: dict[str, Any] = {
            **source,
            "temperature": fit.temperature,
            "calibration": fit.calibration,
            "ood": fit.ood,
            "operating_points": fit.operating_points,
            "files": {path.name: metadata.sha256_file(path) for path in sorted(staging.iterdir())},
        }
        metadata.write_manifest(staging, "reliability", content)


def _read(directory: Path, stored: dict[str, Any]) -> Fit:
    metadata.check_files(directory, stored["files"])
    features = None
    if FEATURES_FILE in stored["files"]:
        with np.load(directory / FEATURES_FILE) as arrays:
            features = reliability.FeatureStatistics(
                arrays["means"], arrays["whitening"], stored["ood"]["shrinkage"], stored["ood"]["images"]
            )
    return Fit(stored["temperature"], stored["calibration"], features, stored["ood"], stored["operating_points"])
