"""What a phone is and how it is at the moment: model, SoC, Android, governor, heat, battery. Read through adb."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from typing import Any

from android_bench.adb.device import Device, shell

PROPERTIES = {
    "manufacturer": ("ro.product.manufacturer",),
    "model": ("ro.product.model",),
    "soc": ("ro.soc.model", "ro.board.platform", "ro.hardware"),
    "soc_manufacturer": ("ro.soc.manufacturer",),
    "android": ("ro.build.version.release",),
    "sdk": ("ro.build.version.sdk",),
    "abi": ("ro.product.cpu.abi",),
    "build_fingerprint": ("ro.build.fingerprint",),
}
_EMULATOR = {
    "ro.kernel.qemu": ("1",),
    "ro.boot.qemu": ("1",),
    "ro.hardware": ("goldfish", "ranchu", "cutf_cvm", "cutf", "vbox86", "android_x86"),
}
_POWER = re.compile(r"^\s*(AC|USB|Wireless|Dock) powered: true\s*$", re.MULTILINE)


def describe(device: Device) -> dict[str, Any]:
    """Returns what the phone is. What it does not say is None; the serial appears as a short hash only."""
    wanted = sorted({name for names in PROPERTIES.values() for name in names} | set(_EMULATOR))
    script = "; ".join(f"echo {name}=$(getprop {name})" for name in wanted)
    values = dict(line.partition("=")[::2] for line in shell(device, script, 30).stdout.splitlines())
    found: dict[str, Any] = {
        key: next((values[name] for name in names if values.get(name)), None) for key, names in PROPERTIES.items()
    }
    cores = shell(device, "cat /sys/devices/system/cpu/possible", 20, check=False)
    emulated = is_emulated(values)
    label = " ".join(dict.fromkeys(part for part in (found["manufacturer"], found["model"]) if part))
    soc = f", {found['soc']}" if found["soc"] else ""
    return {
        "kind": "emulated" if emulated else "phone",
        "label": f"{label or 'unnamed device'}{soc}, Android {found['android'] or '?'}",
        **found,
        "cores": cores.stdout.strip() if cores.status == 0 else None,
        "serial_hash": hashlib.sha256(device.serial.encode()).hexdigest()[:12],
    }


def is_emulated(properties: dict[str, str]) -> bool:
    """Returns whether the properties are those of an emulator: its times are no phone's."""
    model = properties.get("ro.product.model", "")
    return model.startswith(("sdk_", "Android SDK built")) or any(
        properties.get(name) in values for name, values in _EMULATOR.items()
    )


def state(device: Device) -> dict[str, Any]:
    """Returns how the phone is now; None for what it does not tell."""
    battery = shell(device, "dumpsys battery", 30, check=False)
    governors = shell(
        device,
        "for f in /sys/devices/system/cpu/cpufreq/policy*/scaling_governor; do cat $f; done",
        20,
        check=False,
    )
    return {
        "thermal_status": thermal_status(device),
        **(parse_battery(battery.stdout) if battery.status == 0 else parse_battery("")),
        "governors": sorted(set(governors.stdout.split())) or None if governors.status == 0 else None,
    }


def thermal_status(device: Device) -> int | None:
    """Returns Android's thermal status now: 0 none, 1 light ... 6 shutdown; None where there is no such service."""
    answer = shell(device, "dumpsys thermalservice", 30, check=False)
    return parse_thermal(answer.stdout) if answer.status == 0 else None


def parse_thermal(text: str) -> int | None:
    """Reads `dumpsys thermalservice`; None where it holds no status (Android 9 and older)."""
    found = re.search(r"^\s*Thermal Status: (\d)\s*$", text, re.MULTILINE)
    return int(found[1]) if found else None


def parse_battery(text: str) -> dict[str, Any]:
    """Reads `dumpsys battery`: temperature in degrees Celsius (printed in tenths), level in percent, power source."""
    temperature = re.search(r"^\s*temperature: (-?\d+)\s*$", text, re.MULTILINE)
    level = re.search(r"^\s*level: (\d+)\s*$", text, re.MULTILINE)
    sources = _POWER.findall(text)
    return {
        "battery_temperature_c": int(temperature[1]) / 10 if temperature else None,
        "battery_level_percent": int(level[1]) if level else None,
        "power": ("+".join(sources) or "battery") if level else None,
    }


def cool_down(
    device: Device,
    longest: float,
    interval: float,
    waiting: Callable[[int], None],
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[int | None, float]:
    """Waits until the thermal status is 0.

    Args:
      device: the phone.
      longest: seconds after which it goes on as warm as it is.
      interval: seconds between two looks, and the whole wait where the phone has no thermal status.
      waiting: called with the status at each look above 0.
      sleep: replaced in tests.

    Returns:
      the status it goes on with (None: unknown), and the seconds waited.
    """
    waited, status = 0.0, thermal_status(device)
    if status is None:
        sleep(interval)
        return None, interval
    step = max(interval, 1.0)
    while status and waited < longest:
        waiting(status)
        sleep(step)
        waited += step
        status = thermal_status(device)
    return status, waited
