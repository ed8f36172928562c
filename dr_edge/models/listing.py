"""What is known of the registered networks without building one: measured.json, and tables of it. No TensorFlow."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).with_name("measured.json")
ROWS = "networks"
TITLES = {"model": "Models", "backbone": "Backbones", "encoder": "Encoders of a UNet"}
HEADS = {
    "float32": "f32", "float16": "f16", "dynamic_int8": "dyn8", "static_int8": "int8", "int16x8": "16x8",
    "qat_int8": "qat8", "onnx_float32": "onnx", "onnx_static_int8": "onnx8",
}  # fmt: skip
YES, NO = "x", "-"
WIDTH = 118


def read() -> list[dict[str, Any]]:
    """Returns a row per network: what its registration states, "parameters", and "macs" at its default size."""
    return json.loads(MEASURED.read_text(encoding="utf-8"))[ROWS]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the rows as aligned tables, one per kind, and what the heads mean."""
    used = [name for name in HEADS if any(name in row["formats"] for row in rows)]
    heads = ("", "parameters", "MACs", "input", "ImageNet weights", *(HEADS[name] for name in used))
    lines: list[tuple[str, ...]] = []
    for kind, title in TITLES.items():
        lines.append((title, *heads[1:]))
        for row in rows:
            if row["kind"] == kind:
                marks = (YES if name in row["formats"] else NO for name in used)
                lines.append((f"  {row['name']}", *_figures(row), *marks))
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    text: list[str] = []
    for line in lines:
        cells = [cell.ljust(width) if column in (0, 4) else cell.rjust(width) for column, (cell, width) in
                 enumerate(zip(line, widths, strict=True))]  # fmt: skip
        text += [""] * (text != [] and not line[0].startswith(" ")) + ["  ".join(cells).rstrip()]
    return "\n".join([*text, "", *_legend(rows, used)])


def details(row: Mapping[str, Any]) -> str:
    """Returns all that is known of one network, with the lines of a gin file that ask for it."""
    parameters, macs, side, weights = _figures(row)
    lines = [
        f"{row['name']}: {', '.join(filter(None, (row['kind'], row['task'])))}",
        f"  parameters        {row['parameters']:,} ({parameters})",
        f"  MACs              {row['macs']:,} ({macs}) at {side} px",
        f"  ImageNet weights  {weights}",
        f"  tested formats    {', '.join(row['formats'])}",
    ]
    if row["task"] not in ("", "segmentation"):
        lines += [
            f"  heat map          {'in every artifact' if row['heat_map'] else 'of explain only, not in artifacts'}"
        ]
    lines += [f"  stands on         {row['backbone']}"] if row["backbone"] else []
    lines += [f"  needs             {_install(row)}"] if row["extra"] else []
    lines += ["  in a gin file", *(f"    {line}" for line in row["bindings"] or [f"@{row['gin']}"])]
    return "\n".join(lines)


def _figures(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    parameters = f"{row['parameters'] / 1e6:.2f} M" if row["parameters"] >= 1e5 else f"{row['parameters'] / 1e3:.0f} k"
    macs = f"{row['macs'] / 1e9:.2f} G" if row["macs"] >= 1e9 else f"{row['macs'] / 1e6:.0f} M"
    return parameters, macs, str(row["image_size"]), row["weights"] or NO


def _legend(rows: Sequence[Mapping[str, Any]], used: Sequence[str]) -> list[str]:
    extras = [f"{row['name']} needs {_install(row)}." for row in rows if row["extra"]]
    words = ", ".join(f"{HEADS[name]} {name}" for name in used)
    said = (
        "Parameters with the default head; MACs (convolutions and matrix products of one image) at the default input, "
        f"its side in pixels. Marked: export formats that are tested, {words}. All of one network: dr-edge models NAME."
    )
    return [*textwrap.wrap(said, WIDTH), *extras]


def _install(row: Mapping[str, Any]) -> str:
    return f'pip install "dr_edge[{row["extra"]}]"'
