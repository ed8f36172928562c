"""Test vectors: a few drawn photographs with everything that an app's own port can be checked against."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dr_edge import metadata
from dr_edge.fundus.crop import crop_square
from dr_edge.fundus.fov import find_fov
from tfrecord_tools.synthetic.draw import draw_fundus

SEEDS = (1001, 1002, 1003)
GRADES = (0, 2, 4)
DIRECTORY = "test_vectors"
README = """Test vectors for an app's own port. The photographs are drawn by a program: no patient is shown.

<name>.photograph.png   what a camera would give
<name>.input.npy        [1, S, S, 3] uint8 RGB: the square crop around the field of view, the graph's input
<name>.<output>.npy     float32: what the deployable Keras graph gives for it
vectors.json            crop boxes (top, left, bottom, right in pixels of the photograph; may exceed the frame) and the
                        tolerances within which a float32 artifact must agree

A port is right when its crop differs by less than 2 grey levels on average from <name>.input.npy, and when the graph,
given exactly <name>.input.npy, gives the outputs within the tolerances.
"""
TOLERANCES = {"probabilities": 1e-4, "heatmap": 5e-3, "ood_distance": 1e-2, "masks": 1e-3}


def write_vectors(
    directory: Path, side: int, graph: Callable[[np.ndarray], Mapping[str, np.ndarray]], note: str = ""
) -> None:
    """Writes the test vectors of a bundle.

    Args:
      directory: of the bundle.
      side: S of the graph's input.
      graph: from [1, S, S, 3] uint8 to the outputs of the deployable Keras graph.
      note: a sentence for the README: which outputs mean the disease.
    """
    target = directory / DIRECTORY
    target.mkdir()
    rows: list[dict[str, Any]] = []
    for seed, grade in zip(SEEDS, GRADES, strict=True):
        name = f"drawn_grade{grade}"
        photograph = draw_fundus(seed, grade=grade, size=max(512, side)).image
        fov = find_fov(photograph)
        crop = crop_square(photograph, fov, side)[None]
        _, encoded = cv2.imencode(".png", cv2.cvtColor(photograph, cv2.COLOR_RGB2BGR))
        metadata.write_bytes(target / f"{name}.photograph.png", encoded.tobytes())
        _save(target / f"{name}.input.npy", crop)
        outputs = graph(crop)
        for output, value in outputs.items():
            _save(target / f"{name}.{output}.npy", value.astype(np.float32))
        rows.append(
            {
                "name": name,
                "photograph": f"{name}.photograph.png",
                "crop_box": [float(edge) for edge in fov.box],
                "input": f"{name}.input.npy",
                "outputs": {output: f"{name}.{output}.npy" for output in outputs},
            }
        )
    kept = {name: TOLERANCES[name] for name in rows[0]["outputs"]}
    metadata.write_json(target / "vectors.json", {"vectors": rows, "tolerances": kept})
    metadata.write_text(target / "README.txt", README + (f"\n{note}\n" if note else ""))


def _save(path: Path, value: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=False)
    metadata.write_bytes(path, buffer.getvalue())
