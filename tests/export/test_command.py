"""The command line: help without TensorFlow, errors with exit status 1."""

from __future__ import annotations

import subprocess
import sys

import pytest


def call(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "export", *arguments], capture_output=True, text=True, timeout=300, check=False
    )


def test_help_teaches_without_tensorflow():
    code = "import sys, runpy; sys.argv = ['export', '--help']\n"
    code += "try:\n  runpy.run_module('export', run_name='__main__', alter_sys=True)\n"
    code += "except SystemExit: pass\nassert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert "python -m export --run_dir=RUN --out=BUNDLE" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--run_dir=nowhere", "--out=x"], "nowhere is no directory", marks=pytest.mark.slow),
        (["--run_dir=nowhere", "--out=x", "--formats=int4"], "Unknown formats: int4"),
        (["--run_dir=nowhere", "--out=x", "--gin_param=export.settings.spilt='val'"], "split"),
    ],
)
def test_bad_input_ends_with_one_and_says_why(arguments, message, tmp_path):
    result = call(*arguments)
    assert result.returncode == 1
    assert message in result.stderr


def test_the_last_line_leads_on(tmp_path):
    import shlex

    code = (  # flags are the process's own
        f"import export.__main__ as command; print(command.next_steps('{tmp_path}/idrid/'))"
    )
    line = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True).stdout
    assert f"read {tmp_path}/idrid/parity.html and {tmp_path}/idrid/MODEL_CARD.md" in line
    words = shlex.split(line.split("next: ")[1])
    assert words[:3] == ["python", "-m", "android_bench"]
    result = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1 and f"{tmp_path}/idrid is no directory" in result.stderr  # its flags are understood
