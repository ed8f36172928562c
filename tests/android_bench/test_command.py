"""`python -m android_bench` as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_help_teaches_and_is_quick(command, starts):
    done = command("--help")
    assert "python -m android_bench --bundle=BUNDLE --target=host --out=DIR" in done.stdout
    assert "--tool_sha256" in done.stdout
    assert starts(lambda: command("--help")) < 40


def test_imports_no_tensorflow_and_only_what_reads_a_bundle_and_how_commands_speak():
    code = (
        "import sys, importlib, pkgutil, android_bench\nfor found in pkgutil.walk_packages(android_bench.__path__, "
        "'android_bench.'): importlib.import_module(found.name)\nprint(sorted(name for name in sys.modules if "
        "name.startswith(('tensorflow', 'keras', 'numpy', 'matplotlib', 'dr_edge', 'cv2', 'ai_edge'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    # Of the standard library and absl only: how commands speak and write, and what a bundle says of itself.
    bundle = ("", ".digests", ".read", ".rules", ".schema", ".signature", ".together")
    bundle_files = [f"bundle_files{name}" for name in bundle]
    ground = ["command", "durable", "extras", "locks", "markdown", "metadata", "remote", "remote.bundle_flags"]
    names = sorted([*bundle_files, *ground, "spreadsheet", "subcommands", "verdict"])
    assert done.stdout.strip() == str(["dr_edge", *(f"dr_edge.{name}" for name in names)]), done.stderr


def test_host_report_and_comparison(command, bundle_files, read_report, tmp_path):
    quick = ("--sessions=2", "--runs=10", "--min_secs=0", "--warmup_secs=0", "--warmup_runs=1")
    for name in "ab":
        done = command(f"--bundle={bundle_files}", "--target=host", f"--out={tmp_path / name}", *quick)
        assert done.returncode == 0 and "3 of 3 rows measured" in done.stdout, done.stderr
        assert "session/s" in done.stderr or "s/session" in done.stderr  # the progress bar with the time left
    report = read_report(tmp_path / "a")
    assert {row["environment"] for row in report["rows"]} == {"host"} and report["incomplete"] is None
    assert report["bundle"]["accuracy_data"] == "test split, 80 images"
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    compared = command("compare", tmp_path / "a", tmp_path / "b")
    assert compared.returncode == 0 and "| float32.onnx-t1-none |" in compared.stdout
    again = command(f"--bundle={bundle_files}", "--target=host", f"--out={tmp_path / 'a'}", *quick)
    assert again.returncode == 1 and "not empty" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target=host", "--bundle=/nowhere", "--out=x"], "/nowhere is no directory"),
        (["--target=host", "--bundle={bundle}", "--out=x", "--threads=two"], "--threads takes whole numbers"),
        (["--target=host", "--bundle={bundle}", "--out=x", "--sessions=0"], "--sessions must be above 0"),
        (["--target=host", "--bundle={bundle}", "--out=x", "--artifacts=int4"], "no artifact int4"),
        (["--target=adb", "--bundle={bundle}", "--out=x", "--adb=/nowhere/adb"], "platform-tools"),
        (
            ["--target=host", "--bundle={bundle}", "--out=x", "--op_profile"],
            "has no phone: leave out --op_profile",
        ),
        (["compare", "/nowhere", "/nowhere", "--sessions=2"], "leave out --sessions"),
        (["compare", "/nowhere"], "two report directories"),
        (["read", "/nowhere"], "no file"),
    ],
)
def test_mistakes_are_explained_in_one_line(command, bundle_files, tmp_path, arguments, said):
    filled = [
        str(a).replace("{bundle}", str(bundle_files)).replace("--out=x", f"--out={tmp_path / 'x'}") for a in arguments
    ]
    done = command(*filled)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--bundle, --target and --out are needed"),
        (["--target=host", "--bundle=/nowhere", "--out=x", "stray"], "Unknown argument: stray"),
    ],
)
def test_a_wrong_command_line_ends_with_2(command, arguments, said):
    done = command(*arguments)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_only_what_cannot_run_ends_with_1(command, bundle_files, read_report, tmp_path):
    done = command(
        f"--bundle={bundle_files}",
        "--target=host",
        f"--out={tmp_path / 'x'}",
        "--artifacts=float32.tflite",
        "--delegates=gpu",
    )
    assert done.returncode == 1 and "0 of 1 rows measured" in done.stdout and "--target=adb" in done.stderr
    assert read_report(tmp_path / "x")["rows"][0]["status"] == "skipped"
