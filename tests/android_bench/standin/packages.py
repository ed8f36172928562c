"""Fetches Google's adb and adbd, and Android's shell and tools, as Debian packages; unpacks them, installs nothing.

The packages come from the machine's own apt sources: its release, and that release's backports. What the
machine has installed already is not fetched again. adbd is never installed: as a service it would open a root
shell to every address.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# mksh and toybox are the shell and the tools of Android itself.
NAMES = ("adb", "adbd", "mksh", "toybox")
_LOCATION = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)|$(CREATED_BY)"


class Unavailable(Exception):
    """Why these tests cannot run here."""


def unpack(directory: Path) -> Path:
    """Downloads adb and adbd with what they need into `directory`, and returns the root that they are unpacked to.

    Raises:
      Unavailable: no apt, no Debian source, or no adbd in it.
    """
    release = _release()
    for name in ("lists/partial", "archives/partial", "parts"):
        (directory / name).mkdir(parents=True)
    sources = directory / "sources.list"
    sources.write_text(_sources(release), encoding="utf-8")
    options = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": directory / "parts",
        "Dir::State::lists": directory / "lists",
        "Dir::Cache::archives": directory / "archives",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Debug::NoLocking": "1",
    }
    common = [
        "apt-get",
        "-qq",
        *(part for name, value in options.items() for part in ("-o", f"{name}={value}")),
    ]
    _run([*common, "update"])
    wanted = [*common, "-y", "--reinstall", "--download-only", "--no-install-recommends"]
    try:
        _run([*wanted, "-t", f"{release}-backports", "install", *NAMES])
    except Unavailable:
        _run([*wanted, "install", *NAMES])
    root = directory / "root"
    for package in sorted((directory / "archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)])
    if not list(root.glob("usr/lib/android-sdk/platform-tools/adbd")):
        raise Unavailable("the packages of this release hold no adbd")
    return root


def library_path(root: Path) -> str:
    """Returns the LD_LIBRARY_PATH that the unpacked programs need."""
    return ":".join(str(path) for lib in root.glob("usr/lib/*-linux-gnu*") for path in (lib, lib / "android"))


def _release() -> str:
    facts = dict(line.partition("=")[::2] for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines())
    if not facts.get("VERSION_CODENAME"):
        raise Unavailable("this system names no Debian release in /etc/os-release")
    return facts["VERSION_CODENAME"]


def _sources(release: str) -> str:
    """Returns apt source lines for the release and its backports, from where the machine takes its own packages."""
    try:
        listed = _run(["apt-get", "indextargets", "--format", _LOCATION, f"Suite: {release}"]) or _run(
            ["apt-get", "indextargets", "--format", _LOCATION]
        )
    except FileNotFoundError as err:
        raise Unavailable("there is no apt-get here") from err
    for line in listed.splitlines():
        address, suite, component, key, kind = line.split("|")
        if suite == release and component in ("main", "universe") and kind == "Packages":
            signed = f"[signed-by={key}] " if key.startswith("/") else ""  # older apt leaves the name there
            return "".join(f"deb {signed}{address} {name} {component}\n" for name in (release, f"{release}-backports"))
    raise Unavailable(f"the machine's apt sources do not list {release}")


def _run(command: list[str]) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    if done.returncode:
        raise Unavailable(
            f"`{' '.join(command[:2])} ... {command[-1]}` failed: {(done.stderr or done.stdout).strip()[-300:]}"
        )
    return done.stdout
