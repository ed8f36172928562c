"""A bundle at an address becomes a directory of this computer: fetched once, checked, kept by its digest.

Kept is what stands beside metadata.json, below $XDG_CACHE_HOME/dr_edge/bundles (~/.cache/dr_edge/bundles): all that
`predict`, `serve` and `android_bench` read. triton/ and test_vectors/ are for those who build servers and apps, and
README.md is the hub's page, which its editor may have changed. A bundle appears there whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dr_edge import locks, metadata
from dr_edge.bundle_files import digests, signature
from dr_edge.bundle_files.read import checked_manifest
from dr_edge.bundle_files.schema import DIGESTS
from dr_edge.bundle_files.signature import SIGNATURE, public_key
from dr_edge.progress import Progress
from dr_edge.remote import address, archive
from dr_edge.remote.address import MANIFEST, Address
from dr_edge.remote.download import DownloadError, download

LIMIT = 4 << 30  # bytes of a bundle; those of the largest network here come to a quarter of it
SIGNATURE_LIMIT = 1 << 20  # bytes; whoever checks it says what is none
_LEFT_OUT = ("README.md",)


def local_directory(bundle: str, sha256: str | None = None, require_signature: str | os.PathLike | None = None) -> Path:
    """Returns the directory of a bundle; one at an address is fetched where it is not here yet.

    Args:
      bundle: a directory, or an address as `remote.address` reads them.
      sha256: of the bundle's metadata.json, 64 hexadecimal digits; needed with an address, checked with a directory.
      require_signature: PEM file of the public key that must have signed it: the signature is fetched, too, and checked
        by whoever reads the bundle; None: none.

    Raises:
      ValueError: an address without its digest, or one that is not read here, or a key that cannot be used.
      ManifestError: the directory's metadata.json has another digest.
      DownloadError: the bundle could not be fetched, or is not the one that the digest is of.
      KeyboardInterrupt: Ctrl-C; says that the same command goes on from there.
    """
    if not address.is_address(bundle):
        return _checked_directory(Path(bundle), sha256)
    place = address.parse(bundle, sha256)
    signed = require_signature is not None
    if require_signature is not None:
        public_key(require_signature)  # before anything is fetched
    kept = cache_directory() / place.sha256
    if _is_whole(kept, place.sha256, require_signature):
        return kept
    try:
        with _alone(kept) as parts:
            if not _is_whole(kept, place.sha256, require_signature):  # another command may have fetched it meanwhile
                parts.mkdir(exist_ok=True)
                if _is_whole(kept, place.sha256):  # only the signature is not there, or not the right one
                    _take_over(kept, parts)
                elif kept.exists():
                    logging.getLogger(__name__).warning("%s was changed: the bundle is fetched again.", kept)
                _fetch(place, parts, signed)
                _keep(parts, kept)
    except DownloadError:
        if not (kept / SIGNATURE).is_file() or not _is_whole(kept, place.sha256):
            raise
        return kept  # no other signature could be fetched: whoever reads the bundle says what is wrong with this one
    except KeyboardInterrupt as stop:
        said = f"Interrupted while {place.given} was fetched. The same command goes on from there."
        raise KeyboardInterrupt(said) from stop
    return kept


def cache_directory() -> Path:
    """Returns where fetched bundles are kept, each under its digest."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "dr_edge" / "bundles"


