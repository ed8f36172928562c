"""The flags with which a command is given a bundle: a directory or an address, its digest, whose signature it needs."""

from __future__ import annotations

from absl import flags

flags.disclaim_key_flags()  # --help shows them as the command's own


def define(*, required: bool) -> tuple[flags.FlagHolder, flags.FlagHolder, flags.FlagHolder]:
    """Defines --bundle, --bundle_sha256 and --require_signature, and returns them, each of a string or None.

    Args:
      required: a command line without --bundle is refused.
    """
    bundle = flags.DEFINE_string(
        "bundle",
        None,
        "Directory of a bundle (python -m export), or its https:// or hf:// address.",
        required=required,
    )
    sha256 = flags.DEFINE_string(
        "bundle_sha256",
        None,
        "SHA-256 of the bundle's metadata.json, as its export printed it; needed with an address, from which the bundle"
        " is fetched once.",
    )
    signature = flags.DEFINE_string(
        "require_signature",
        None,
        "PEM file of a public key: a bundle that was not signed with its private key (export --sign) is refused.",
    )
    return bundle, sha256, signature
