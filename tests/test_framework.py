"""Keras is pinned wherever it is first imported: an environment of other work changes no model."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("dr_edge", "tfrecord_tools", "export", "android_bench")
HOSTILE = {"floatx": "float16", "epsilon": 1e-3, "backend": "jax", "image_data_format": "channels_first"}
FACTS = """
import keras, tensorflow as tf
print(keras.config.backend(), keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon(),
      keras.config.dtype_policy().name, keras.Model is tf.keras.Model)
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs `code` in a process of its own."""
    names = {"TF_CPP_MIN_LOG_LEVEL": "2", **environment}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=os.environ | names,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which every setting of Keras is another one."""
    home = tmp_path_factory.mktemp("keras")
    (home / "keras.json").write_text(json.dumps(HOSTILE))
    return {
        "KERAS_HOME": str(home), "KERAS_BACKEND": "torch", "TF_USE_LEGACY_KERAS": "1",
        "KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    "first",
    [
        "from dr_edge import native_output; native_output.import_tensorflow()",
        "import dr_edge.runs; dr_edge.runs.load_run",
        pytest.param("import dr_edge.models.unet", marks=pytest.mark.slow),
        pytest.param("import dr_edge.data.pipeline", marks=pytest.mark.slow),
        pytest.param("import dr_edge.training.loop", marks=pytest.mark.slow),
        pytest.param("import dr_edge.fundus.graham_layer", marks=pytest.mark.slow),
        pytest.param("import export.bundle.write", marks=pytest.mark.slow),
        pytest.param("import export.qat.twin", marks=pytest.mark.slow),
    ],
)
def test_whatever_is_imported_first(first, hostile):
    code = first + ("\nfrom dr_edge.framework import keras" if "dr_edge.runs" in first else "") + FACTS
    done = python(code, **hostile)
    assert done.stdout.split() == ["tensorflow", "channels_last", "float32", "1e-07", "float32", "True"], (
        done.stdout + done.stderr[-2000:]
    )


@pytest.mark.slow
def test_tf_keras_too(hostile):
    code = (
        "from export.qat.tfmot import tf_keras; b = tf_keras.backend; print(b.image_data_format(), b.floatx(), "
        "b.epsilon())"
    )
    done = python(code, **hostile)
    assert done.stdout.split() == ["channels_last", "float32", "1e-07"], done.stderr[-2000:]


@pytest.mark.slow
def test_a_network_is_the_same_as_without(hostile):
    code = """
import numpy as np
from dr_edge.models.mobilenet_v3_cbam import mobilenet_v3_cbam
from dr_edge.framework import keras
keras.utils.set_random_seed(0)
network = mobilenet_v3_cbam(64, 2, variant="small", weights=None)
print(network.count_params(), network.predict(np.full((4, 64, 64, 3), 90.0), batch_size=2, verbose=0).tolist())
"""
    ours, theirs = python(code), python(code, **hostile)
    assert ours.returncode == 0 and ours.stdout == theirs.stdout, theirs.stderr[-2000:]


def test_settings_that_keras_refuses_are_one_sentence(tmp_path):
    (tmp_path / "keras.json").write_text('{"floatx": "float99"}')
    done = python("from dr_edge import framework", KERAS_HOME=str(tmp_path))
    assert "keras.json (or unset KERAS_HOME)" in done.stderr.splitlines()[-1]


def test_another_backend_in_this_process_is_refused_with_what_to_do():
    code = """
import keras
keras.config.backend = lambda: "torch"  # torch itself is not installed here
from dr_edge import framework
"""
    done = python(code)
    assert "RuntimeError: Keras was imported with the backend 'torch' before dr_edge" in done.stderr


@pytest.mark.slow
def test_a_typing_error_in_the_choice_of_gpus_is_said():
    code = "from dr_edge import native_output; native_output.import_tensorflow()"
    done = python(code, CUDA_VISIBLE_DEVICES="gpu0")
    assert "CUDA_VISIBLE_DEVICES=gpu0, but no GPU is found" in done.stderr
    assert "CUDA_VISIBLE_DEVICES" not in python(code, CUDA_VISIBLE_DEVICES="-1").stderr


def test_nothing_imports_them_from_elsewhere():
    found = []
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                if any(name in ("keras", "tensorflow") or name.startswith("keras.") for name in names):
                    found.append(f"{path.relative_to(REPOSITORY)}:{node.lineno}")
    assert [place for place in found if not place.startswith("dr_edge/framework.py")] == []
