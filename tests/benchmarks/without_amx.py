"""Runs a benchmark as on a CPU without AMX: its tiles need a permission, which a filter of system calls refuses here.

    python tests/benchmarks/without_amx.py tests/benchmarks/bench_export.py

XNNPACK takes AMX kernels for 8-bit convolutions where it may. They are fast on wide maps and slow on the narrow ones
that MobileNetV3 begins with, so the same file is slower with them; no phone has them. Linux on x86-64 only.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys

import pytest

# System call 158: asm/unistd_64.h; ARCH_REQ_XCOMP_PERM: asm/prctl.h.
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = (
    158,
    0x1023,
    18,
)
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2  # linux/prctl.h, linux/seccomp.h
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # classic BPF
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with EPERM


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def refuse_amx() -> None:
    """Makes this process and its children go without AMX, for good.

    Raises:
      RuntimeError: not Linux on x86-64, or the kernel takes no filter.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise RuntimeError(
            f"AMX can be refused on Linux with x86-64 only. Here: {platform.system()} {platform.machine()}."
        )
    instructions = [
        (LOAD, 0, 0, 0),  # the number of the system call
        (EQUAL, 0, 3, ARCH_PRCTL),
        (LOAD, 0, 0, 16),  # its first argument
        (EQUAL, 0, 1, REQUEST_PERMISSION),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in instructions))
    program = _Program(len(instructions), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0):
        raise RuntimeError(f"The kernel takes no filter of system calls: error {ctypes.get_errno()}.")
    if libc.syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA) == 0:
        raise RuntimeError("The permission to use AMX was granted all the same.")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    refuse_amx()
    sys.exit(pytest.main([*sys.argv[1:], "-o", "python_files=bench_*.py", "-s"]))
