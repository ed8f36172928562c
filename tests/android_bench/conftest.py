"""Fixtures of the android_bench tests: a tiny bundle, the real adb, stand-in phones."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# Not `tests.android_bench.standin`: some installed packages bring a top-level `tests` of their own.
sys.path.insert(0, str(Path(__file__).parent))

from standin import packages, phone

from android_bench import bundle, errors, matrix, rows
from android_bench.adb import runner
from android_bench.bundle import Artifact
from dr_edge import metadata

IMAGE_SIZE = 32
# What a busy machine takes for one example says nothing about the parsers.
hypothesis.settings.register_profile("busy_machine", deadline=None)
hypothesis.settings.load_profile("busy_machine")


def _convert(directory: Path) -> None:
    """Writes a tiny network as float32 and dynamic_int8 .tflite, and as .onnx."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(3)
    image = keras.Input(batch_shape=(1, IMAGE_SIZE, IMAGE_SIZE, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(x))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (directory / "model.float32.tflite").write_bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    (directory / "model.dynamic_int8.tflite").write_bytes(converter.convert())
    _write_onnx(directory / "model.float32.onnx")


def _write_onnx(path: Path) -> None:
    """Writes a network of the same input and output, built by hand (the converter takes long)."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, IMAGE_SIZE, IMAGE_SIZE, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 2])],
        [
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
            numpy_helper.from_array(np.ones((3, 2), np.float32), "weights"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))


@pytest.fixture(scope="session")
def bundle_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of three artifacts with accuracies in parity.json; do not change it."""
    directory = tmp_path_factory.mktemp("bundle") / "tiny"
    directory.mkdir()
    _convert(directory)
    artifacts = {}
    for path in sorted(directory.iterdir(), reverse=True):
        _, variant, kind = path.name.split(".")
        artifacts[f"{variant}.{kind}"] = {
            "file": path.name,
            "sha256": metadata.sha256_file(path),
            "bytes": path.stat().st_size,
            "variant": variant,
            "format": kind,
        }
    accuracy = dict(zip((entry["file"] for entry in artifacts.values()), (0.91, 0.90, 0.87), strict=True))
    metadata.write_manifest(
        directory,
        "parity",
        {
            "split": "test",
            "images": 80,
            "keras": {},
            "artifacts": {f: {"auc": a, "drop": {}} for f, a in accuracy.items()},
        },
    )
    metadata.write_manifest(
        directory,
        "bundle",
        {
            "task": {"name": "referable_dr", "kind": "classification", "class_names": ["no", "yes"]},
            "image_size": IMAGE_SIZE,
            "preprocess": {"method": "crop"},
            "inputs": [{"name": "image", "shape": [1, IMAGE_SIZE, IMAGE_SIZE, 3], "dtype": "uint8"}],
            "outputs": [{"name": "probabilities", "shape": [1, 2], "dtype": "float32"}],
            "artifacts": artifacts,
            "files": {entry["file"]: entry["sha256"] for entry in artifacts.values()},
        },
    )
    return directory


@pytest.fixture
def make_cell(tmp_path: Path) -> Callable[..., matrix.Cell]:
    """make_cell(threads=1, delegate="xnnpack", core_mask="", ...): a cell whose artifact file need not exist."""

    def make(
        threads: int = 1,
        delegate: str = "xnnpack",
        core_mask: str = "",
        variant: str = "float32",
        kind: str = "tflite",
    ) -> matrix.Cell:
        path = tmp_path / f"model.{variant}.{kind}"
        artifact = Artifact(f"{variant}.{kind}", path, variant, kind, "ab" * 32, 4_000_000, {"auc": 0.9})
        return matrix.Cell(artifact, threads, delegate, core_mask)

    return make


@pytest.fixture(scope="session")
def unpacked_adb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Google's adb and adbd, unpacked from Debian's packages; the test is skipped where they cannot be had."""
    reason = phone.why_not()
    if reason:
        pytest.skip(reason)
    try:
        return packages.unpack(tmp_path_factory.mktemp("packages"))
    except packages.Unavailable as err:
        pytest.skip(f"no adbd for stand-in phones: {err}")


@pytest.fixture
def adb(unpacked_adb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The real adb program with a server of its own, on a socket that no other user can open."""
    home = tmp_path / "adb_home"
    home.mkdir(mode=0o700)
    program = home / "adb"
    real = unpacked_adb / "usr/lib/android-sdk/platform-tools/adb"
    program.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={packages.library_path(unpacked_adb)} exec {real} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"localfilesystem:{home}/socket")
    monkeypatch.setenv("ADB_LOCAL_TRANSPORT_MAX_PORT", "5553")
    monkeypatch.setenv("HOME", str(home))
    yield str(program)
    subprocess.run([program, "kill-server"], capture_output=True, timeout=30)
    # One that waits for a silent device does not hear that. The socket's name is this test's alone.
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{home}/socket".encode() in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


