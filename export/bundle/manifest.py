"""metadata.json: what an app must know of a bundle, with the sha256 of every file."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dr_edge import metadata
from dr_edge.bundle_files import digests
from dr_edge.bundle_files.read import read_bundle
from dr_edge.bundle_files.schema import DIGESTS
from dr_edge.calibration import store
from dr_edge.calibration.fit import Fit
from dr_edge.calibration.store import Basis
from dr_edge.data import pipeline
from dr_edge.data.known_patients import patients_sentence
from dr_edge.data.records_info import RecordsInfo, read_info
from dr_edge.data.tasks import Task
from dr_edge.evaluation.heatmap_checks.verdict import SYNTHETIC
from dr_edge.fundus.quality import DEFAULT_MIN_QUALITY
from dr_edge.fundus.quality_layer import NAMES
from dr_edge.runs import TrainedRun
from export.formats import FORMATS, Format
from export.graph.deployable import INPUT_NAME, QUALITY, DeployableGraph
from export.onnx import convert as onnx_convert
from export.tflite import convert as tflite_convert

OLDEST_TESTED = {"tflite": "tflite-runtime 2.14.0", "onnx": "onnxruntime 1.31.1"}
INPUT_UNIT = "RGB 0..255, the square crop around the field of view; normalisation is inside the graph"
UNITS = {
    "probabilities": (
        "calibrated probability of each class, 0..1, in the order of class_names; of a classification those of "
        "task.positive_indices mean the disease, and the operating points' thresholds are of their sum"
    ),
    "heatmap": "Grad-CAM of the predicted class at the last feature map, 0..1; enlarge it bilinearly to the crop",
    "ood_distance": (
        "Mahalanobis distance from the training images; above the artifact's ood.threshold the photograph is unusual"
    ),
    "masks": (
        "probability of each mask per pixel, 0..1, in the order of class_names; of those in task.centres, if any, a "
        "heat map whose peak is the point"
    ),
    "quality": (
        "how gradable the photograph is, 0..1, in the order of quality.names; with a score below "
        "quality.minimum the photograph is not answered"
    ),
}
SYNTHETIC_WARNING = "This model was trained on drawn images: its answers about real eyes mean nothing."
UNKNOWN = "not known: its records are gone"
PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "onnx", "onnxruntime")


def write_metadata(
    directory: Path,
    run: TrainedRun,
    graph: DeployableGraph,
    fit: Fit,
    formats: Sequence[Format],
    training: Mapping[str, Any],
    report: Mapping[str, Any],
) -> None:
    """Writes metadata.json and bundle.sha256; every other file of the bundle must stand in `directory` already.

    Args:
      directory: of the bundle.
      run: what was exported.
      graph: the deployable graph.
      fit: what was fitted.
      formats: of which those with a file are listed.
      training: from `training_facts`.
      report: the content of parity.json.

    Raises:
      ManifestError: what stands there would not be read.
    """
    files = {
        path.relative_to(directory).as_posix(): metadata.sha256_file(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
    content = {
        "task": _stated_task(run.task),
        "image_size": run.image_size,
        "preprocess": dict(run.preprocess),
        "pictures": run.content.get("pictures"),
        **_tensors(run.image_size, graph),
        "artifacts": _artifacts(directory, files, fit, formats, report),
        "files": files,
        "digests": DIGESTS,
        "calibration": fit.calibration | {"caution": report["calibration_caution"]},
        "operating_points": fit.operating_points,
        "ood": fit.ood,
        **_quality(graph),
        "training": {
            "model": run.content["model"],
            "best": run.content["best"],
            **training,
        },
        "warning": _warning(run.task, training),
        "verdict": report["verdict"],
        "records": report["records"],
        "parity": {"split": report["split"], "images": report["images"]},
        "oldest_runtime_tested": {suffix: OLDEST_TESTED[suffix] for suffix in sorted({fmt.suffix for fmt in formats})},
        "made_with": {name: importlib.metadata.version(name) for name in PACKAGES},
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    metadata.write_manifest(directory, "bundle", content)
    digests.write(directory)
    read_bundle(directory)


def _artifacts(
    directory: Path, files: Mapping[str, str], fit: Fit, formats: Sequence[Format], report: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Returns what is said of each artifact; of one whose features have moved, its own threshold of the distance too.

    Args:
      directory: of the bundle.
      files: path -> sha256; a format without a file is left out.
      fit: what was fitted.
      formats: those that were asked for.
      report: the content of parity.json.
    """
    artifacts: dict[str, dict[str, Any]] = {
        fmt.key: {
            "file": fmt.file,
            "sha256": files[fmt.file],
            "bytes": (directory / fmt.file).stat().st_size,
            "variant": fmt.variant,
            "format": fmt.suffix,
            "minimum_runtime": _minimum_runtime(fmt, (directory / fmt.file).read_bytes()),
            "note": fmt.note,
        }
        for fmt in formats
        if fmt.file in files
    }
    own = report["finetuning"]
    if own and FORMATS["qat_int8"].key in artifacts:  # its features and logits have moved, and its thresholds with them
        artifacts[FORMATS["qat_int8"].key] |= {key: own[key] for key in ("temperature", "ood", "operating_points")}
    for fmt in formats:
        row = report["artifacts"].get(fmt.file, {})
        if "ood" in row:  # 8 bits shift the features, and the threshold with them
            stated = own["ood"] if own and fmt.name == "qat_int8" else fit.ood
            artifacts[fmt.key]["ood"] = row["ood"] if "reason" in row["ood"] else {**stated, **row["ood"]}
    return artifacts


