"""A Triton Inference Server model repository of the ONNX model: plain, and through TensorRT in float32 and float16.

tritonserver --model-repository=BUNDLE/triton
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dr_edge import metadata
from export.graph.deployable import INPUT_NAME

DIRECTORY = "triton"
MAX_BATCH = 8
MODELS: Mapping[str, str | None] = {
    "dr_edge_onnx": None,
    "dr_edge_tensorrt_fp32": "FP32",
    "dr_edge_tensorrt_fp16": "FP16",
}


def label_lines(labels: Sequence[str]) -> str:
    """Returns the content of a labels.txt: a class name a line, line breaks within one as blanks."""
    return "".join(f"{' '.join(label.split())}\n" for label in labels)


def write_repository(
    directory: Path,
    content: bytes,
    side: int,
    outputs: Mapping[str, Sequence[int]],
    labels: Sequence[str],
    note: str = "",
) -> None:
    """Writes the model repository of a bundle.

    Args:
      directory: of the bundle.
      content: ONNX model of a dynamic batch.
      side: S of its input [B, S, S, 3] uint8.
      outputs: output name -> shape without the batch.
      labels: class names, for Triton's classification extension.
      note: a sentence for the configuration's head: which outputs mean the disease. The extension answers with the
        likeliest class and knows no threshold.
    """
    for name, precision in MODELS.items():
        model = directory / DIRECTORY / name
        (model / "1").mkdir(parents=True)
        metadata.write_bytes(model / "1" / "model.onnx", content)
        metadata.write_text(model / "labels.txt", label_lines(labels))
        metadata.write_text(model / "config.pbtxt", configuration(name, precision, side, outputs, note))


def configuration(
    name: str, precision: str | None, side: int, outputs: Mapping[str, Sequence[int]], note: str = ""
) -> str:
    """Returns the config.pbtxt of one model (inference.ModelConfig in protobuf text).

    Args:
      name: of the model.
      precision: None for ONNX Runtime alone, "FP32" or "FP16" through TensorRT.
      side, outputs, note: see `write_repository`.
    """
    lines = [f"# {line}" for line in note.splitlines()]
    lines += [
        f'name: "{name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {MAX_BATCH}",
        "input {",
        f'  name: "{INPUT_NAME}"',
        "  data_type: TYPE_UINT8",
        f"  dims: [ {side}, {side}, 3 ]",
        "}",
    ]
    for output, shape in outputs.items():
        lines += ["output {", f'  name: "{output}"', "  data_type: TYPE_FP32"]
        lines.append(f"  dims: [ {', '.join(str(size) for size in shape)} ]")
        lines += ['  label_filename: "labels.txt"'] if output == "probabilities" else []
        lines.append("}")
    lines += ["dynamic_batching {", "  max_queue_delay_microseconds: 2000", "}"]
    if precision is not None:
        lines += [
            "optimization {",
            "  execution_accelerators {",
            "    gpu_execution_accelerator {",
            '      name: "tensorrt"',
            f'      parameters {{ key: "precision_mode" value: "{precision}" }}',
            '      parameters { key: "max_workspace_size_bytes" value: "1073741824" }',
            "    }",
            "  }",
            "}",
        ]
    return "\n".join(lines) + "\n"
