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
MAX_DICE_DROP = dict.fromkeys(MAX_AUC_DROP, 0.01)
MAX_PROBABILITY_DIFFERENCE = {"float32": 1e-4, "onnx_float32": 1e-4}


@gin.configurable("settings", module="export")
@dataclasses.dataclass(frozen=True)
class Settings:
    """How to export; each field can be bound by gin, for example `export.settings.calibration_images = 256`.

    Attributes:
      split: the split of the parity report.
      calibration_images: training photographs for integer formats, the same number of each class.
      max_auc_drop: format name -> the most that the AUC may fall below Keras; added to MAX_AUC_DROP.
      max_dice_drop: the same for the Dice coefficient of each mask; added to MAX_DICE_DROP.
      max_probability_difference: format name -> the most that a probability may differ from the deployable
        Keras graph; added to MAX_PROBABILITY_DIFFERENCE.
      float_layers: layers of the network that static_int8 and onnx_static_int8 leave in floating point; parity.json
        lists those that lose most to 8 bits.
      operating_point: of metadata.json's operating_points, at which sensitivity is compared.
      onnx_dynamic_batch: the ONNX files take any number of photographs at once.
      triton: write the Triton model repository (three copies of the ONNX model).
      photographs_in_report: show the photographs on which an artifact answers otherwise in parity.html.
      threads: of the runtimes that parity uses.
    """

    split: str = "test"
    calibration_images: int = 128
    max_auc_drop: Mapping[str, float] = dataclasses.field(default_factory=dict)
    max_dice_drop: Mapping[str, float] = dataclasses.field(default_factory=dict)
    max_probability_difference: Mapping[str, float] = dataclasses.field(default_factory=dict)
    float_layers: Sequence[str] = ()
    operating_point: str = "sensitivity_90"
    onnx_dynamic_batch: bool = False
    triton: bool = True
    photographs_in_report: bool = True
    threads: int = 1

    def __post_init__(self) -> None:
        parse_formats([*self.max_auc_drop, *self.max_dice_drop, *self.max_probability_difference])
        if self.calibration_images < 1 or self.threads < 1:
            raise ValueError(
                f"export.settings needs calibration_images and threads >= 1. "
                f"Received: {self.calibration_images} and {self.threads}."
            )


def limits(settings: Settings) -> dict[str, dict[str, float]]:
    """Returns the thresholds in force: what is limited -> format name -> limit."""
    return {
        "auc_drop": {**MAX_AUC_DROP, **settings.max_auc_drop},
        "dice_drop": {**MAX_DICE_DROP, **settings.max_dice_drop},
        "probability_difference": {**MAX_PROBABILITY_DIFFERENCE, **settings.max_probability_difference},
    }


def failures(report: Mapping[str, Any], formats: Sequence[Format], settings: Settings) -> list[str]:
    """Returns one sentence for each threshold that a row of the report passes; what is undefined passes none.

    Args:
      report: the content of parity.json.
      formats: what was wanted; a format without a row is passed over.
      settings: with the thresholds.
    """
    differences = limits(settings)["probability_difference"]
    found = []
    for fmt in formats:
        row = report["artifacts"].get(fmt.file)
        if row is None:
            continue
        for metric, drop in row["drop"].items():
            reason = _drop_failure(fmt.name, metric, drop, report, settings)
            found += [reason] if reason else []
        difference, limit = row["max_probability_difference"], differences.get(fmt.name)
        if limit is not None and not difference <= limit:
            found.append(f"{fmt.name}: a probability differs by {difference:.1e} from Keras, permitted are {limit:.0e}")
    return found


def _drop_failure(
    name: str, metric: str, drop: float | None, report: Mapping[str, Any], settings: Settings
) -> str | None:
    """Returns why the fall of one metric is no proof of equality, or None where it is or the metric has no threshold."""
    if metric == "auc":
        setting, kind = "max_auc_drop", "auc_drop"
    elif metric.startswith("dice"):
        setting, kind = "max_dice_drop", "dice_drop"
    else:
        return None
    limit, called = limits(settings)[kind].get(name), "AUC" if metric == "auc" else metric.capitalize()
    if drop is None:
        return (
            f"{name}: the {called} is undefined on the {report['images']} images of {report['split']}, so nothing is "
            f"proved (build records whose {report['split']} split holds every class)"
        )
    if limit is None or drop <= limit:
        return None
    return (
        f"{name}: the {called} falls by {drop:.4f} on {report['images']} images of {report['split']}, permitted are "
        f"{limit} (leave layers in floating point by export.settings.float_layers, calibrate on more images, or raise "
        f"export.settings.{setting})"
    )
