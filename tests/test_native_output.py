"""What native code prints is held back and shown before an exception; the other Keras stays out of the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dr_edge.native_output import STDERR, STDOUT, held_back

REPOSITORY = Path(__file__).resolve().parents[1]


def python(code: str, legacy: str | None) -> subprocess.CompletedProcess:
    """Runs `code` in a process of its own with TF_USE_LEGACY_KERAS=`legacy`, or without it."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    if legacy is not None:
        environment["TF_USE_LEGACY_KERAS"] = legacy
    return subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True)


def test_a_note_is_held_back_and_what_follows_is_not(capfd):
    with held_back(STDOUT, STDERR):
        os.write(STDOUT, b"note out\n")
        os.write(STDERR, b"note err\n")
    os.write(STDERR, b"after\n")
    assert capfd.readouterr() == ("", "after\n")


def test_what_was_held_back_is_printed_before_the_exception(capfd):
    with pytest.raises(ValueError, match="reason"), held_back(STDOUT, STDERR):
        os.write(STDOUT, b"note out\n")
        os.write(STDERR, b"note err\n")
        raise ValueError("reason")
    assert capfd.readouterr() == ("", "note out\nnote err\n")


def test_nothing_is_held_back_where_the_user_asks_for_everything(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with held_back():
        os.write(STDERR, b"note\n")
    assert capfd.readouterr().err == "note\n"


def test_a_command_uses_keras_3_whatever_the_environment_says():
    code = """
from dr_edge import native_output
native_output.import_tensorflow()
import keras, tensorflow as tf
assert tf.keras.Model is keras.Model, tf.keras.Model
"""
    result = python(code, legacy="1")
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_heat_maps_in_a_process_of_the_other_keras_say_what_to_do():
    code = """
import tensorflow, numpy
from dr_edge.models.mobilenet_v3_cbam import mobilenet_v3_cbam
from dr_edge.explanation.heatmaps import heat_maps
network = mobilenet_v3_cbam(32, 2)
heat_maps(network, "gradcam", numpy.zeros((1, 32, 32, 3)), numpy.array([1]))
"""
    result = python(code, legacy="1")
    assert "RuntimeError: tf.keras is tf_keras in this process" in result.stderr, result.stderr
    assert "without TF_USE_LEGACY_KERAS" in result.stderr


@pytest.mark.slow
def test_quantisation_aware_training_leaves_the_environment_as_it_was():
    code = """
import os
import export.qat.twin
import keras, tensorflow as tf
assert "TF_USE_LEGACY_KERAS" not in os.environ
assert tf.keras.Model is keras.Model, tf.keras.Model
"""
    result = python(code, legacy=None)
    assert result.returncode == 0, result.stderr
