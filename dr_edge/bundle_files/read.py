"""Reads what a bundle says of itself: the one way in for predict, serve, Python, android_bench and fetched bundles.

In this order: the signature over bundle.sha256, where one is required; the schema of metadata.json; bundle.sha256
against metadata.json; the files that are there. The bytes that were compared are those that are read.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

from dr_edge import metadata
from dr_edge.bundle_files import digests, schema, signature

_OLD = (
    "%s has no bundle.sha256: an earlier release exported it, and a change of its metadata.json (a threshold, the "
    "order of the names) would not be seen. Export it again with this release."
)


def read_bundle(directory: str | os.PathLike, require_signature: str | os.PathLike | None = None) -> dict[str, Any]:
    """Reads and checks the metadata.json of a bundle, and the files that it lists as far as they are there.

    A bundle of an earlier release, without bundle.sha256, is read with a warning; of its other files the caller
    compares those that it uses.

    Args:
      directory: what `python -m export` wrote.
      require_signature: PEM file of the public key that must have signed it; None: any bundle is read.

    Returns:
      The content of metadata.json.

    Raises:
      ManifestError: no bundle, one that was changed or is not signed by that key, or fields that make no sense; says
        what to do.
      KeyFileError, OSError, ImportError: the key cannot be read, or the extra `sign` is not installed.
    """
    directory = Path(directory)
    listed = digests.content(directory)
    if require_signature is not None:
        metadata.manifest_bytes(directory, "bundle")  # what is no bundle at all is not called unsigned
        signature.check(directory, listed, require_signature)
    manifest, sha256 = checked_manifest(directory)
    if digests.check_list(directory, manifest, sha256, listed):
        digests.check_files(directory, manifest["files"])
    else:
        logging.getLogger(__name__).warning(_OLD, directory)
    return manifest


def checked_manifest(directory: Path) -> tuple[dict[str, Any], str]:
    """Returns the content of metadata.json, every field checked, and the SHA-256 of its bytes.

    Raises:
      ManifestError: there is none, or a field makes no sense.
    """
    path = metadata.manifest_path(directory, "bundle")
    data = metadata.manifest_bytes(directory, "bundle")
    manifest = metadata.parse_manifest(path, "bundle", data, strict=True)
    schema.check(path, manifest)
    return manifest, hashlib.sha256(data).hexdigest()
