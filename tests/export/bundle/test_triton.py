"""config.pbtxt is what Triton's own protobuf reads."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from export.bundle import triton

VERSION = "2.73.0"


@pytest.fixture(scope="session")
def model_config(tmp_path_factory):
    """tritonclient's ModelConfig message, from the wheel alone (its other requirements conflict with ours)."""
    target = tmp_path_factory.mktemp("tritonclient")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    result = subprocess.run([*command, f"tritonclient=={VERSION}"], capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"tritonclient {VERSION} cannot be installed here: {result.stderr.strip()[-200:]}")
    path = target / "tritonclient" / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ModelConfig


def test_the_repository_is_what_triton_reads(model_config, tmp_path):
    from google.protobuf import text_format

    outputs = {"probabilities": (2,), "heatmap": (5, 5), "ood_distance": (1,)}
    triton.write_repository(tmp_path, b"onnx", 160, outputs, ["a", "b"], "Output 0 is the disease.\nSay so.")
    for name, precision in triton.MODELS.items():
        directory = tmp_path / "triton" / name
        config = text_format.Parse((directory / "config.pbtxt").read_text(), model_config())
        assert (directory / "config.pbtxt").read_text().startswith("# Output 0 is the disease.\n# Say so.\n")
        assert config.name == name and config.backend == "onnxruntime" and config.max_batch_size == 8
        assert [(value.name, list(value.dims)) for value in config.input] == [("image", [160, 160, 3])]
        assert config.input[0].data_type == 2  # TYPE_UINT8
        assert {value.name: tuple(value.dims) for value in config.output} == outputs
        accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
        found = [(accelerator.name, accelerator.parameters["precision_mode"]) for accelerator in accelerators]
        assert found == ([] if precision is None else [("tensorrt", precision)])
        assert (directory / "1" / "model.onnx").read_bytes() == b"onnx"
        assert (directory / config.output[0].label_filename).read_text() == "a\nb\n"
