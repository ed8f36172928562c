"""One Android device over the plain `adb` program: found, addressed by its serial, left as it was found.

adb itself cannot be trusted to say how a command ended: when the device goes away, `adb shell` may exit 0,
and a client that is killed leaves the remote process running. So every command carries a sentinel with its
exit status, a limit that the device keeps itself, and what was started is ended by its session.
"""

from __future__ import annotations

import dataclasses
import re
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from android_bench.errors import (
    AdbMissing,
    CommandFailed,
    DeviceLost,
    DeviceOffline,
    DeviceTimeout,
    NoDevice,
    NoSpace,
    PushFailed,
    SeveralDevices,
    Unauthorised,
)
from dr_edge import metadata

ROOM = "/data/local/tmp"  # the one directory where adb's user may write and execute on every phone
_LIST_SECS = 60.0
_GRACE_SECS = 20.0  # what adb itself may need on top of the device's own limit
# Ends every process of session $p. Not by its group: toybox's `timeout` gives the command a group of its own. Fields
# of /proc/PID/stat behind the name: state, parent, group, session.
END_SESSION = (
    "for f in /proc/[0-9]*/stat; do { read -r l < $f; } 2>/dev/null || continue; set -- ${l##*) }; "
    'if [ "$4" = "$p" ]; then q=${f%/stat}; kill -9 ${q#/proc/} 2>/dev/null; fi; done'
)
_UNTRUSTED = ("unauthorized", "authorizing")


