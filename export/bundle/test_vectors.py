"""Test vectors: a few drawn photographs with everything that an app's own port can be checked against."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dr_edge import metadata
from dr_edge.fundus.crop import crop_square
from dr_edge.fundus.fov import find_fov
from export.parity import rounding, runtime
from tfrecord_tools.synthetic.draw import draw_fundus

SEEDS = (1001, 1002, 1003)
GRADES = (0, 2, 4)
DIRECTORY = "test_vectors"
README = """Test vectors for an app's own port. The photographs are drawn by a program: no patient is shown.

<name>.photograph.png   what a camera would give
<name>.input.npy        [1, S, S, 3] uint8 RGB: the square crop around the field of view, the graph's input
<name>.<output>.npy     float32: what the deployable Keras graph gives for it
vectors.json            crop boxes (top, left, bottom, right in pixels of the photograph; may exceed the frame), and
                        within which "tolerances" each artifact must agree on each photograph, by file name

A port is right when its crop differs by less than 2 grey levels on average from <name>.input.npy, and when the graph,
given exactly <name>.input.npy, gives the outputs within the tolerances of its artifact, on any processor. They are the
sum of what the artifact's number format costs on this photograph, what other roundings to 8 or 16 bits can add, and
what the order of floating-point sums can. Shown is the heat map of the likeliest class: compare it where that class is
the same.
A GPU or NPU that computes in 16-bit floating point is not covered.
"""
# What the order of floating-point sums can do: 24 bits, and what a deep network makes of the last one. SSE, AVX2,
# AVX512 and ARM kernels of LiteRT and ONNX Runtime were at most 2e-5 apart in any output; the rest is for deeper
# networks.
TOLERANCES = {"probabilities": 1e-4, "heatmap": 5e-3, "ood_distance": 1e-2, "masks": 1e-3, "quality": 1e-3}
RELATIVE = 1e-4  # of a distance, which has no upper end

Answer = tuple[np.ndarray, Mapping[str, np.ndarray]]  # [1, S, S, 3] uint8, and output name -> [1, ...] float32


def write_vectors(
    directory: Path,
    side: int,
    graph: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    artifacts: Sequence[str],
    note: str = "",
) -> None:
    """Writes the test vectors of a bundle.

    Args:
      directory: of the bundle.
      side: S of the graph's input.
      graph: from [1, S, S, 3] uint8 to the outputs of the deployable Keras graph.
      artifacts: names of the files in the bundle that get tolerances.
      note: a sentence for the README: which outputs mean the disease.
    """
    target = directory / DIRECTORY
    target.mkdir()
    rows: list[dict[str, Any]] = []
    answers: list[Answer] = []
    for seed, grade in zip(SEEDS, GRADES, strict=True):
        name = f"drawn_grade{grade}"
        photograph = draw_fundus(seed, grade=grade, size=max(512, side)).image
        fov = find_fov(photograph)
        crop = crop_square(photograph, fov, side)[None]
        _, encoded = cv2.imencode(".png", cv2.cvtColor(photograph, cv2.COLOR_RGB2BGR))
        metadata.write_bytes(target / f"{name}.photograph.png", encoded.tobytes())
        _save(target / f"{name}.input.npy", crop)
        outputs = graph(crop)
        answers.append((crop, outputs))
        for output, value in outputs.items():
            _save(target / f"{name}.{output}.npy", value.astype(np.float32))
        rows.append(
            {
                "name": name,
                "photograph": f"{name}.photograph.png",
                "crop_box": [float(edge) for edge in fov.box],
                "input": f"{name}.input.npy",
                "outputs": {output: f"{name}.{output}.npy" for output in outputs},
                "tolerances": {},
            }
        )
    for file in artifacts:
        for row, permitted in zip(rows, tolerances(directory / file, answers), strict=True):
            row["tolerances"][file] = permitted
    metadata.write_json(target / "vectors.json", {"vectors": rows, "tolerances": floating_tolerances(answers)})
    metadata.write_text(target / "README.txt", README + (f"\n{note}\n" if note else ""))


def floating_tolerances(answers: Sequence[Answer]) -> dict[str, float]:
    """Returns output name -> within what floating-point kernels must agree on photographs and expected outputs."""
    permitted = {name: TOLERANCES[name] for name in answers[0][1]}
    if "ood_distance" in permitted:
        farthest = max(float(outputs["ood_distance"].max()) for _, outputs in answers)
        permitted["ood_distance"] = max(permitted["ood_distance"], RELATIVE * farthest)
    return permitted


def tolerances(path: Path, answers: Sequence[Answer]) -> list[dict[str, float]]:
    """Measures within what an artifact agrees with the deployable Keras graph, here and on another processor.

    Args:
      path: of the artifact.
      answers: photographs, each with the outputs that the Keras graph gives.

    Returns:
      For each photograph: output name -> the largest difference that any of its values may have.
    """
    run, rows = runtime.open_artifact(path), []
    moved = rounding.spread(path, [photograph for photograph, _ in answers])
    for (photograph, expected), added in zip(answers, moved, strict=True):
        seen = rounding.differences(run(photograph), expected)
        floating = floating_tolerances([(photograph, expected)])
        rows.append({name: value + seen.get(name, 0.0) + added.get(name, 0.0) for name, value in floating.items()})
    return rows


def _save(path: Path, value: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=False)
    metadata.write_bytes(path, buffer.getvalue())
