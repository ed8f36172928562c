"""bundle.sha256: the SHA-256 of metadata.json and of every other file of a bundle, as sha256sum writes and reads it.

  cd BUNDLE && sha256sum -c bundle.sha256

metadata.json holds the SHA-256 of all files but itself and this one; this one holds that of metadata.json, too, so that
no threshold and no name in it can change unseen. It is written last. Whoever changes both files at once is only found
out by a digest that was stated elsewhere (--bundle_sha256) or by a signature (`signature`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dr_edge import metadata
from dr_edge.bundle_files.schema import ADVICE, DIGESTS

MANIFEST = "metadata.json"
LIMIT = 4 << 20  # bytes; a bundle has a few dozen files
EDITED = ("README.md",)  # the hub's page: its editor may have changed it, and no answer depends on it
_LINE = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?([^\r\\]+)")


def write(directory: Path) -> None:
    """Writes bundle.sha256 from the metadata.json of `directory` and from what that says of the other files."""
    files = metadata.read_manifest(directory, "bundle")["files"]
    listed = {MANIFEST: metadata.sha256_file(directory / MANIFEST), **files}
    metadata.write_text(directory / DIGESTS, "".join(f"{listed[name]}  {name}\n" for name in sorted(listed)))


def content(directory: Path) -> bytes | None:
    """Returns the bytes of bundle.sha256, None where it is not there; raises ManifestError where it is too large."""
    path = directory / DIGESTS
    if not path.is_file():
        return None
    with path.open("rb") as file:
        data = file.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise metadata.ManifestError(f"{path} is larger than {LIMIT >> 20} MB: it is no list of a bundle. {ADVICE}")
    return data


def check_list(directory: Path, manifest: Mapping[str, Any], sha256: str, data: bytes | None) -> bool:
    """Checks that bundle.sha256 and metadata.json say the same of every file.

    Args:
      directory: of the bundle, for messages.
      manifest: the content of metadata.json.
      sha256: of its bytes.
      data: from `content`.

    Returns:
      Whether there is a bundle.sha256; False for a bundle of an earlier release.

    Raises:
      ManifestError: they differ, or bundle.sha256 was removed.
    """
    path = directory / DIGESTS
    if data is None:
        if "digests" in manifest:
            raise metadata.ManifestError(f"{path} is missing, although metadata.json says that it is there. {ADVICE}")
        return False
    listed = _parsed(path, data)
    if listed.get(MANIFEST) != sha256:
        found = listed.get(MANIFEST)
        other = f"{found[:12]}... in {DIGESTS}" if found else f"none in {DIGESTS}"
        raise metadata.ManifestError(
            f"{directory / MANIFEST}: sha256 {sha256[:12]}... differs from {other}. It was changed after it was "
            f"exported. {ADVICE}"
        )
    stated = {MANIFEST: sha256, **manifest["files"]}
    for name in sorted(set(listed) | set(stated)):
        if listed.get(name) != stated.get(name):
            raise metadata.ManifestError(f"{path} and metadata.json do not say the same of {name}. {ADVICE}")
    return True


def check_files(directory: Path, files: Mapping[str, str]) -> None:
    """Checks the files of a protected bundle that are there; which of them a command needs, it says itself.

    A bundle may be handed on without some: a fetched one lacks triton/ and test_vectors/.

    Args:
      directory: of the bundle.
      files: path -> SHA-256, from metadata.json.

    Raises:
      ManifestError: a file was changed; names it. Of README.md that is a warning.
    """
    there = {name: stated for name, stated in files.items() if (directory / name).is_file()}
    metadata.check_files(directory, {name: stated for name, stated in there.items() if name not in EDITED})
    for name in EDITED:
        if name in there and metadata.sha256_file(directory / name) != there[name]:
            logging.getLogger(__name__).warning(
                "%s was changed after the bundle was exported; no answer depends on it.", directory / name
            )


def _parsed(path: Path, data: bytes) -> dict[str, str]:
    """Returns name -> SHA-256 of the lines of bundle.sha256."""
    try:
        lines = data.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as err:
        raise metadata.ManifestError(f"{path} is no text. {ADVICE}") from err
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        found = _LINE.fullmatch(line)
        if found is None or found[2] in listed:
            why = f"names {found[2]} twice" if found else "is no line of sha256sum"
            raise metadata.ManifestError(f"{path}: line {number} {why}. {ADVICE}")
        listed[found[2]] = found[1]
    return listed