@pytest.fixture
def start_phone(unpacked_adb: Path, adb: str, tmp_path: Path) -> Iterator[Callable[..., phone.Phone]]:
    """start_phone(storage_bytes=..., properties=...): a connected stand-in phone, ended after the test."""
    with contextlib.ExitStack() as stack:
        started: list[phone.Phone] = []

        def start(**choices: object) -> phone.Phone:
            scratch = tmp_path / f"phone{len(started)}"
            scratch.mkdir()
            made = stack.enter_context(phone.running(unpacked_adb, scratch, **choices))
            started.append(made)
            done = subprocess.run([adb, "connect", made.serial], capture_output=True, text=True, timeout=30)
            if "connected to" not in done.stdout:
                raise RuntimeError(f"adb did not connect: {done.stdout}{done.stderr}")
            return made

        yield start


@pytest.fixture
def make_tool(tmp_path: Path) -> Callable[..., Path]:
    """make_tool(kind="interpreter"): the stand-in benchmark_model, a program that the phone can run."""

    def make(kind: str = "interpreter") -> Path:
        path = tmp_path / f"benchmark_model_{kind}"
        text = (phone.HERE / "on_device/benchmark_model.py").read_text(encoding="utf-8")
        path.write_text(f"#!{sys.executable}\nKIND = {kind!r}\n{text}", encoding="utf-8")
        return path

    return make


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """command("--target=host", ...): runs `python -m android_bench` to its end."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "android_bench", *map(str, arguments)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=240,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )

    return run


@pytest.fixture
def read_report() -> Callable[[Path], dict]:
    """read_report(directory): its bench.json, read through its schema."""
    return lambda directory: json.loads(json.dumps(metadata.read_manifest(directory, "bench")))


@dataclasses.dataclass
class Run:
    """A measurement in this process, with what it reports."""

    notes: list
    rows: list
    facts: dict
    extra: dict
    steps: list


@pytest.fixture
def measure(adb, make_tool, bundle_files, tmp_path):
    """measure(settings, artifacts=..., tool=..., after=...): runs runner.measure; `after(number)` after each step."""

    def run(
        settings,
        only=("float32.tflite",),
        source=bundle_files,
        delegates=("xnnpack",),
        after=lambda number: None,
    ):
        logs = tmp_path / "logs"
        logs.mkdir(exist_ok=True)
        cells = matrix.build(bundle.read_bundle(source, only).artifacts, [1], delegates, [""])
        made = Run([], [], {}, {}, [])

        def step(name):
            made.steps.append(name)
            after(len(made.steps))

        request = runner.Request(adb, None, str(make_tool()), None)
        progress = rows.Progress(step, made.notes.append)
        try:
            runner.measure(request, cells, settings, logs, progress, made.rows, made.facts, made.extra)
        except errors.BenchError as err:
            made.extra["error"] = err
        return made

    return run
