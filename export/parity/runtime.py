"""Runs artifacts as an app would: LiteRT for .tflite, ONNX Runtime for .onnx."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from export.converter_output import quiet_conversion

Outputs = Mapping[str, np.ndarray]


def open_artifact(path: str | os.PathLike, threads: int = 1) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Loads an artifact.

    Args:
      path: a .tflite or .onnx file of a bundle.
      threads: for the arithmetic.

    Returns:
      A function from [1, S, S, 3] uint8 to {output name: array of float32}.

    Raises:
      ValueError: another kind of file, or one that the runtime cannot read.
    """
    suffix = Path(path).suffix
    if suffix == ".tflite":
        return _open_tflite(Path(path), threads)
    if suffix == ".onnx":
        return _open_onnx(Path(path), threads)
    raise ValueError(f"{path}: an artifact ends in .tflite or .onnx.")


def _open_tflite(path: Path, threads: int) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    from ai_edge_litert.interpreter import Interpreter

    try:
        with quiet_conversion():
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
            runner = interpreter.get_signature_runner()
    except (ValueError, RuntimeError) as err:
        raise ValueError(f"{path}: LiteRT cannot read it: {err}") from err
    (name,) = runner.get_input_details()

    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        return {key: np.array(value) for key, value in runner(**{name: image}).items()}

    return run


def _open_onnx(path: Path, threads: int) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feed = session.get_inputs()[0].name

    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {feed: image}), strict=True))

    return run


def latency_ms(
    run: Callable[[np.ndarray], Outputs], image: np.ndarray, runs: int = 20, warmup: int = 3
) -> dict[str, float]:
    """Times a loaded artifact on this host.

    Args:
      run: from `open_artifact`.
      image: [1, S, S, 3] uint8.
      runs: timed runs.
      warmup: runs before them.

    Returns:
      {"median", "p90"} in ms and {"runs"}.
    """
    for _ in range(warmup):
        run(image)
    samples = []
    for _ in range(runs):
        start = time.perf_counter()
        run(image)
        samples.append(1e3 * (time.perf_counter() - start))
    return {"median": float(np.median(samples)), "p90": float(np.percentile(samples, 90)), "runs": runs}
