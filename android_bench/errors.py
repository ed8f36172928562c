"""The errors of `android_bench`. Each message says what failed, what came, and what to do next."""

from __future__ import annotations


class BenchError(RuntimeError):
    """Measuring failed. `python -m android_bench` prints the message and exits 1."""


class AdbMissing(BenchError):
    """No `adb` program was found, it does not start, or its server does not answer."""


class NoDevice(BenchError):
    """adb lists no device, or not the one asked for."""


class Unauthorised(BenchError):
    """The phone has not accepted this computer's key."""


class DeviceOffline(BenchError):
    """adb lists the device, but it does not answer."""


class SeveralDevices(BenchError):
    """More than one device is connected and none was chosen."""


class DeviceLost(BenchError):
    """The device went away while a command ran; nothing that it printed is used."""


class NoSpace(BenchError):
    """The device's storage is full."""


class DeviceTimeout(BenchError):
    """A command on the device did not end in its time."""


class PushFailed(BenchError):
    """A file did not arrive on the device as it left."""


class CommandFailed(BenchError):
    """A command on the device, or a worker process here, ended with an error.

    Attributes:
      output: what it printed, for the raw log.
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class ToolError(BenchError):
    """The official `benchmark_model` could not be had, or is not one that is known here."""


class ParseError(BenchError):
    """A tool's output is cut off, mixed or contradicts itself; no number is taken from it."""