def _tensors(side: int, graph: DeployableGraph) -> dict[str, Any]:
    """Returns "inputs", "outputs" and "outputs_left_out" of the artifacts, whose input is [1, side, side, 3]."""
    tensors = graph.model.output
    return {
        "inputs": [{"name": INPUT_NAME, "shape": [1, side, side, 3], "dtype": "uint8", "unit": INPUT_UNIT}],
        "outputs": [
            {"name": name, "shape": list(tensors[name].shape), "dtype": "float32", "unit": UNITS[name]}
            for name in graph.outputs
        ],
        "outputs_left_out": dict(graph.left_out),
    }


def _quality(graph: DeployableGraph) -> dict[str, Any]:
    """Returns what the values of the output `quality` are called, and below which score nothing is answered."""
    if QUALITY not in graph.outputs:
        return {}
    return {QUALITY: {"minimum": DEFAULT_MIN_QUALITY, "names": list(NAMES)}}


def positive_words(task: Task) -> str:
    """Returns which of `probabilities` mean the disease, for those who read the outputs themselves."""
    if not task.positive:
        return "None of the classes is stated to be a disease: there is no operating point, and nobody is referred."
    places = " and ".join(str(index) for index in task.positive)
    one = len(task.positive) == 1
    return (
        f"{task.disease}. Output {places} of `probabilities` (counted from 0) "
        f"{'is' if one else 'are'} the disease; thresholds, sensitivity and specificity are of "
        f"{'that probability' if one else 'the sum of these probabilities'}."
    )


def _warning(task: Task, training: Mapping[str, Any]) -> str | None:
    """Returns what whoever reads an answer must be told; None for nothing."""
    said = [SYNTHETIC_WARNING] if training["dataset"] == SYNTHETIC else []
    said += [] if task.caution is None else [task.caution]
    return " ".join(said) or None


def training_facts(run: TrainedRun, basis: Basis) -> dict[str, Any]:
    """Returns what the run was trained on, whatever records it is exported with.

    Returns:
      dataset, splits {split: photographs}, classes (`counted_classes`), patients (a sentence: do they cross splits?)
      and source (title, address and licence of the data set; None where the records do not say). Where the records are
      gone, what run.json says: dataset (UNKNOWN where it says nothing), splits with "train" alone or empty, classes
      empty, and the rest left out.
    """
    if basis.own and basis.records is not None:
        info = read_info(basis.records)
        splits = {name: split["examples"] for name, split in info.content["splits"].items()}
        return {
            "dataset": info.content["dataset"], "splits": splits, "classes": counted_classes(info, run.task),
            "patients": patients_sentence(info.content), "source": info.content.get("source"),
        }  # fmt: skip
    images = run.content.get("training_examples")
    splits = {} if images is None else {"train": images}
    return {"dataset": run.content.get("dataset", UNKNOWN), "splits": splits, "classes": {}}


def records_used(
    run: TrainedRun, basis: Basis, training: Mapping[str, Any], given: str | os.PathLike, calibrated: bool
) -> dict[str, dict[str, Any] | None]:
    """Returns which records stand behind which part of a bundle.

    Args:
      run: what is exported.
      basis: what is fitted to it.
      training: from `training_facts`.
      given: the records of calibration and parity.
      calibrated: a format measures its ranges on photographs.

    Returns:
      fit (temperature, operating points, distance), int8_ranges (None where there are none) and parity, each {dataset,
      trained_on: whether these are the records that the model was trained on}.
    """
    other = {"dataset": read_info(given).content["dataset"], "trained_on": store.is_trained_on(run, given)}
    fit = {"dataset": training["dataset"], "trained_on": True} if basis.own else other
    return {"fit": fit, "int8_ranges": other if calibrated else None, "parity": other}


def _stated_task(task: Task) -> dict[str, Any]:
    """Returns what an app must know of the task; "centres" names the classes whose mask is a heat map of one point.

    Of a classification, which classes are the disease: "positive_class" (and "negative_class") in words,
    "positive_index" where it is one, else None, and "positive_indices". The thresholds of the operating points are of
    the sum of their probabilities.
    """
    stated: dict[str, Any] = {"name": task.name, "kind": task.kind, "class_names": list(task.class_names)}
    if task.kind == "classification":
        stated |= {
            "positive_class": task.positive_name or None,
            "negative_class": task.negative_name or None,
            "positive_index": task.positive[0] if len(task.positive) == 1 else None,
            "positive_indices": list(task.positive),
        }
    return stated | {"centres": list(task.class_names[len(task.masks) :])} if task.draws_centres else stated


def counted_classes(info: RecordsInfo, task: Task) -> dict[str, dict[str, Any]]:
    """Counts the classes of each split, as the task relabels them.

    Returns:
      Split -> classification: {class: photographs}; multilabel: {disease: {"absent": photographs, "present": ...}},
      those without the label left out; segmentation: {mask: photographs that have it}, as far as the records state it.
    """
    counted = {}
    for split, stated in info.content["splits"].items():
        if task.kind == "segmentation":
            names = dict(zip(task.masks, task.class_names, strict=False))  # names of points come behind those of masks
            masks = stated.get("masks", {})
            counted[split] = {called: int(masks[name]) for name, called in names.items() if name in masks}
            continue
        counts = pipeline.class_counts(info, split, task).tolist()
        if task.kind == "multilabel":
            counts = [dict(zip(("absent", "present"), pair, strict=True)) for pair in counts]
        counted[split] = dict(zip(task.class_names, counts, strict=True))
    return counted


def _minimum_runtime(fmt: Format, content: bytes) -> str:
    """Returns the oldest runtime that has every operation of an artifact."""
    if fmt.suffix == "onnx":
        return f"ONNX opset {onnx_convert.OPSET} (onnxruntime 1.14)"
    return f"TensorFlow Lite {tflite_convert.minimum_runtime(content)}"
