"""The real adb against Google's real adbd in namespaces: a whole measurement, and everything that can go wrong.

What the stand-in phones' getprop, dumpsys, cpufreq and benchmark_model say is made up (standin/phone.py).
"""

from __future__ import annotations

import dataclasses
import os
import time

import pytest

from android_bench import errors, matrix
from android_bench.adb import device, phone

QUICK = (
    "--sessions=2",
    "--runs=8",
    "--min_secs=0.05",
    "--warmup_secs=0.02",
    "--warmup_runs=1",
    "--pause_secs=0.05",
)


def connected(adb, serial):
    return device.choose(adb, serial)


def test_commands(adb, start_phone, tmp_path):
    device.find_adb(adb)
    made = start_phone()
    one = device.choose(adb, None)
    assert one.serial == made.serial
    answer = device.shell(one, "echo out; echo err >&2; exit 9", 10, check=False)
    assert (answer.stdout, answer.stderr, answer.status) == ("out\n", "err\n", 9)
    local = tmp_path / "a file's name.bin"
    local.write_bytes(os.urandom(300_000))
    device.push(one, local, "/data/local/tmp/there.bin")
    device.pull(one, "/data/local/tmp/there.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == local.read_bytes()
    with pytest.raises(errors.CommandFailed, match="could not be read"):
        device.pull(one, "/data/local/tmp/nothing", tmp_path / "nothing")
    begin = time.monotonic()
    with pytest.raises(errors.DeviceTimeout):
        device.shell(one, "sleep 60", 1)
    assert time.monotonic() - begin < 10 and not made.programs()
    facts = phone.describe(one)
    assert (facts["label"], facts["kind"]) == ("Stand-in Namespace, none, Android 14", "emulated")
    state = phone.state(one)
    assert (state["thermal_status"], state["battery_temperature_c"], state["governors"]) == (
        0,
        31.2,
        ["schedutil"],
    )
    assert one.serial not in str(facts)


def test_a_file_that_arrives_changed(adb, start_phone, tmp_path):
    made = start_phone()
    made.replace_program("sha256sum", "echo 1111111111111111 $1")
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(errors.PushFailed, match="sha256 111111111111"):
        device.push(device.choose(adb, None), tmp_path / "x", "/data/local/tmp/x")


@pytest.mark.parametrize("kind", [pytest.param("interpreter", marks=pytest.mark.slow), "compiled_model"])
def test_a_whole_measurement(adb, start_phone, make_tool, command, bundle_files, read_report, tmp_path, kind):
    made = start_phone()
    done = command(
        f"--bundle={bundle_files}", "--target=adb", f"--adb={adb}", f"--tool={make_tool(kind)}", "--threads=1,2",
        f"--out={tmp_path / 'report'}", "--delegates=xnnpack,none,gpu", "--op_profile", *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = read_report(tmp_path / "report")
    assert report["tool"]["kind"] == kind and report["incomplete"] is None
    assert report["device"]["before"]["thermal_status"] == report["device"]["after"]["thermal_status"] == 0
    found = {row["name"]: row for row in report["rows"]}
    assert len(found) == 2 * 2 * 3 + 2 and {row["environment"] for row in found.values()} == {"emulated"}
    ok = found["float32.tflite-t2-xnnpack"]
    assert ok["status"] == "ok" and ok["latency_ms"]["sessions"] == 2 and ok["latency_ms"]["runs"] >= 16
    assert ok["latency_ms"]["p90"] is None and ok["latency_ms"]["median"] > 0
    assert "--num_threads=2" in ok["sessions"][0]["command"] and made.serial not in str(report)
    aside = found["float32.tflite-t1-gpu"]
    assert aside["status"] == "no_delegate" and {s["latency_ms"] for s in aside["sessions"]} == {None}
    assert found["float32.onnx-t1-none"]["reason"].startswith("benchmark_model runs .tflite only")
    plain = found["dynamic_int8.tflite-t1-none"]
    assert plain["status"] == ("ok" if kind == "interpreter" else "skipped")
    if kind == "interpreter":
        assert plain["actual"]["accelerator"] == "CPU"
        assert ok["op_profile"]["total_ms"] > 0 and ok["op_profile"]["peak_memory_mb"] == 41.5
    for name in (
        "bench.csv",
        "bench.md",
        "latency.png",
        "accuracy_latency_size.png",
        *(s["log"] for s in ok["sessions"]),
    ):
        assert (tmp_path / "report" / name).stat().st_size > 0
    assert "rank with no phone's" in (tmp_path / "report/bench.md").read_text()
    assert not list(made.storage.iterdir()) and not made.programs()


SETTINGS = matrix.Settings(sessions=2, runs=5, min_secs=0.02, warmup_runs=1, warmup_secs=0.02, pause_secs=0.02)


@pytest.mark.slow
def test_sustained_and_heat(start_phone, measure):
    made = start_phone()
    made.write("/data/standin/thermal", "2\n1\n0\n")
    settings = dataclasses.replace(SETTINGS, sustained_minutes=3, point_secs=0.3)
    found = measure(settings)
    row = found.rows[0]
    assert row["status"] == "ok", row
    # The look before anything saw status 2; the wait before the first session saw 1, then 0.
    assert found.facts["before"]["thermal_status"] == 2
    assert row["sessions"][0]["cooled_down_secs"] == 1.0 and row["sessions"][0]["thermal_status"] == 0
    assert "cooling down, thermal status 1" in found.notes
    assert [round(point["minute"] * 60, 2) for point in row["sustained"]] == [0.3, 0.6, 0.9]
    assert all(point["latency_ms"]["runs"] > 5 and point["thermal_status"] == 0 for point in row["sustained"])


def test_a_phone_that_stays_hot(start_phone, measure):
    start_phone().write("/data/standin/thermal", "3\n")
    row = measure(dataclasses.replace(SETTINGS, sessions=1, cooldown_secs=1.0)).rows[0]
    assert row["status"] == "ok" and "thermal status 3" in row["notes"][0]


def test_a_phone_without_a_thermal_service(start_phone, measure):
    made = start_phone()
    made.outside("/data/standin/thermal").unlink()
    row = measure(dataclasses.replace(SETTINGS, sessions=1)).rows[0]
    assert row["status"] == "ok" and row["sessions"][0]["thermal_status"] is None


def test_a_gpu_that_works(start_phone, measure):
    start_phone().write("/data/standin/behaviour", "gpu works")
    row = measure(dataclasses.replace(SETTINGS, sessions=1), delegates=("gpu",)).rows[0]
    assert row["status"] == "ok" and row["actual"]["accelerator"] == "GPU"
    assert row["actual"]["delegated"] == row["actual"]["total"] > 0
