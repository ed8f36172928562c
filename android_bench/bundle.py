"""Reads a bundle: which artifacts it holds, that their bytes are the stated ones, and their accuracy where known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dr_edge import metadata
from dr_edge.bundle_files import read as bundle_files

FORMATS = ("tflite", "onnx")

# The first of these that every artifact has is the accuracy one chooses by; 'auc' does not depend on a threshold.
ACCURACY_METRICS = ("auc", "qwk", "accuracy", "dice", "macro_f1", "mean_f1")


@dataclasses.dataclass(frozen=True)
class Artifact:
    """One model file of a bundle.

    Attributes:
      key: its key in metadata.json, for example 'float32.tflite'.
      path: where it stands here.
      variant: 'float32', 'static_int8' ...
      format: 'tflite' or 'onnx'.
      sha256: 64 hexadecimal digits, checked.
      bytes: file size in bytes.
      accuracy: metric -> value from parity.json; empty where there is none.
    """

    key: str
    path: Path
    variant: str
    format: str
    sha256: str
    bytes: int
    accuracy: Mapping[str, float]

    @property
    def file(self) -> str:
        return self.path.name


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A checked bundle: directory, task, image size in pixels, artifacts in the manifest's order."""

    directory: Path
    task: Mapping[str, Any]
    image_size: int
    artifacts: tuple[Artifact, ...]
    accuracy_data: str | None


def read_bundle(directory: str | Path, only: Sequence[str] = (), require_signature: str | None = None) -> Bundle:
    """Reads and checks the bundle in `directory`.

    Args:
      directory: holds metadata.json and the artifacts it lists; parity.json where accuracy is known.
      only: keys, files or variants to keep; empty keeps all.
      require_signature: PEM file of the public key that must have signed the bundle; None: none.

    Raises:
      ValueError: no bundle, a file is missing or its SHA-256 differs, the key did not sign it, or `only` names
        something that is not there.
    """
    directory = Path(directory)
    manifest = bundle_files.read_bundle(directory, require_signature)
    of_it = "digests" not in manifest or "parity.json" in manifest["files"]  # else somebody put it there
    accuracy, data = _read_parity(directory) if of_it else ({}, None)
    artifacts = [_artifact(directory, key, entry, accuracy) for key, entry in manifest["artifacts"].items()]
    if only:
        artifacts = _select(directory, artifacts, only)
    metadata.check_files(directory, {artifact.file: artifact.sha256 for artifact in artifacts})
    return Bundle(directory, manifest["task"], manifest["image_size"], tuple(artifacts), data)


def accuracy_metric(accuracies: Sequence[Mapping[str, float]]) -> str | None:
    """Returns the metric to draw: the first of ACCURACY_METRICS that at least one artifact has, or None."""
    shared = [name for name in ACCURACY_METRICS if accuracies and all(name in found for found in accuracies)]
    some = [name for name in ACCURACY_METRICS if any(name in found for found in accuracies)]
    return next(iter(shared or some), None)


def _artifact(
    directory: Path, key: str, entry: Mapping[str, Any], accuracy: Mapping[str, Mapping[str, float]]
) -> Artifact:
    name, kind = entry["file"], entry["format"]
    if kind not in FORMATS:
        raise metadata.ManifestError(
            f"{directory}: artifact {key!r} has format {kind!r}; known: {', '.join(FORMATS)}. "
            "Leave it out with --artifacts, or read it with the release that wrote it."
        )
    return Artifact(
        key,
        directory / name,
        entry["variant"],
        kind,
        entry["sha256"],
        entry["bytes"],
        accuracy.get(name, {}),
    )


def _select(directory: Path, artifacts: Sequence[Artifact], only: Sequence[str]) -> list[Artifact]:
    kept = [item for item in artifacts if {item.key, item.file, item.variant} & set(only)]
    known = {name for item in artifacts for name in (item.key, item.file, item.variant)}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise ValueError(
            f"{directory} holds no artifact {', '.join(unknown)}. It has: {', '.join(a.key for a in artifacts)}."
        )
    return kept


def _read_parity(directory: Path) -> tuple[dict[str, dict[str, float]], str | None]:
    """Returns file -> metric -> value, and what the values were measured on; empty where no parity.json stands."""
    if not metadata.manifest_path(directory, "parity").is_file():
        return {}, None
    parity = metadata.read_manifest(directory, "parity")
    rows = parity["artifacts"]
    if not isinstance(rows, dict) or not all(isinstance(entry, dict) for entry in rows.values()):
        raise metadata.ManifestError(f"{directory}: parity.json says no figures of artifacts. Export the bundle again.")
    found = {}
    for name, entry in rows.items():
        found[name] = {
            key: float(value)
            for key, value in entry.items()
            if key in ACCURACY_METRICS
            and isinstance(value, (int, float))
            and not isinstance(value, bool)
            and math.isfinite(value)
        }
    return found, f"{parity['split']} split, {parity['images']} images"
