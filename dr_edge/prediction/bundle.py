"""Opens a bundle: the manifest, one `.tflite` artifact whose SHA-256 was checked, and the thresholds that apply.

No TensorFlow import. What was hashed is what runs: the bytes are read once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dr_edge import metadata, verdict
from dr_edge.bundle_files.read import read_bundle
from dr_edge.fundus.appearance import wanted
from dr_edge.fundus.quality import DEFAULT_MIN_QUALITY
from dr_edge.prediction import disease

DEFAULT_ARTIFACTS = ("float32", "float16", "static_int8", "qat_int8", "dynamic_int8", "int16x8")
# For screening a missed disease costs more than a visit too many; the first of these that the bundle states decides.
DEFAULT_OPERATING_POINTS = ("sensitivity_90", "sensitivity_87", "youden")


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """A threshold of the positive class's probability, chosen on validation images.

    Attributes:
      name: for example "sensitivity_90".
      threshold: positive from here on, 0..1.
      sensitivity, specificity: on the images that it was chosen on, 0..1.
    """

    name: str
    threshold: float
    sensitivity: float
    specificity: float


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A bundle with one artifact of it, ready to run.

    Attributes:
      directory: where it stands.
      manifest: the content of metadata.json.
      artifact: file name of the chosen artifact.
      sha256: of its bytes, checked, 64 hexadecimal digits.
      content: its bytes.
      operating_point: the one that decides, or None where the task has none.
      min_quality: photographs below this score (0..1) are not graded.
    """

    directory: Path
    manifest: Mapping[str, Any]
    artifact: str
    sha256: str
    content: bytes = dataclasses.field(repr=False)
    operating_point: OperatingPoint | None
    min_quality: float

    @property
    def image_size(self) -> int:
        """Side S of the crop in pixels."""
        return int(self.manifest["image_size"])

    @property
    def pictures(self) -> tuple[str, ...]:
        """Kinds of pictures (colour, greyscale, normalised) that the model was trained on."""
        return wanted(self.manifest["preprocess"]["method"], self.manifest.get("pictures"))

    @property
    def states_pictures(self) -> bool:
        """Whether the bundle says which kinds its records held; bundles of earlier releases do not."""
        return bool(self.manifest.get("pictures"))

    @property
    def kind(self) -> str:
        """'classification', 'multilabel' or 'segmentation'."""
        return str(self.manifest["task"]["kind"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of the outputs."""
        return tuple(self.manifest["task"]["class_names"])

    @property
    def positive(self) -> tuple[int, ...]:
        """Indices of the classes that mean the disease; () where none does, or the task is no classification."""
        return tuple(self.manifest["task"].get("positive_indices", ()))

    @property
    def positive_name(self) -> str:
        """The classes of the disease in words, for example "glaucoma" or "grade >= 2"."""
        return str(self.manifest["task"].get("positive_class") or "")

    @property
    def negative_name(self) -> str:
        """The other classes in words."""
        return str(self.manifest["task"].get("negative_class") or "")

    @property
    def centres(self) -> tuple[str, ...]:
        """Those of `class_names` that are one point each (the fovea): their mask is a heat map of it."""
        stated = self.manifest["task"].get("centres", ())
        return tuple(name for name in self.class_names if name in stated)

    @property
    def verdict(self) -> Mapping[str, Any]:
        """Whether the model is better than guessing (`dr_edge.verdict`); "unknown" for an older bundle."""
        return verdict.of_bundle(self.manifest)

    @property
    def measures_quality(self) -> bool:
        """Whether the artifact gives the quality of the photograph; those of earlier releases do not."""
        return any(row["name"] == "quality" for row in self.manifest["outputs"])

    @property
    def ood_threshold(self) -> float | None:
        """Distance above which a photograph is unlike the training images; None where the bundle states none."""
        value = self.manifest.get("ood", {}).get("threshold")
        return None if value is None else float(value)


def open_bundle(
    directory: str | os.PathLike,
    artifact: str | None = None,
    operating_point: str | None = None,
    min_quality: float | None = None,
    require_signature: str | os.PathLike | None = None,
) -> Bundle:
    """Opens the bundle in `directory`.

    Args:
      directory: what `python -m export` wrote.
      artifact: variant ('static_int8'), key or file name of a `.tflite` artifact; None for the first that there is
        of DEFAULT_ARTIFACTS.
      operating_point: name of one of the manifest's; None for the first that there is of DEFAULT_OPERATING_POINTS.
      min_quality: 0..1; None for what the bundle states, or DEFAULT_MIN_QUALITY where it is of an earlier release.
      require_signature: PEM file of the public key that must have signed the bundle; None: none.

    Raises:
      ManifestError: no bundle, an incomplete one, a file that is not the one that was exported, a field of
        metadata.json that makes no sense, or a bundle that this key did not sign.
      ValueError: the artifact or the operating point is not in it; names those that are.
    """
    directory = Path(directory)
    manifest = disease.stated(read_bundle(directory, require_signature))
    entry = _choose(directory, manifest["artifacts"], artifact)
    name, expected = entry["file"], entry["sha256"]
    path = directory / name
    if not path.is_file():
        raise metadata.ManifestError(f"{path} is missing, although metadata.json lists it. Export the bundle again.")
    content = path.read_bytes()
    actual = hashlib.sha256(content).hexdigest()
    if actual != expected:
        raise metadata.ManifestError(
            f"{path}: sha256 {actual[:12]}... differs from {expected[:12]}... in metadata.json. The file was changed "
            "after it was exported; copy or export the bundle again."
        )
    # Eight bits shift the distances, fine-tuning (qat_int8) the logits too: an artifact may have thresholds of its own.
    manifest = {**manifest, **{key: entry[key] for key in ("ood", "operating_points") if key in entry}}
    stated = manifest.get("quality", {}).get("minimum", DEFAULT_MIN_QUALITY)
    quality = float(stated if min_quality is None else min_quality)
    if not 0 <= quality <= 1:
        raise ValueError(f"The smallest quality must lie in 0..1. Received: {quality}.")
    point = deciding_point(directory, manifest.get("operating_points", []), operating_point)
    return Bundle(directory, manifest, name, actual, content, point, quality)


def _choose(directory: Path, artifacts: Mapping[str, Any], wanted: str | None) -> Mapping[str, Any]:
    """Returns the manifest's entry of the `.tflite` artifact that `wanted` names."""
    usable = {key: entry for key, entry in artifacts.items() if entry.get("format") == "tflite"}
    known = ", ".join(entry["variant"] for entry in usable.values()) or "none"
    if wanted is not None:
        for key, entry in usable.items():
            if wanted in (key, entry["variant"], entry["file"]):
                return entry
        raise ValueError(f"{directory} holds no .tflite artifact {wanted!r}. It has: {known}.")
    for variant in DEFAULT_ARTIFACTS:
        for entry in usable.values():
            if entry["variant"] == variant:
                return entry
    raise ValueError(
        f"{directory} holds no .tflite artifact that is known here (it has: {known}). Export one: "
        "python -m export --formats=float32"
    )


def deciding_point(
    directory: Path, listed: Sequence[Mapping[str, Any]], wanted: str | None = None
) -> OperatingPoint | None:
    """Returns the operating point that decides: `wanted`, or the first of DEFAULT_OPERATING_POINTS that is listed.

    Args:
      directory: of the bundle or run, for the error.
      listed: of a metadata.json, or as they were fitted.
      wanted: a name; None for the default.

    Raises:
      ValueError: `wanted` is not listed.
    """
    points = {point["name"]: point for point in listed}
    if wanted is not None and wanted not in points:
        known = ", ".join(points) or "none (its task has none, or its validation images were of one class)"
        raise ValueError(f"{directory} states no operating point {wanted!r}. It has: {known}.")
    names = (wanted,) if wanted is not None else DEFAULT_OPERATING_POINTS
    for name in names:
        if name in points:
            point = points[name]
            values = (float(point[key]) for key in ("threshold", "sensitivity", "specificity"))
            return OperatingPoint(name, *values)
    return None
