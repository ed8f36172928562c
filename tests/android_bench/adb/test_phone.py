"""android_bench.adb.phone: what Android prints, read; and the wait for a cool phone."""

from __future__ import annotations

import pytest

from android_bench.adb import device, phone

BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  present: true
  level: 87
  scale: 100
  voltage: 4211
  temperature: 312
  technology: Li-ion
"""
THERMAL = """IsStatusOverride: false
ThermalEventListeners:
	callbacks: 2
Thermal Status: 2
Cached temperatures:
	Temperature{mValue=41.5, mType=3, mName=SKIN, mStatus=2}
HAL Ready: true
"""


def test_battery():
    found = {"battery_temperature_c": 31.2, "battery_level_percent": 87, "power": "USB"}
    assert phone.parse_battery(BATTERY) == found
    assert phone.parse_battery(BATTERY.replace("USB powered: true", "USB powered: false"))["power"] == "battery"
    assert phone.parse_battery(BATTERY.replace("AC powered: false", "AC powered: true"))["power"] == "AC+USB"
    assert set(phone.parse_battery("Can't find service: battery\n").values()) == {None}
    assert phone.parse_battery("  level: 5\n  temperature: -31\n")["battery_temperature_c"] == -3.1


def test_thermal():
    assert phone.parse_thermal(THERMAL) == 2
    assert phone.parse_thermal("Can't find service: thermalservice\n") is None
    assert phone.parse_thermal("") is None


@pytest.mark.parametrize(
    ("properties", "emulated"),
    [
        ({"ro.product.model": "SM-G991B", "ro.hardware": "exynos2100"}, False),
        (
            {
                "ro.product.model": "Pixel 8",
                "ro.hardware": "shiba",
                "ro.kernel.qemu": "",
                "ro.boot.qemu": "0",
            },
            False,
        ),
        ({"ro.product.model": "sdk_gphone64_x86_64"}, True),
        ({"ro.product.model": "x", "ro.hardware": "ranchu"}, True),
        ({"ro.product.model": "x", "ro.kernel.qemu": "1"}, True),
        ({}, False),
    ],
)
def test_emulators(properties, emulated):
    assert phone.is_emulated(properties) is emulated


@pytest.mark.parametrize(
    ("statuses", "longest", "expected", "looks"),
    [
        ([0], 60, (0, 0), []),
        ([3, 2, 0], 60, (0, 10), [3, 2]),
        ([3, 3, 3, 3, 3], 10, (3, 10), [3, 3]),
        ([None], 60, (None, 5), []),
    ],
)
def test_cool_down(monkeypatch, statuses, longest, expected, looks):
    remaining, seen, slept = list(statuses), [], []
    monkeypatch.setattr(phone, "thermal_status", lambda _: remaining.pop(0))
    found = phone.cool_down(device.Device("adb", "x"), longest, 5.0, seen.append, slept.append)
    assert found == expected and seen == looks and sum(slept) == expected[1]
