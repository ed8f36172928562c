"""Runs a `.tflite` artifact in LiteRT: one square photograph in, the bundle's named outputs out. No TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dr_edge.native_output import held_back
from dr_edge.prediction.bundle import Bundle


class Model:
    """One LiteRT interpreter with its own memory; not for two threads at the same time.

    Args:
      bundle: from `open_bundle`.
      threads: for the arithmetic.

    Raises:
      ValueError: LiteRT cannot read the artifact, or it is not what metadata.json states.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter

        if threads < 1:
            raise ValueError(f"threads must be at least 1. Received: {threads}.")
        try:
            with held_back():
                interpreter = Interpreter(model_content=bundle.content, num_threads=threads)
                interpreter.allocate_tensors()
                self._runner = interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as err:
            raise ValueError(f"{bundle.directory / bundle.artifact}: LiteRT cannot read it: {err}") from err
        self._interpreter = interpreter  # the runner does not keep it alive
        self._side = bundle.image_size
        self._input = self._check(bundle)
        self._shapes = {row["name"]: tuple(row["shape"][1:]) for row in bundle.manifest["outputs"]}

    def run(self, crop: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the graph.

        Args:
          crop: [S, S, 3] uint8 RGB from `crop_square`.

        Returns:
          Output name -> float32 array without the batch axis, as metadata.json lists them.

        Raises:
          ValueError: a crop of another shape or dtype.
          FloatingPointError: an output is not finite.
        """
        if crop.shape != (self._side, self._side, 3) or crop.dtype != np.uint8:
            raise ValueError(
                f"The artifact takes [{self._side}, {self._side}, 3] uint8. Received: {crop.shape} {crop.dtype}."
            )
        raw = self._runner(**{self._input: crop[None]})
        outputs = {name: np.array(raw[name], np.float32).reshape(shape) for name, shape in self._shapes.items()}
        for name, value in outputs.items():
            if not np.isfinite(value).all():
                raise FloatingPointError(f"Output {name!r} of the artifact is not finite. Export the bundle again.")
        return outputs

    def _check(self, bundle: Bundle) -> str:
        """Returns the name of the input; raises where signature and metadata.json differ."""
        inputs, outputs = self._runner.get_input_details(), self._runner.get_output_details()
        expected = (1, self._side, self._side, 3)
        stated = {row["name"]: (tuple(row["shape"]), row["dtype"]) for row in bundle.manifest["outputs"]}
        taken, given = _tensors(inputs), _tensors(outputs)
        if list(taken.values()) != [(expected, "uint8")] or given != stated:
            raise ValueError(
                f"{bundle.directory / bundle.artifact} takes {_said(taken)} and gives {_said(given)}; metadata.json "
                f"states {list(expected)} uint8 and {_said(stated)}. Export the bundle again."
            )
        return next(iter(taken))


def _tensors(details: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Returns name -> (shape, dtype) of what LiteRT says of a signature's tensors."""
    return {name: (tuple(row["shape"].tolist()), np.dtype(row["dtype"]).name) for name, row in details.items()}


def _said(tensors: Mapping[str, tuple[tuple[int, ...], str]]) -> str:
    return ", ".join(f"{name} {list(shape)} {dtype}" for name, (shape, dtype) in sorted(tensors.items()))
