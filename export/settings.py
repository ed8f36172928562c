"""Settings of an export, bound by gin, and the thresholds that make it fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import gin

from export.formats import Format, parse_formats

MAX_AUC_DROP = {
    "float16": 0.01, "dynamic_int8": 0.01, "static_int8": 0.01, "qat_int8": 0.01, "int16x8": 0.01,
    "onnx_static_int8": 0.01,
}  # fmt: skip
MAX_PROBABILITY_DIFFERENCE = {"float32": 1e-4, "onnx_float32": 1e-4}


@gin.configurable("settings", module="export")
@dataclasses.dataclass(frozen=True)
class Settings:
    """How to export; each field can be bound by gin, for example `export.settings.calibration_images = 256`.

    Attributes:
      split: the split of the parity report.
      calibration_images: training photographs for integer formats, the same number of each class.
      max_auc_drop: format name -> the most that the AUC may fall below Keras; added to MAX_AUC_DROP.
      max_probability_difference: format name -> the most that a probability may differ from the deployable
        Keras graph; added to MAX_PROBABILITY_DIFFERENCE.
      float_layers: layers of the network that integer formats leave in floating point; parity.json lists those
        that lose most to 8 bits.
      operating_point: of metadata.json's operating_points, at which sensitivity is compared.
      onnx_dynamic_batch: the ONNX files take any number of photographs at once.
      triton: write the Triton model repository (three copies of the ONNX model).
      photographs_in_report: show the photographs on which an artifact answers otherwise in parity.html.
      threads: of the runtimes that parity uses.
    """

    split: str = "test"
    calibration_images: int = 128
    max_auc_drop: Mapping[str, float] = dataclasses.field(default_factory=dict)
    max_probability_difference: Mapping[str, float] = dataclasses.field(default_factory=dict)
    float_layers: Sequence[str] = ()
    operating_point: str = "youden"
    onnx_dynamic_batch: bool = False
    triton: bool = True
    photographs_in_report: bool = True
    threads: int = 1

    def __post_init__(self) -> None:
        parse_formats([*self.max_auc_drop, *self.max_probability_difference])
        if self.calibration_images < 1 or self.threads < 1:
            raise ValueError(
                f"export.settings needs calibration_images and threads >= 1. "
                f"Received: {self.calibration_images} and {self.threads}."
            )


def failures(report: Mapping[str, Any], formats: Sequence[Format], settings: Settings) -> list[str]:
    """Returns one sentence for each threshold that a row of the report passes; NaN passes none.

    Args:
      report: the content of parity.json.
      formats: what was wanted; a format without a row is passed over.
      settings: with the thresholds.
    """
    drops = {**MAX_AUC_DROP, **settings.max_auc_drop}
    differences = {**MAX_PROBABILITY_DIFFERENCE, **settings.max_probability_difference}
    found = []
    for fmt in formats:
        row = report["artifacts"].get(fmt.file)
        if row is None:
            continue
        drop, limit = row["drop"].get("auc"), drops.get(fmt.name)
        if limit is not None and drop is not None and not drop <= limit:
            found.append(
                f"{fmt.name}: the AUC falls by {drop:.4f} on {report['images']} images of {report['split']}, permitted "
                f"are {limit} (leave layers in floating point by export.settings.float_layers, calibrate on more "
                f"images, or raise export.settings.max_auc_drop)"
            )
        difference, limit = row["max_probability_difference"], differences.get(fmt.name)
        if limit is not None and not difference <= limit:
            found.append(f"{fmt.name}: a probability differs by {difference:.1e} from Keras, permitted are {limit:.0e}")
    return found
