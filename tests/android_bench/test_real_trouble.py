"""What goes wrong between the real adb and Google's real adbd: lost, distrusted, full, slow, interrupted.

See test_real_adb.py for what is real and what is a stand-in.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from resealed import reseal
from standin import endpoints

from android_bench import errors, matrix, rows
from android_bench.adb import device, phone
from dr_edge import metadata

QUICK = (
    "--sessions=2",
    "--runs=8",
    "--min_secs=0.05",
    "--warmup_secs=0.02",
    "--warmup_runs=1",
    "--pause_secs=0.05",
)
SETTINGS = matrix.Settings(sessions=2, runs=5, min_secs=0.02, warmup_runs=1, warmup_secs=0.02, pause_secs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "match"),
    [("die", "status 137 (killed"), ("cut", "incomplete or mixed"), ("hang", "was ended after 2 s")],
)
def test_a_tool_that_fails(start_phone, measure, behaviour, match):
    made = start_phone()
    made.write("/data/standin/behaviour", behaviour)
    found = measure(dataclasses.replace(SETTINGS, sessions=1, timeout_secs=2.0))
    row = found.rows[0]
    assert row["status"] == "failed" and match in row["reason"] and row["latency_ms"] is None
    assert not list(made.storage.iterdir()) and not made.programs()


@pytest.mark.slow
def test_lost_in_mid_run(start_phone, measure):
    made = start_phone()
    found = measure(
        SETTINGS,
        only=("float32.tflite", "dynamic_int8.tflite"),
        after=lambda n: made.lose() if n == 1 else None,
    )
    assert isinstance(found.extra["error"], errors.DeviceLost)
    rows.conclude(found.rows, 2, f"Not measured: {found.extra['error']}")
    first, second = found.rows
    assert first["status"] == "ok" and "Only 1 of 2 sessions" in first["notes"][0]
    assert second["status"] == "not_measured" and second["latency_ms"] is None


def test_lost_while_the_tool_runs(adb, start_phone, make_tool, command, bundle_files, read_report, tmp_path):
    made = start_phone()
    made.write("/data/standin/behaviour", "hang")
    threading.Thread(target=lambda: (_until(lambda: _hangs(made)), made.lose()), daemon=True).start()
    done = command(
        f"--bundle={bundle_files}", "--target=adb", f"--adb={adb}", f"--tool={make_tool()}", f"--out={tmp_path / 'o'}",
        "--threads=1", "--artifacts=float32.tflite", *QUICK,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    report = read_report(tmp_path / "o")
    assert made.serial in report["incomplete"] or "cut off" in report["incomplete"]
    assert report["rows"][0]["status"] == "not_measured" and report["rows"][0]["latency_ms"] is None
    assert "stays on" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(adb, start_phone, make_tool, bundle_files, read_report, tmp_path, number):
    made = start_phone()
    made.write("/data/standin/behaviour", "hang")
    process = subprocess.Popen(
        [sys.executable, "-m", "android_bench", f"--bundle={bundle_files}", "--target=adb", f"--adb={adb}",
         f"--tool={make_tool()}", f"--out={tmp_path / 'o'}", "--threads=1", *QUICK],
        cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    _until(lambda: _hangs(made))
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert not list(made.storage.iterdir()) and not made.programs()
    report = read_report(tmp_path / "o")
    assert report["incomplete"] == "interrupted." and {r["latency_ms"] for r in report["rows"]} == {None}


def test_two_devices(adb, start_phone):
    one, two = start_phone(), start_phone(properties={"ro.product.model": "Second", "ro.kernel.qemu": "0"})
    with pytest.raises(errors.SeveralDevices, match="--serial") as caught:
        device.choose(adb, None)
    assert one.serial in str(caught.value) and two.serial in str(caught.value)
    facts = phone.describe(device.choose(adb, two.serial))
    assert facts["model"] == "Second" and facts["kind"] == "phone"


def test_unauthorised(adb):
    with endpoints.distrusting() as port:
        subprocess.run([adb, "connect", f"127.0.0.1:{port}"], capture_output=True, timeout=30)
        _until(lambda: device.list_devices(adb))
        with pytest.raises(errors.Unauthorised, match="Allow USB debugging"):
            device.choose(adb, None)
        with pytest.raises(errors.Unauthorised):
            device.shell(device.Device(adb, f"127.0.0.1:{port}"), "true", 5)


@pytest.mark.slow
def test_a_device_that_never_answers(adb):
    with endpoints.silent() as port:
        process = subprocess.Popen([adb, "connect", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL)
        try:
            _until(lambda: device.list_devices(adb))
            with pytest.raises((errors.DeviceOffline, errors.Unauthorised)):
                device.choose(adb, None)
        finally:
            process.kill()
            process.wait()


def test_no_device(adb):
    with pytest.raises(errors.NoDevice, match="USB debugging"):
        device.choose(device.find_adb(adb), None)


def test_a_full_disk(start_phone, measure, bundle_files, tmp_path):
    made = start_phone(storage_bytes=200_000)
    source = Path(shutil.copytree(bundle_files, tmp_path / "large"))
    large = source / "model.dynamic_int8.tflite"
    large.write_bytes(large.read_bytes() + bytes(400_000))
    manifest = metadata.read_manifest(source, "bundle")
    sha256 = metadata.sha256_file(large)
    manifest["artifacts"]["dynamic_int8.tflite"].update(sha256=sha256, bytes=large.stat().st_size)
    manifest["files"]["model.dynamic_int8.tflite"] = sha256
    reseal(source, manifest)
    found = measure(dataclasses.replace(SETTINGS, sessions=1), source=source, only=("dynamic_int8", "float32.tflite"))
    status = {row["artifact"]["variant"]: row for row in found.rows}
    assert status["float32"]["status"] == "ok"
    assert status["dynamic_int8"]["status"] == "failed" and "No space" in status["dynamic_int8"]["reason"]
    assert not list(made.storage.iterdir())


@pytest.mark.slow
def test_a_disk_too_full_for_the_tool(start_phone, measure):
    made = start_phone(storage_bytes=8192)
    found = measure(SETTINGS)
    assert isinstance(found.extra["error"], errors.NoSpace) and not found.rows
    assert not list(made.storage.iterdir())


@pytest.mark.slow
def test_a_slow_device(start_phone, measure):
    made = start_phone()
    made.forwarder.delay = 0.05
    assert measure(dataclasses.replace(SETTINGS, sessions=1)).rows[0]["status"] == "ok"


@pytest.mark.slow
def test_the_stand_in_is_closed_to_others(start_phone, unpacked_adb):
    """adbd gives a root shell: not to another user, not over vsock, and not to write the machine's files."""
    made = start_phone()
    code = (
        "import os, socket, sys, encodings.idna; os.setuid(65534)\n"
        f"s = socket.create_connection(('127.0.0.1', {made.port}))\n"
        "s.sendall(b'CNXN'); s.settimeout(5)\n"
        "try: sys.exit(1 if s.recv(1) else 0)\n"
        "except ConnectionError: sys.exit(0)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
    one = device.choose(shutil.which("adb", path=os.environ["HOME"]), made.serial)
    assert "Read-only" in device.shell(one, "touch /usr/x", 10, check=False).stderr
    vsock = "import socket; socket.socket(40, socket.SOCK_STREAM)"
    assert "not supported" in device.shell(one, f'{sys.executable} -c "{vsock}"', 20, check=False).stderr


def _hangs(made) -> bool:
    return any("benchmark_model" in line and "--graph" in line for line in made.programs())


def _until(look, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() > end:
            raise TimeoutError("what the test waits for did not happen")
        time.sleep(0.05)
