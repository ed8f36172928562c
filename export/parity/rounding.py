"""How far another processor's roundings can move the outputs of an artifact.

Kernels differ from processor to processor: in the order of their sums, in how they round halves, in whether they
multiply by 1 / s or divide by s. A value that is rounded to 8 or 16 bits may so end one step to either side, and later
layers make more of it. How much more depends on the network, so it is tried and not guessed: a copy of the artifact
moves every activation that it rounds by a random part of that activation's own step, and the spread of its answers is
what counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dr_edge import scratch
from export.parity import runtime, shaken_onnx, shaken_tflite

DRAWS = 32


def spread(path: str | os.PathLike, photographs: Sequence[np.ndarray], draws: int = DRAWS) -> list[dict[str, float]]:
    """Measures how far an artifact's outputs move where all of its roundings fall otherwise.

    Args:
      path: a .tflite or .onnx file of a bundle.
      photographs: each [1, S, S, 3] uint8.
      draws: runs of the shaken copy for each photograph.

    Returns:
      For each photograph: output name -> the largest difference of any value of that output in any draw; {} for an
      artifact that rounds no activation.
    """
    content, suffix = Path(path).read_bytes(), Path(path).suffix
    copied = shaken_onnx.shaken(content) if suffix == ".onnx" else shaken_tflite.shaken(content)
    if copied is None:
        return [{} for _ in photographs]
    with scratch.directory("rounding") as place:
        copy = place / f"shaken{suffix}"
        copy.write_bytes(copied)
        plain, moved = runtime.open_artifact(path), runtime.open_artifact(copy)
        return [_worst(plain(photograph), (moved(photograph) for _ in range(draws))) for photograph in photographs]


def _worst(expected: Mapping[str, np.ndarray], answers: Iterable[Mapping[str, np.ndarray]]) -> dict[str, float]:
    worst: dict[str, float] = {}
    for answer in answers:
        for name, found in differences(answer, expected).items():
            worst[name] = max(worst.get(name, 0.0), found)
    return worst


def differences(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns output name -> the largest difference of two answers to one photograph.

    A heat map is that of the likeliest class, so where another one is likeliest the two maps say nothing of each other:
    the heat map is then left out.

    Args:
      found, expected: output name -> [1, ...] float32.
    """
    names = set(expected)
    if "heatmap" in names and found["probabilities"].argmax() != expected["probabilities"].argmax():
        names.remove("heatmap")
    return {name: float(np.abs(found[name] - expected[name]).max()) for name in sorted(names)}
