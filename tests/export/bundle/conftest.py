"""A bundle of a small run, and that run where its records are not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dr_edge import metadata, runs
from dr_edge.calibration import store
from export import settings
from export.bundle import write
from export.settings import Settings


@pytest.fixture(scope="session")
def loose() -> Settings:
    """Settings whose limits weights that nobody trained keep."""
    return Settings(calibration_images=8, max_auc_drop=dict.fromkeys(settings.MAX_AUC_DROP, 1.0))


@pytest.fixture(scope="session")
def exported(run_dir, loose, made_once):
    """(bundle, report) of three formats of `run_dir`; do not change it."""

    def make(directory: Path) -> None:
        formats = ["float32", "static_int8", "onnx_float32"]
        report = write.export_run(run_dir, directory / "bundle", formats, settings=loose)
        (directory / "report.json").write_text(json.dumps(report))

    made = made_once("exported", make)
    return made / "bundle", json.loads((made / "report.json").read_text())


@pytest.fixture(scope="session")
def elsewhere(run_dir, records, tmp_path_factory):
    """A run, copied with what is fitted, where its records are not; and other records: the splits change places."""
    directory = tmp_path_factory.mktemp("elsewhere")
    run = runs.load_run(run_dir)
    store.basis(run, run.records)  # stores it
    copy = shutil.copytree(run_dir, directory / "run")
    stated = {"records": str(directory / "gone"), "dataset": "drawn", "training_examples": 24}
    metadata.write_manifest(copy, "run", metadata.read_manifest(copy, "run") | stated)
    other = shutil.copytree(records, directory / "other")
    content = metadata.read_manifest(records, "dataset")
    splits = {}
    for split, source in {"train": "val", "val": "test", "test": "train"}.items():
        shutil.copy(next(records.glob(f"{source}-*")), next(other.glob(f"{split}-*")))
        splits[split] = content["splits"][source]
    metadata.write_manifest(other, "dataset", content | {"dataset": "hospital", "splits": splits})
    return copy, other
