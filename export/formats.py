"""The formats of an artifact: what each is called, what runs it and what it needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from export.graph.deployable import PHONE, PHONE_DYNAMIC, PHONE_INT8, PHONE_INT16, SERVER, SERVER_INT8, Target


@dataclasses.dataclass(frozen=True)
class Format:
    """One kind of artifact.

    Attributes:
      name: as --formats takes it.
      variant: the number format, as it stands in the file name.
      suffix: "tflite" (run by LiteRT) or "onnx" (run by ONNX Runtime).
      target: how the graph is written before conversion.
      calibrated: it needs training photographs to measure the ranges of activations.
      default: made when --formats is not given.
      note: one line for the model card.
    """

    name: str
    variant: str
    suffix: str
    target: Target
    calibrated: bool
    default: bool
    note: str

    @property
    def file(self) -> str:
        """File name in the bundle."""
        return f"model.{self.variant}.{self.suffix}"

    @property
    def key(self) -> str:
        """Key in metadata.json's `artifacts`."""
        return f"{self.variant}.{self.suffix}"


FORMATS = {
    fmt.name: fmt
    for fmt in (
        Format("float32", "float32", "tflite", PHONE, False, True, "the reference; any phone"),
        Format("float16", "float16", "tflite", PHONE, False, True, "half the size; GPU delegates compute in it"),
        Format(
            "dynamic_int8", "dynamic_int8", "tflite", PHONE_DYNAMIC, False, True, "8-bit weights, float activations"
        ),
        Format(
            "static_int8", "static_int8", "tflite", PHONE_INT8, True, True, "8-bit weights and activations; fastest"
        ),
        Format("qat_int8", "qat_int8", "tflite", PHONE_INT8, True, False, "static_int8, fine-tuned with its rounding"),
        Format("int16x8", "int16x8", "tflite", PHONE_INT16, True, False, "8-bit weights, 16-bit activations; slow"),
        Format("onnx_float32", "float32", "onnx", SERVER, False, True, "for ONNX Runtime and Triton"),
        Format("onnx_static_int8", "static_int8", "onnx", SERVER_INT8, True, False, "QDQ, per-channel weights"),
    )
}


def parse_formats(names: Iterable[str]) -> list[Format]:
    """Returns the formats of the given names, in the table's order; the default ones for no name, all for "all".

    Raises:
      ValueError: an unknown name; lists the known ones.
    """
    wanted = {name.strip() for name in names if name.strip()}
    if wanted == {"all"}:
        return list(FORMATS.values())
    unknown = sorted(wanted - set(FORMATS))
    if unknown:
        raise ValueError(f"Unknown formats: {', '.join(unknown)}. Known: {', '.join(FORMATS)} and all.")
    return [fmt for fmt in FORMATS.values() if (fmt.name in wanted if wanted else fmt.default)]
