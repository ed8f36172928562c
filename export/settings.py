"""Settings of an export, bound by gin, and the limits that they put on what may change (verdict.py applies them)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import gin

from export import licences
from export.formats import FORMATS

# Below the deployable Keras graph on the same stored photographs.
MAX_AUC_DROP = {
    "float16": 0.01, "dynamic_int8": 0.01, "static_int8": 0.01, "qat_int8": 0.01, "int16x8": 0.01,
    "onnx_static_int8": 0.01,
}  # fmt: skip
MAX_DICE_DROP = dict.fromkeys(MAX_AUC_DROP, 0.01)
MAX_PROBABILITY_DIFFERENCE = {"float32": 1e-4, "onnx_float32": 1e-4}
MAX_QUALITY_DIFFERENCE = dict.fromkeys(FORMATS, 0.01)

Limit = float | Mapping[str, float]


@gin.configurable("settings", module="export")
@dataclasses.dataclass(frozen=True)
class Settings:
    """How to export; each field can be bound by gin, for example `export.settings.calibration_images = 256`.

    The limits of artifacts are a number for all formats or {format name: number}, which is added to the defaults above.

    Attributes:
      split: the split of the parity report.
      calibration_images: training photographs for integer formats, the same number of each class.
      max_auc_drop: the most that an artifact's AUC may fall below that of the deployable Keras graph on the same
        photographs.
      max_dice_drop: the same for the Dice coefficient of each mask.
      max_probability_difference: the most that a probability of an artifact may differ from the deployable Keras graph.
      max_quality_difference: the same for the quality of the photograph and its parts.
      max_graph_auc_drop: the most that the AUC of the deployable Keras graph, on the stored photographs, may fall below
        that of the trained network on the records. More than for artifacts, since photographs are stored as JPEG, whose
        losses Graham's gain enlarges: 0.011 on IDRiD at 320 px, 0.041 on drawn images of 96 px. A wrong step costs all
        of the ranking. One swapped pair of images is always permitted.
      max_graph_dice_drop: the same for the Dice coefficient of each mask.
      float_layers: layers of the network that static_int8 and onnx_static_int8 leave in floating point; parity.json
        lists those that lose most to 8 bits.
      operating_point: of metadata.json's operating_points, at which sensitivity is compared.
      onnx_dynamic_batch: the ONNX files take any number of photographs at once.
      triton: write the Triton model repository (three copies of the ONNX model).
      photographs_in_report: show the photographs on which an artifact answers otherwise in parity.html.
      threads: of the runtimes that parity uses.
      license: of the weights, for MODEL_CARD.md: an identifier of the Hugging Face hub such as 'cc-by-4.0'; 'unknown'
        as long as nobody states one. Another licence's name with `license_link`.
      license_link: where the text of a licence is that the hub does not know: an https:// address, or 'LICENSE' for a
        file of that name that you put beside the card.

    Raises:
      ValueError: a limit is no number or names an unknown format, a count is below 1, or the licence is none.
    """

    split: str = "test"
    calibration_images: int = 128
    max_auc_drop: Limit = dataclasses.field(default_factory=dict)
    max_dice_drop: Limit = dataclasses.field(default_factory=dict)
    max_probability_difference: Limit = dataclasses.field(default_factory=dict)
    max_quality_difference: Limit = dataclasses.field(default_factory=dict)
    max_graph_auc_drop: float = 0.1
    max_graph_dice_drop: float = 0.03
    float_layers: Sequence[str] = ()
    operating_point: str = "sensitivity_90"
    onnx_dynamic_batch: bool = False
    triton: bool = True
    photographs_in_report: bool = True
    threads: int = 1
    license: str = licences.UNKNOWN
    license_link: str | None = None

    def __post_init__(self) -> None:
        for name in ("max_auc_drop", "max_dice_drop", "max_probability_difference", "max_quality_difference"):
            _check_limit(name, getattr(self, name))
        for name in ("max_graph_auc_drop", "max_graph_dice_drop"):
            if not is_number(getattr(self, name)):
                raise ValueError(f"export.settings.{name} takes a number. Received: {getattr(self, name)!r}.")
        if self.calibration_images < 1 or self.threads < 1:
            raise ValueError(
                "export.settings needs calibration_images and threads >= 1. "
                f"Received: {self.calibration_images} and {self.threads}."
            )
        licences.stated(self.license, self.license_link)


def limits(settings: Settings) -> dict[str, dict[str, float]]:
    """Returns the limits in force: what is limited -> format name -> limit; "graph": of the deployable graph."""
    return {
        "auc_drop": _by_format(settings.max_auc_drop, MAX_AUC_DROP),
        "dice_drop": _by_format(settings.max_dice_drop, MAX_DICE_DROP),
        "probability_difference": _by_format(settings.max_probability_difference, MAX_PROBABILITY_DIFFERENCE),
        "quality_difference": _by_format(settings.max_quality_difference, MAX_QUALITY_DIFFERENCE),
        "graph": {"auc_drop": settings.max_graph_auc_drop, "dice_drop": settings.max_graph_dice_drop},
    }


def _by_format(given: Limit, defaults: Mapping[str, float]) -> dict[str, float]:
    return {**defaults, **given} if isinstance(given, Mapping) else dict.fromkeys(FORMATS, float(given))


def _check_limit(name: str, given: Any) -> None:
    """Raises ValueError where a limit is neither a number nor {known format: number}."""
    values = given.values() if isinstance(given, Mapping) else [given]
    if not all(is_number(value) for value in values):
        raise ValueError(
            f"export.settings.{name} takes a number for all formats, or numbers by format such as "
            f"{{'static_int8': 0.05}}. Received: {given!r}."
        )
    unknown = sorted(set(given) - set(FORMATS)) if isinstance(given, Mapping) else []
    if unknown:
        raise ValueError(f"export.settings.{name}: Unknown formats: {', '.join(unknown)}. Known: {', '.join(FORMATS)}.")


def is_number(value: Any) -> bool:
    """Says whether a value is a finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
