"""What was fitted to a run, stored beside its model: temperature, feature statistics, thresholds.

`evaluate` and `export` use the same values; whichever comes first fits and stores them in RUN/reliability/. They stay
with the run: judged elsewhere, on the photographs of another hospital, it keeps the thresholds of its own validation
images.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from dr_edge import locks, metadata
from dr_edge.calibration import fit as fit_lib
from dr_edge.calibration import statistics
from dr_edge.calibration.fit import Fit
from dr_edge.data import positive
from dr_edge.data.records import shard_paths
from dr_edge.runs import MODEL_FILE, TrainedRun, fits

DIRECTORY = "reliability"
FEATURES_FILE = "features.npz"
_WORDS = {"train": "training", "val": "validation"}


@dataclasses.dataclass(frozen=True)
class Basis:
    """What is fitted to a run, and which records that is from.

    Attributes:
      fit: None where nothing is stored and nothing can be fitted.
      records: where the records that it was fitted on can be read; None where they are gone.
      own: the fit is from the records that the run was trained on; False: from others, for want of these.
      reason: why there is no fit, else "".
    """

    fit: Fit | None
    records: str | None
    own: bool
    reason: str = ""


def basis(run: TrainedRun, given: str | os.PathLike) -> Basis:
    """Returns what is fitted to a run that is judged on, or exported with, the records `given`.

    The run's own records come first; where they are gone, what is stored with its model; only where nothing is stored
    is it fitted on `given`, with a warning, and not stored.

    Raises:
      ManifestError: `given` holds no records, or what is stored is damaged.
      ValueError: the model's features cannot be fitted.
      RuntimeError: the model's outputs are not finite.
    """
    metadata.read_manifest(given, "dataset")
    stored = _stored(run)
    at_hand = has_own_records(run)
    same = is_trained_on(run, given)  # the run's own, perhaps moved elsewhere
    if stored is not None and not at_hand and not same:
        logging.info(
            "%s no longer holds the run's records: temperature, thresholds and distance as stored.", run.records
        )
        return Basis(_read(run, stored), None, True)
    source, own = (run.records if at_hand else str(given)), at_hand or same
    missing = [split for split in ("train", "val") if not has_split(source, split)]
    if missing and not _is_stored_for(stored, source):
        reason = f"{source} has no {_WORDS[missing[-1]]} split, and nothing that was fitted on it is stored"
        logging.warning("%s: no temperature, thresholds or distance.", reason)
        return Basis(None, source, own, reason)
    if not own:
        logging.warning(
            "%s no longer holds the run's records, and nothing fitted is stored for its model: temperature, thresholds "
            "and distance come from %s, which it was not trained on.",
            run.records,
            given,
        )
    return Basis(fit_of(run, source), source, own)


def has_own_records(run: TrainedRun) -> bool:
    """Says whether the records that the run was trained on stand where run.json says."""
    return metadata.manifest_path(run.records, "dataset").is_file() and _are_own(run, run.records)


def _are_own(run: TrainedRun, records: str | os.PathLike) -> bool:
    """Says whether records are those of the run, by the digest in run.json: built anew with other splits, they differ.

    A run of an earlier release states the name of its data set only, and what its model takes: built anew at another
    size or with another preprocessing, they are others, too.
    """
    if "dataset_sha256" in run.content:
        return run.content["dataset_sha256"] == _dataset_sha256(records)
    found = metadata.read_manifest(records, "dataset")
    return found["dataset"] == run.content.get("dataset", found["dataset"]) and fits(found, run)


def is_trained_on(run: TrainedRun, records: str | os.PathLike) -> bool:
    """Says whether `records` are those that the run was trained on, where run.json says or moved elsewhere."""
    if "dataset_sha256" in run.content:
        return _are_own(run, records)
    return _is_own_place(run, records) or _is_stored_for(_stored(run), records)


def has_split(records: str | os.PathLike, split: str) -> bool:
    """Says whether records hold a split, whole."""
    try:
        return bool(shard_paths(records, split))
    except ValueError:
        return False


def fit_of(run: TrainedRun, records: str | os.PathLike) -> Fit:
    """Returns what is fitted to a run on certain records: as stored, or fitted now and stored.

    Args:
      run: the finished run.
      records: the records directory; on another one than the run's own it is fitted without being stored.

    Raises:
      ManifestError: `records` holds no records.
      ValueError: a split is missing.
      RuntimeError: the model's outputs are not finite.
    """
    source = {"model_sha256": _model_sha256(run), "dataset_sha256": _dataset_sha256(records)}
    directory = run.directory / DIRECTORY
    stored = _stored(run)
    if stored is not None and stored["dataset_sha256"] == source["dataset_sha256"]:
        return _read(run, stored)
    fit = fit_lib.fit(run, records)
    if _is_own_place(run, records):
        try:
            _store(directory, fit, source, run.task.positive)
        except (OSError, locks.InUse) as err:
            logging.warning("%s cannot be written (%s): what was fitted is not kept.", directory, err)
    return fit


def stored_fit(run: TrainedRun) -> Fit | None:
    """Returns what is stored beside the run for its model; None where nothing is."""
    stored = _stored(run)
    return None if stored is None else _read(run, stored)


def calibrated(run: TrainedRun) -> TrainedRun:
    """Returns the run with the temperature that is stored beside it, or as it is where none is stored for its model."""
    stored = _stored(run)
    return run if stored is None else dataclasses.replace(run, temperature=float(stored["temperature"]))


def _stored(run: TrainedRun) -> dict[str, Any] | None:
    """Returns reliability.json; None where there is none, or one of another model."""
    directory = run.directory / DIRECTORY
    if not metadata.manifest_path(directory, "reliability").is_file():
        return None
    stored = metadata.read_manifest(directory, "reliability")
    return stored if stored["model_sha256"] == _model_sha256(run) else None


def _is_own_place(run: TrainedRun, records: str | os.PathLike) -> bool:
    return Path(records).resolve() == Path(run.records).resolve() and has_own_records(run)


def _is_stored_for(stored: dict[str, Any] | None, records: str | os.PathLike) -> bool:
    return stored is not None and stored["dataset_sha256"] == _dataset_sha256(records)


def _model_sha256(run: TrainedRun) -> str:
    return metadata.sha256_file(run.directory / MODEL_FILE)


def _dataset_sha256(records: str | os.PathLike) -> str:
    metadata.read_manifest(records, "dataset")  # says what to do where there is none
    return metadata.sha256_file(metadata.manifest_path(records, "dataset"))


def _store(directory: Path, fit: Fit, source: dict[str, str], ill: Sequence[int]) -> None:
    if directory.exists():  # of another model or other records: this run was trained anew in its directory
        shutil.rmtree(directory)
    with metadata.staged_directory(directory, flag=None) as staging:
        if fit.features is not None:
            np.savez(staging / FEATURES_FILE, means=fit.features.means, whitening=fit.features.whitening)
        content: dict[str, Any] = {
            **source,
            "temperature": fit.temperature,
            "calibration": fit.calibration,
            "ood": fit.ood,
            "operating_points": fit.operating_points,
            "positive": list(ill),  # of whose probability the thresholds are
            "files": {path.name: metadata.sha256_file(path) for path in sorted(staging.iterdir())},
        }
        metadata.write_manifest(staging, "reliability", content)


def _read(run: TrainedRun, stored: dict[str, Any]) -> Fit:
    directory = run.directory / DIRECTORY
    metadata.check_files(directory, stored["files"])
    features = None
    if FEATURES_FILE in stored["files"]:
        with np.load(directory / FEATURES_FILE) as arrays:
            features = statistics.FeatureStatistics(
                arrays["means"], arrays["whitening"], stored["ood"]["shrinkage"], stored["ood"]["images"]
            )
    points = positive.of_disease(stored["operating_points"], stored.get("positive", (1,)), run.task.positive)
    return Fit(stored["temperature"], stored["calibration"], features, stored["ood"], points)
