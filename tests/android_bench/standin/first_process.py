"""The first process of a stand-in phone: builds its file system, closes its sockets to the outside, becomes adbd.

Runs as root under `unshare --net --mount --pid --fork --mount-proc`, with a JSON description as its argument:
root (an empty directory to mount on), adbd, library_path, unpacked (packages.unpack), visible (directories that must be
seen there), files (path -> content), storage_bytes. The machine's own files are seen read-only; /data, /system and /sys
are the stand-in's.
"""

import ctypes
import fcntl
import json
import os
import platform
import socket
import struct
import subprocess
import sys
from pathlib import Path

SHOWN = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt", "etc"}


def main(description: str) -> None:
    spec = json.loads(description)
    root = Path(spec["root"])
    mount("-t", "tmpfs", "-o", "size=16m", "standin", root)
    shown = SHOWN | {Path(name).parts[1] for name in spec["visible"]}
    for entry in sorted(path for path in Path("/").iterdir() if path.name in shown):
        if entry.is_symlink():
            (root / entry.name).symlink_to(os.readlink(entry))
        elif entry.is_dir():
            show(entry, root)
    for name in spec["visible"]:
        if not (root / name.lstrip("/")).exists():
            raise SystemExit(f"{name} lies on a file system that the stand-in phone does not see")
    for name in ("proc", "dev"):
        (root / name).mkdir()
        mount("--rbind", f"/{name}", root / name)
    room = root / "data/local/tmp"
    room.mkdir(parents=True)
    mount("-t", "tmpfs", "-o", f"size={spec['storage_bytes']}", "storage", room)
    for name, content in spec["files"].items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        path.chmod(0o755)
    wear_android(root, Path(spec["unpacked"]))
    bring_up_loopback()
    os.chroot(root)
    os.chdir("/")
    deny_vsock()
    environment = {
        "PATH": "/system/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": "/data/local/tmp",
        "LD_LIBRARY_PATH": spec["library_path"],
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    os.execve(spec["adbd"], [spec["adbd"]], environment)


def wear_android(root: Path, unpacked: Path) -> None:
    """Gives the phone Android's own shell and tools: mksh as sh, toybox for all it knows (except stand-ins)."""
    mount("--bind", unpacked / "bin/mksh", root / Path("/bin/sh").resolve().relative_to("/"))
    toybox = unpacked / "bin/toybox"
    for name in subprocess.run([toybox], capture_output=True, text=True, check=True).stdout.split():
        link = root / "system/bin" / name
        if not link.exists():
            link.symlink_to(toybox)


def show(entry: Path, root: Path) -> None:
    """Shows a directory of the machine read-only, with the file systems that are mounted below it."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    below = {line.split()[1] for line in lines}
    for source in [
        str(entry),
        *sorted(path for path in below if path.startswith(f"{entry}/") and not path.startswith(str(root))),
    ]:
        target = root / source.lstrip("/")
        if source == str(entry):
            target.mkdir()
        if target.is_dir():
            mount("--bind", source, target)
            mount("-o", "remount,bind,ro", target)


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, 0x8913, request))[1]  # SIOCGIFFLAGS
        fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))  # SIOCSIFFLAGS, IFF_UP


def deny_vsock() -> None:
    """Refuses AF_VSOCK sockets from here on: adbd also listens there, and network namespaces do not hold vsock."""
    number = {"x86_64": 41, "aarch64": 198}[platform.machine()]  # socket()
    program = (
        (0x20, 0, 0, 0),  # load the system call's number
        (0x15, 0, 3, number),  # not socket(): allow
        (0x20, 0, 0, 16),  # load its first argument
        (0x15, 0, 1, 40),  # not AF_VSOCK: allow
        (0x06, 0, 0, 0x00050000 | 97),  # EAFNOSUPPORT
        (0x06, 0, 0, 0x7FFF0000),
    )
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    pointer = ctypes.c_void_p(ctypes.addressof(head))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, pointer, 0, 0):  # no new privileges; seccomp filter
        raise OSError(ctypes.get_errno(), "no seccomp filter")


if __name__ == "__main__":
    main(sys.argv[1])