@dataclasses.dataclass(frozen=True)
class Device:
    """A device that answered: the adb program and the serial that every command names."""

    adb: str
    serial: str


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a command on the device printed, and its exit status."""

    stdout: str
    stderr: str
    status: int


def find_adb(program: str) -> str:
    """Returns the path of the adb program; raises AdbMissing where there is none or it does not start."""
    found = shutil.which(program)
    if found is None:
        raise AdbMissing(
            f"No adb program {program!r}. Install Android's platform-tools (Debian: apt install adb) "
            "or pass its path with --adb."
        )
    try:
        version = subprocess.run([found, "version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise AdbMissing(f"{found} does not start: {err}. Install platform-tools again, or pass --adb.") from err
    if version.returncode or "Android Debug Bridge" not in version.stdout:
        raise AdbMissing(f"{found} is no adb program (it answered {version.stdout[:80]!r}). Pass its path with --adb.")
    return found


def list_devices(adb: str) -> list[tuple[str, str]]:
    """Returns (serial, state) of everything that adb knows: 'device', 'offline', 'unauthorized' ...

    Raises:
      AdbMissing: adb's own server does not start or does not answer.
    """
    try:
        done = _adb([adb, "devices"], _LIST_SECS)
    except subprocess.TimeoutExpired as err:
        raise AdbMissing(
            f"{adb} does not list its devices within {_LIST_SECS:g} s. Run `adb kill-server`, then start again."
        ) from err
    if done.returncode:
        raise AdbMissing(
            f"{adb} cannot list devices (status {done.returncode}: {done.stderr.strip()[-200:]}). Run `adb "
            "kill-server`; if that does not help, install platform-tools again."
        )
    lines = done.stdout.partition("List of devices attached")[2].splitlines()
    return [(serial, state.strip()) for serial, _, state in (line.partition("\t") for line in lines) if state.strip()]


def choose(adb: str, serial: str | None) -> Device:
    """Returns the device to use, after it answered.

    Args:
      adb: from find_adb.
      serial: as `adb devices` lists it; None takes the only one there is.

    Raises:
      NoDevice, SeveralDevices, Unauthorised, DeviceOffline: says what to do.
    """
    devices = list_devices(adb)
    listed = ", ".join(f"{name} ({state})" for name, state in devices) or "none"
    if serial is None:
        if not devices:
            raise NoDevice(
                "No device is connected. Connect the phone by USB, switch on Developer options > USB debugging, "
                "and look whether `adb devices` lists it."
            )
        if len(devices) > 1:
            raise SeveralDevices(f"Several devices are connected: {listed}. Choose one with --serial.")
        serial = devices[0][0]
    state = dict(devices).get(serial)
    if state is None:
        raise NoDevice(f"Device {serial} is not connected. `adb devices` lists: {listed}.")
    _raise_for_state(serial, state)
    device = Device(adb, serial)
    shell(device, "true", 20)
    return device


def shell(device: Device, command: str, limit: float, check: bool = True) -> Answer:
    """Runs a shell command on the device and returns what it printed.

    Args:
      device: from choose.
      command: one line for the device's sh; quote what comes from outside with shlex.quote.
      limit: seconds after which the device ends it.
      check: raise CommandFailed where its status is not 0.

    Raises:
      DeviceTimeout, DeviceLost, DeviceOffline, Unauthorised, CommandFailed.
    """
    return run_script(device, command, limit, check, command)


def run_script(
    device: Device, script: str, limit: float, check: bool, shown: str, note_session: str | None = None
) -> Answer:
    """Runs a script on the device in a session of its own, which ends with it; see shell.

    The status is printed by the script's own shell: toybox's `timeout` now and then gives back 127 for a command
    that ended well (seen with 0.8.9, on short ones), and it ends the command only, not what that started.

    Args:
      device: from choose.
      script: for the device's sh.
      limit: seconds.
      check: raise CommandFailed where its status is not 0.
      shown: names the script in errors.
      note_session: a file on the device that holds the session's number while it runs.
    """
    token = secrets.token_hex(8)
    # echo is the shell's own everywhere; printf is another program.
    inner = f"( {script} ); r=$?; echo; echo __RC_{token}=$r"
    note = f"echo $p > {note_session}; " if note_session else ""
    forget = f"rm -f {note_session}; " if note_session else ""
    outer = (
        f"setsid timeout -k 5 {max(1, round(limit))} sh -c {shlex.quote(inner)} & p=$!; {note}"
        f"wait $p; e=$?; if [ $e != 0 ]; then {END_SESSION}; fi; {forget}echo; echo __END_{token}=$e"
    )
    begin = time.monotonic()
    try:
        done = _adb([device.adb, "-s", device.serial, "shell", outer], limit + _GRACE_SECS)
    except subprocess.TimeoutExpired as err:
        _raise_if_gone(device)
        raise DeviceTimeout(f"{shown!r} gave no answer in {limit:g} s and did not end by itself either.") from err
    output = done.stdout.replace("\r\n", "\n")
    end = re.search(rf"\n__END_{token}=(\d+)\n?$", output)
    if end is None:
        _raise_if_gone(device, done.stderr)
        raise DeviceLost(
            f"{shown!r} was cut off: adb ended with status {done.returncode} and {done.stderr.strip()[-200:]!r}, "
            "but the command's own status did not arrive. Check the cable and start again."
        )
    status = re.search(rf"\n__RC_{token}=(\d+)\n$", output[: end.start()])
    if status is None and time.monotonic() - begin >= limit:
        raise DeviceTimeout(f"{shown!r} was ended after {limit:g} s. Raise --timeout_secs or lower --runs.")
    # Without its own status it was killed, or never began; then the outer one says why.
    found = (status or end)[1]
    answer = Answer(output[: (status or end).start()], done.stderr, int(found))
    if check and answer.status:
        said = (answer.stderr or answer.stdout).strip()[-300:]
        raise CommandFailed(f"{shown!r} ended with status {answer.status} on the device: {said}", said)
    return answer


def push(device: Device, local: Path, remote: str, limit: float = 300.0) -> None:
    """Copies a file to the device and compares the SHA-256 there.

    Raises:
      NoSpace, PushFailed, DeviceLost, DeviceTimeout.
    """
    try:
        done = _adb([device.adb, "-s", device.serial, "push", str(local), remote], limit)
    except subprocess.TimeoutExpired as err:
        _raise_if_gone(device)
        raise DeviceTimeout(
            f"Copying {local.name} to the device took more than {limit:g} s. Try another cable."
        ) from err
    said = (done.stderr + done.stdout).strip()
    if done.returncode:
        _raise_if_gone(device, said)
        if "no space left" in said.lower():
            raise NoSpace(
                f"No space for {local.name} ({local.stat().st_size / 1e6:.1f} MB) in {ROOM} on {device.serial}. "
                "Free some, or measure fewer artifacts at a time with --artifacts."
            )
        raise PushFailed(f"Copying {local.name} to {remote} failed: {said[-300:]}")
    arrived = shell(device, f"sha256sum {shlex.quote(remote)}", limit).stdout.split()
    expected = metadata.sha256_file(local)
    if not arrived or arrived[0] != expected:
        raise PushFailed(
            f"{local.name} arrived on the device with sha256 {' '.join(arrived)[:12] or 'unknown'}..., "
            f"it left with {expected[:12]}.... Start again; try another cable."
        )


def pull(device: Device, remote: str, local: Path, limit: float = 60.0) -> None:
    """Copies a file from the device to `local`. Raises CommandFailed, DeviceLost, DeviceTimeout."""
    try:
        done = _adb([device.adb, "-s", device.serial, "pull", remote, str(local)], limit)
    except subprocess.TimeoutExpired as err:
        _raise_if_gone(device)
        raise DeviceTimeout(f"Copying {remote} from the device took more than {limit:g} s.") from err
    if done.returncode or not local.is_file():
        said = (done.stderr + done.stdout).strip()
        _raise_if_gone(device, said)
        raise CommandFailed(f"{remote} could not be read from the device: {said[-300:]}", said)


def _adb(command: Sequence[str], limit: float) -> subprocess.CompletedProcess[str]:
    """Runs adb in a session of its own: Ctrl-C must reach this process only, which then tidies up through adb."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=limit,
        start_new_session=True,
    )


def _raise_if_gone(device: Device, said: str = "") -> None:
    """Raises what adb says of the device now; returns where it still answers."""
    state = dict(list_devices(device.adb)).get(device.serial, "no longer listed")
    if state in _UNTRUSTED:
        _raise_for_state(device.serial, state)
    if state != "device":
        raise DeviceLost(
            f"Device {device.serial} went away in mid-run: it is {state} ({said.strip()[-200:] or 'adb says nothing'})."
            " Check the cable, keep the phone awake, and start again."
        )


def _raise_for_state(serial: str, state: str) -> None:
    if state in _UNTRUSTED:
        raise Unauthorised(
            f"Device {serial} does not trust this computer ({state}). Unlock it and accept 'Allow USB debugging'; "
            "if it does not ask, revoke the authorisations in Developer options and connect it again."
        )
    if state.startswith("no permissions"):
        raise DeviceOffline(
            f"This user may not open device {serial} ({state}). On Linux install Android's udev rules (Debian: apt "
            "install android-sdk-platform-tools-common) or join the group plugdev, then connect it again."
        )
    if state != "device":
        raise DeviceOffline(
            f"Device {serial} is {state}. Unlock it, connect it again, or run `adb kill-server`; then start again."
        )