def wanted_files(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Returns name -> SHA-256 of the files of a checked manifest that are kept beside metadata.json."""
    files = manifest["files"].items()
    return {name: sha256 for name, sha256 in files if "/" not in name and name not in _LEFT_OUT}


def _checked_directory(directory: Path, sha256: str | None) -> Path:
    """Returns a directory of this computer, whose metadata.json has that digest where one is given."""
    path = directory / MANIFEST
    if sha256 is not None and path.is_file():  # what is no bundle the readers say
        expected, actual = address.digest(sha256), metadata.sha256_file(path)
        if actual != expected:
            raise metadata.ManifestError(
                f"{path} has sha256 {actual[:12]}..., --bundle_sha256 says {expected[:12]}.... Get the right bundle."
            )
    elif sha256 is not None:
        address.digest(sha256)
    return directory


def _is_whole(kept: Path, sha256: str, key: str | os.PathLike | None = None) -> bool:
    """Tells whether a bundle is kept, every byte of it, and signed by a key where one is given."""
    if not kept.is_dir():
        return False
    try:
        metadata.check_files(kept, {MANIFEST: sha256})
        manifest, _ = checked_manifest(kept)
        metadata.check_files(kept, wanted_files(manifest))
        listed = digests.content(kept)
        digests.check_list(kept, manifest, sha256, listed)
        if key is not None:
            signature.check(kept, listed, key)
    except metadata.ManifestError:
        return False
    return True


def _take_over(kept: Path, parts: Path) -> None:
    """Copies the files of a kept bundle, so that they need not be fetched again."""
    for path in kept.iterdir():
        if path.is_file() and path.name != SIGNATURE:
            shutil.copyfile(path, parts / path.name)


@contextlib.contextmanager
def _alone(kept: Path) -> Iterator[Path]:
    """Yields where the parts of a bundle go, while no other process fetches it."""
    with locks.held(kept, "fetched", wait=True) as lock:
        mark = "" if lock.held else f".{uuid.uuid4().hex[:8]}"  # without locks another process may fetch it, too
        yield kept.with_name(f".{kept.name}{mark}.part")


def _fetch(place: Address, parts: Path, signed: bool) -> None:
    """Fetches the files of a bundle into `parts`, where those of an interrupted call may stand."""
    first = parts / ".first"
    with Progress(total=None, unit="B", unit_scale=True, desc="bundle", delay=1.0) as bar:
        download(place.url, first, LIMIT, bar)
    with first.open("rb") as file:
        start = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] == b"{":
        _fetch_files(place, parts, first, signed)
    elif start[:1] == b"<":
        raise DownloadError(
            f"{place.url} is a web page, and no bundle. Give the address of metadata.json or of an archive itself."
        )
    else:
        _unpack(place, parts, first, signed)


def _fetch_files(place: Address, parts: Path, first: Path, signed: bool) -> None:
    """Fetches what lies beside a metadata.json, which came as `first`."""
    actual = metadata.sha256_file(first)
    if actual != place.sha256:
        first.unlink()
        raise DownloadError(
            f"{place.url} has sha256 {actual[:12]}..., --bundle_sha256 says {place.sha256[:12]}.... Another bundle "
            "lies there now, or the digest is of another file. Nothing was kept. Ask whoever publishes it for both."
        )
    os.replace(first, parts / MANIFEST)
    manifest, files = _listed(parts)
    sizes = {entry["file"]: entry["bytes"] for entry in manifest["artifacts"].values()}
    left = LIMIT
    with Progress(total=sum(sizes.values()), unit="B", unit_scale=True, desc="bundle") as bar:
        for name, sha256 in files.items():
            download(place.file(name), parts / name, left, bar, sha256, name in sizes)
            left -= (parts / name).stat().st_size
        if "digests" in manifest:
            download(place.file(DIGESTS), parts / DIGESTS, digests.LIMIT, bar)
        if signed:
            download(place.file(SIGNATURE), parts / SIGNATURE, SIGNATURE_LIMIT, bar)
    _check_list(place, parts, manifest)


def _unpack(place: Address, parts: Path, first: Path, signed: bool) -> None:
    """Takes the bundle with the digest out of an archive, which came as `first`."""
    try:
        with archive.opened(first, place.url, LIMIT) as packed:
            found = {hashlib.sha256(content).hexdigest(): (at, content) for at, content in packed.manifests()}
            if place.sha256 not in found:
                raise DownloadError(_not_in_it(place, first, list(found)))
            folder, content = found[place.sha256]
            metadata.write_bytes(parts / MANIFEST, content)
            left = LIMIT
            manifest, files = _listed(parts)
            for name, sha256 in files.items():
                left -= packed.extract(folder + name, parts / name, sha256, left)
            if "digests" in manifest:
                metadata.write_bytes(parts / DIGESTS, packed.read(folder + DIGESTS, digests.LIMIT))
            if signed or folder + SIGNATURE in packed:
                metadata.write_bytes(parts / SIGNATURE, packed.read(folder + SIGNATURE, SIGNATURE_LIMIT))
        _check_list(place, parts, manifest)
    finally:
        first.unlink(missing_ok=True)


def _not_in_it(place: Address, first: Path, found: list[str]) -> str:
    """Says what an archive holds in place of what was asked for."""
    if not found:
        return f"{place.url} holds no metadata.json: it is no bundle. Check the address."
    if metadata.sha256_file(first) == place.sha256:  # the digest vouches for what is in it
        inside = " or ".join(found)
        return f"{place.url}: the digest is that of the archive. Give that of the metadata.json in it: {inside}"
    shown = " and ".join(f"{digest[:12]}..." for digest in found)
    return (
        f"{place.url} holds a metadata.json with sha256 {shown}, --bundle_sha256 says {place.sha256[:12]}.... Another "
        "bundle lies there now, or the digest is of another file. Nothing was kept. Ask whoever publishes it for both."
    )


def _listed(parts: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the manifest, whose digest was checked, and name -> SHA-256 of the files to fetch."""
    try:
        manifest, _ = checked_manifest(parts)
    except metadata.ManifestError as err:
        raise DownloadError(f"The bundle was fetched and cannot be used: {err}") from err
    return manifest, wanted_files(manifest)


def _check_list(place: Address, parts: Path, manifest: Mapping[str, Any]) -> None:
    """Raises DownloadError where the bundle.sha256 that came is not that of metadata.json."""
    try:
        digests.check_list(parts, manifest, place.sha256, digests.content(parts))
    except metadata.ManifestError as err:
        (parts / DIGESTS).unlink(missing_ok=True)
        raise DownloadError(f"The bundle was fetched and cannot be used: {err}") from err


def _keep(parts: Path, kept: Path) -> None:
    """Gives a whole bundle its name."""
    manifest, files = _listed(parts)
    names = {MANIFEST, SIGNATURE, *files, *([DIGESTS] if "digests" in manifest else [])}
    for path in parts.iterdir():  # of an earlier try, when something else lay there
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if kept.exists():
        shutil.rmtree(kept)
    os.replace(parts, kept)
    with contextlib.suppress(OSError):  # some file systems cannot sync a directory
        descriptor = os.open(kept.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
