"""Makes the files of all wanted formats from one trained network."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from dr_edge import metadata, scratch
from dr_edge.progress import Progress
from export.formats import Format
from export.graph import frozen
from export.graph.deployable import DeployableGraph, Target, image_side, measures_quality, quality_graph
from export.graph.not_made import FormatNotMadeError
from export.onnx import convert as onnx_convert
from export.onnx import static_int8 as onnx_static_int8
from export.tflite import convert as tflite_convert
from export.tflite import graft
from export.tflite import static_int8 as tflite_static_int8


@dataclasses.dataclass
class Conversion:
    """What became of the formats.

    Attributes:
      not_made: format name -> why this network cannot be held by it.
      layer_errors: signal-to-noise ratio of each quantised operation of static_int8, the worst first; see
        `tflite_int8.layer_errors`.
    """

    not_made: dict[str, str] = dataclasses.field(default_factory=dict)
    layer_errors: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def convert_all(
    build: Callable[[Target], DeployableGraph],
    formats: Sequence[Format],
    directory: Path,
    photographs: Sequence[np.ndarray],
    finetune: Callable[[Path], None],
    float_layers: Sequence[str] = (),
    onnx_batch: int | None = 1,
) -> Conversion:
    """Writes one file per format into `directory`.

    Args:
      build: target -> the deployable graph.
      formats: what to make.
      directory: where to.
      photographs: [1, S, S, 3] uint8 training photographs, for formats that are calibrated.
      finetune: writes the SavedModel for qat_int8 to a path.
      float_layers: layers that integer formats leave in floating point.
      onnx_batch: of the ONNX files; None for a dynamic batch.

    Returns:
      What could not be made, and the error of each layer in 8 bits.
    """
    done = Conversion()

    def calibration() -> Iterator[np.ndarray]:
        return iter(photographs)

    with scratch.directory("export") as place:

        @functools.cache
        def graph(target: Target) -> DeployableGraph:
            return build(target)

        @functools.cache
        def saved_model(target: Target) -> Path:
            path = place / f"target{len(list(place.iterdir()))}"
            frozen.save(*frozen.of_model(graph(target).model), path)
            return path

        def static_int8(target: Target) -> bytes:
            calibrated = tflite_static_int8.calibrate(saved_model(target), calibration)
            content = tflite_static_int8.quantise(calibrated, graph(target).head, float_layers)
            done.layer_errors = tflite_static_int8.layer_errors(calibrated)
            return content

        def make(fmt: Format) -> bytes:
            if fmt.suffix == "onnx":
                target = dataclasses.replace(fmt.target, batch=onnx_batch)
                content = onnx_convert.convert_float32(graph(target).model)
                if fmt.variant == "float32":
                    return content
                return onnx_static_int8.quantise(content, calibration, graph(target).head, float_layers)
            if fmt.name == "static_int8":
                return static_int8(fmt.target)
            if fmt.name == "int16x8":
                return tflite_convert.convert_int16x8(saved_model(fmt.target), calibration)
            if fmt.name == "qat_int8":
                path = place / "finetuned"
                finetune(path)
                return tflite_convert.convert_qat_int8(path)
            return tflite_convert.convert_float(saved_model(fmt.target), fmt.variant)

        @functools.cache
        def quality(side: int) -> bytes:
            path = place / "quality"
            frozen.save(*frozen.of_model(quality_graph(side)), path)
            return tflite_convert.convert_float(path, "float32")

        def complete(fmt: Format) -> bytes:
            content = make(fmt)
            side = image_side(graph(fmt.target).model)
            if fmt.target.quality or not measures_quality(side):
                return content
            return graft.grafted(content, quality(side))

        progress = Progress(formats, desc="converting", unit="format", leave=False)
        for fmt in progress:
            progress.set_postfix_str(fmt.name)
            try:
                content = complete(fmt)
            except (FormatNotMadeError, tflite_convert.converter_errors()) as err:
                done.not_made[fmt.name] = str(err).strip().splitlines()[0][:300]
                logging.warning("%s cannot be made from this network: %s", fmt.name, done.not_made[fmt.name])
                continue
            metadata.write_bytes(directory / fmt.file, content)
    return done
