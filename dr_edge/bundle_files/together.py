"""What fields of metadata.json must agree on; each check returns None, or the words of what does not.

Each field is already known to hold what its row in `schema` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dr_edge.bundle_files.rules import is_path
from dr_edge.verdict import BETTER

OF_ITSELF = ("metadata.json", "bundle.sha256", "bundle.sha256.sig")  # which `files` cannot list
ANSWERS = {"classification": "probabilities", "multilabel": "probabilities", "segmentation": "masks"}
QUALITY = ("score", "focus", "contrast", "illumination", "fov_fraction", "colour")  # an answer has all of them

Manifest = Mapping[str, Any]


def _files(manifest: Manifest) -> str | None:
    for name in manifest["files"]:
        if not is_path(name) or name in OF_ITSELF:
            return f"that {name!r} is one of its files, which is no file of a bundle."
    taken: set[str] = set()
    for key, entry in manifest["artifacts"].items():
        name = entry["file"]
        if manifest["files"].get(name) != entry["sha256"]:
            return f"one SHA-256 of {name} in artifacts.{key}, and another or none in files."
        if name in taken:
            return f"that {name} is the file of two artifacts."
        taken.add(name)
    return None


def _input(manifest: Manifest) -> str | None:
    side = manifest["image_size"]
    shapes = [row["shape"] for row in manifest["inputs"]]
    if shapes != [[1, side, side, 3]]:
        return f"image_size = {side} and inputs of the shapes {shapes}; one of [1, {side}, {side}, 3] is needed."
    return None


def _outputs(manifest: Manifest) -> str | None:
    """The names in the order of the outputs are as many as the outputs."""
    names, kind, side = manifest["task"]["class_names"], manifest["task"]["kind"], manifest["image_size"]
    shapes = {row["name"]: row["shape"] for row in manifest["outputs"]}
    if len(shapes) < len(manifest["outputs"]):
        return f"the outputs {', '.join(row['name'] for row in manifest['outputs'])}, one of them twice."
    wanted, count = ANSWERS[kind], len(names)
    if wanted not in shapes:
        return f"the outputs {', '.join(shapes) or 'none'}; a {kind} needs {wanted}."
    shape = [1, side, side, count] if wanted == "masks" else [1, count]
    if shapes[wanted] != shape:
        return f"{count} class_names and {wanted} of the shape {shapes[wanted]}; {shape} is needed."
    if len(shapes.get("heatmap", "four")) not in (3, 4):
        return f"heatmap of the shape {shapes['heatmap']}; [1, height, width] is needed."
    return None


def _classes(manifest: Manifest) -> str | None:
    """Some of the classes, but not all, are the disease."""
    task = manifest["task"]
    names = task["class_names"]
    odd = [name for name in task.get("centres", ()) if name not in names]
    if odd:
        return f"that {odd[0]!r} is one of task.centres, but class_names = {names}."
    if task["kind"] != "classification":
        return None
    if len(names) < 2:
        return f"class_names = {names}; a classification has two or more."
    found = task.get("positive_indices")
    if found is None:
        return None
    if len(set(found)) < len(found) or not set(found) < set(range(len(names))):
        return f"that the classes {found} of {names} are the disease; some of them, but not all, can be."
    if task.get("positive_index") not in (None, *found) or (len(found) == 1) != (
        task.get("positive_index") is not None
    ):
        return f"positive_index = {task.get('positive_index')} and positive_indices = {found}."
    missing = [key for key in ("positive_class", "negative_class") if found and not task.get(key)]
    return f"which classes are the disease, but lacks {missing[0]}, their name." if missing else None


def _points(manifest: Manifest) -> str | None:
    for holder in (manifest, *manifest["artifacts"].values()):
        names = [point["name"] for point in holder.get("operating_points", ())]
        if len(set(names)) < len(names):
            return f"the operating points {', '.join(names)}, one of them twice."
    return None


def _distance(manifest: Manifest) -> str | None:
    """Where a distance is given it has a threshold, or a reason why none."""
    if "ood_distance" not in {row["name"] for row in manifest["outputs"]}:
        return None
    for holder in (manifest, *manifest["artifacts"].values()):
        ood = holder.get("ood")
        if ood is not None and not {"threshold", "reason"} & set(ood):
            return "neither a threshold of the ood_distance nor a reason why there is none."
    return None if "ood" in manifest else "no ood, which is the threshold of its output ood_distance."


def _quality(manifest: Manifest) -> str | None:
    """Where the quality is given it is said what its values are, the score among them."""
    shape = {row["name"]: row["shape"] for row in manifest["outputs"]}.get("quality")
    if shape is None:
        return None
    if "quality" not in manifest:
        return "no quality, which names the values of its output quality and states the smallest score."
    names = manifest["quality"]["names"]
    missing = [name for name in QUALITY if name not in names]
    if missing or shape != [1, len(names)]:
        return f"quality.names = {names} and quality of the shape {shape}; {', '.join(QUALITY)}, one each, are needed."
    return None


def _verdict(manifest: Manifest) -> str | None:
    """Whoever reads an answer of a model that is not known to be better than guessing is told so."""
    verdict = manifest.get("verdict", {})
    if verdict.get("status", BETTER) != BETTER and not verdict.get("caution"):
        return f"the verdict {verdict['status']!r}, but lacks its caution, which every answer repeats."
    return None


CHECKS: tuple[Callable[[Manifest], str | None], ...] = (
    _files,
    _input,
    _classes,
    _outputs,
    _points,
    _distance,
    _quality,
    _verdict,
)
