"""android_bench.adb.device against small stand-in adb programs: every error says what to do. Runs anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from android_bench import errors
from android_bench.adb import device


@pytest.fixture
def fake_adb(tmp_path: Path):
    """fake_adb(devices=..., shell=..., push=...): an adb program that answers with these pieces of sh."""

    def make(devices: str = "", shell: str = "exit 0", push: str = "exit 0") -> str:
        path = tmp_path / "adb"
        path.write_text(
            "#!/bin/sh\n"
            'if [ "$1" = version ]; then echo "Android Debug Bridge version 1.0.41"; exit 0; fi\n'
            f"if [ \"$1\" = devices ]; then printf 'List of devices attached\\n{devices}\\n'; exit 0; fi\n"
            'shift 2; verb=$1; shift; command="$*"\n'
            f'if [ "$verb" = shell ]; then {shell}; fi\n'
            f'if [ "$verb" = push ]; then {push}; fi\n'
        )
        path.chmod(0o755)
        return str(path)

    return make


RUN = 'sh -c "$command"; exit 0'


def test_no_adb(tmp_path):
    with pytest.raises(errors.AdbMissing, match=r"platform-tools.*--adb"):
        device.find_adb(str(tmp_path / "adb"))
    with pytest.raises(errors.AdbMissing, match="is no adb program"):
        device.find_adb("true")


def test_lists_and_chooses_the_only_one(fake_adb):
    adb = device.find_adb(fake_adb(r"R5CT1\tdevice", RUN))
    assert device.list_devices(adb) == [("R5CT1", "device")]
    assert device.choose(adb, None).serial == device.choose(adb, "R5CT1").serial == "R5CT1"


@pytest.mark.parametrize(
    ("devices", "serial", "error", "match"),
    [
        ("", None, errors.NoDevice, "USB debugging"),
        ("", "R5CT1", errors.NoDevice, "lists: none"),
        (r"other\tdevice", "R5CT1", errors.NoDevice, r"other \(device\)"),
        (
            r"one\tdevice\ntwo\toffline",
            None,
            errors.SeveralDevices,
            r"one \(device\), two \(offline\).*--serial",
        ),
        (r"one\tunauthorized", None, errors.Unauthorised, "Allow USB debugging"),
        (r"one\tauthorizing", "one", errors.Unauthorised, "Allow USB debugging"),
        (r"one\toffline", None, errors.DeviceOffline, "connect it again"),
        (
            r"one\tno permissions (user in plugdev group)",
            None,
            errors.DeviceOffline,
            "no permissions.*udev rules",
        ),
        (r"one\trecovery", None, errors.DeviceOffline, "recovery"),
    ],
)
def test_devices_that_cannot_be_used(fake_adb, devices, serial, error, match):
    with pytest.raises(error, match=match):
        device.choose(fake_adb(devices, RUN), serial)


def test_an_adb_whose_server_does_not_work(fake_adb, monkeypatch):
    broken = fake_adb()
    path = Path(broken)
    text = path.read_text()
    path.write_text(text.replace("devices ]; then", "devices ]; then echo 'cannot connect to daemon' >&2; exit 1;"))
    with pytest.raises(errors.AdbMissing, match=r"cannot connect to daemon.*kill-server"):
        device.list_devices(broken)
    monkeypatch.setattr(device, "_LIST_SECS", 0.3)
    path.write_text(text.replace("devices ]; then", "devices ]; then exec sleep 20;"))
    with pytest.raises(errors.AdbMissing, match="does not list its devices"):
        device.choose(broken, None)


def test_a_command_that_is_cut_off_is_a_lost_device_although_adb_ends_with_0(fake_adb):
    phone = device.Device(fake_adb(r"one\tdevice", "echo half an answ; exit 0"), "one")
    with pytest.raises(errors.DeviceLost, match="cut off"):
        device.shell(phone, "true", 5)
    phone = device.Device(fake_adb("", "echo half an answ; exit 0"), "one")
    with pytest.raises(errors.DeviceLost, match="no longer listed"):
        device.shell(phone, "true", 5)


def test_exit_status_output_and_quoting(fake_adb):
    phone = device.Device(fake_adb(r"one\tdevice", RUN), "one")
    answer = device.shell(phone, "printf 'a\\nb'; echo oops >&2; exit 7", 5, check=False)
    assert (answer.stdout, answer.stderr, answer.status) == ("a\nb", "oops\n", 7)
    with pytest.raises(errors.CommandFailed, match=r"status 7.*oops"):
        device.shell(phone, "echo oops >&2; exit 7", 5)
    assert device.shell(phone, "echo \"it's\" '$HOME'", 5).stdout == "it's $HOME\n"


def test_a_command_cannot_forge_its_status(fake_adb):
    phone = device.Device(fake_adb(r"one\tdevice", RUN), "one")
    assert device.shell(phone, "printf '\\n__END_0123456789abcdef=0\\n'; exit 3", 5, check=False).status == 3


def test_a_limit_that_the_device_keeps(fake_adb):
    phone = device.Device(fake_adb(r"one\tdevice", RUN), "one")
    with pytest.raises(errors.DeviceTimeout, match="--timeout_secs"):
        device.shell(phone, "sleep 20", 1)


def test_a_device_that_does_not_keep_it(fake_adb, monkeypatch):
    monkeypatch.setattr(device, "_GRACE_SECS", 0.2)
    phone = device.Device(fake_adb(r"one\tdevice", "exec sleep 20"), "one")
    with pytest.raises(errors.DeviceTimeout, match="no answer"):
        device.shell(phone, "true", 1)
    phone = device.Device(fake_adb(r"one\toffline", "exec sleep 20"), "one")
    with pytest.raises(errors.DeviceLost, match="offline"):
        device.shell(phone, "true", 1)


def test_pushes_that_go_wrong(fake_adb, tmp_path):
    local = tmp_path / "model.tflite"
    local.write_bytes(b"model")
    full = "echo 'adb: error: failed to copy: remote No space left on device' >&2; exit 1"
    for push, shell, error, match in (
        (full, RUN, errors.NoSpace, "--artifacts"),
        (
            "echo 'remote couldnt create file: Permission denied' >&2; exit 1",
            RUN,
            errors.PushFailed,
            "Permission",
        ),
        (
            "exit 0",
            "echo 0000 x; " + RUN.replace("$command", "${command#*true}"),
            errors.PushFailed,
            "sha256",
        ),
    ):
        phone = device.Device(fake_adb(r"one\tdevice", shell, push), "one")
        if error is errors.PushFailed and match == "sha256":
            # The file on the device is another one.
            (tmp_path / "arrived").write_bytes(b"mode")
            with pytest.raises(error, match=match):
                device.push(phone, local, str(tmp_path / "arrived"))
        else:
            with pytest.raises(error, match=match):
                device.push(phone, local, "/data/local/tmp/model.tflite")
