"""An Ed25519 signature over bundle.sha256, in bundle.sha256.sig: who exported a bundle, not only that it is whole.

The 64 bytes that openssl writes and reads, so that a key may also stay where it is and sign there:

  openssl pkeyutl -sign -inkey signing_key.pem -rawin -in bundle.sha256 -out bundle.sha256.sig
  openssl pkeyutl -verify -pubin -inkey public_key.pem -rawin -in bundle.sha256 -sigfile bundle.sha256.sig

Keys are PEM files, PKCS8 and SubjectPublicKeyInfo, as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`
write them. The library is cryptography (the extra `sign`), imported here and only where something is signed or checked.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dr_edge import extras, metadata
from dr_edge.bundle_files.schema import ADVICE, DIGESTS

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE = "bundle.sha256.sig"
BYTES = 64
LIMIT = 1 << 16  # bytes of a key file
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
SIGN, REQUIRE = "--sign", "--require_signature"


class KeyFileError(ValueError):
    """A key file cannot be used; says what to give."""


def signing_key(path: str | os.PathLike) -> Ed25519PrivateKey:
    """Reads a private key without a password.

    Raises:
      KeyFileError: it is no PEM of an unprotected Ed25519 private key.
      OSError: it cannot be read.
      ImportError: the extra `sign` is not installed.
    """
    extras.require(SIGN)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _pem(SIGN, path, "PRIVATE KEY", "openssl genpkey -algorithm ed25519 -out KEY")
    try:
        key: Any = load_pem_private_key(data, None)
    except TypeError as err:  # how the library says that a password is needed
        raise KeyFileError(
            f"{SIGN}={os.fspath(path)}: the key has a password, and none is asked for here. Give a key without "
            "one, in a file that only you can read, or sign bundle.sha256 with openssl pkeyutl."
        ) from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise KeyFileError(
            f"{SIGN}={os.fspath(path)}: the private key in it is damaged or of an unknown kind."
        ) from err
    return _ed25519(SIGN, path, key, Ed25519PrivateKey)


def public_key(path: str | os.PathLike) -> Ed25519PublicKey:
    """Reads a public key; raises as `signing_key`."""
    extras.require(REQUIRE)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _pem(REQUIRE, path, "PUBLIC KEY", "openssl pkey -in PRIVATE_KEY -pubout -out KEY")
    try:
        key: Any = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as err:
        raise KeyFileError(
            f"{REQUIRE}={os.fspath(path)}: the public key in it is damaged or of an unknown kind."
        ) from err
    return _ed25519(REQUIRE, path, key, Ed25519PublicKey)


def sign(directory: Path, key: Ed25519PrivateKey) -> None:
    """Writes bundle.sha256.sig over the bundle.sha256 of `directory`."""
    metadata.write_bytes(directory / SIGNATURE, key.sign((directory / DIGESTS).read_bytes()))


def check(directory: Path, listed: bytes | None, path: str | os.PathLike) -> None:
    """Checks the signature of a bundle.

    Args:
      directory: of the bundle.
      listed: the bytes of its bundle.sha256; None where it has none.
      path: of the public key.

    Raises:
      ManifestError: there is no signature, or it is not of this key over these bytes.
      KeyFileError, OSError, ImportError: as `public_key`.
    """
    from cryptography.exceptions import InvalidSignature

    key = public_key(path)
    if listed is None:
        raise metadata.ManifestError(
            f"{directory} has no {DIGESTS}, and {REQUIRE} asks for a signature over it. Ask whoever publishes the "
            "bundle for a signed one."
        )
    file = directory / SIGNATURE
    if not file.is_file():
        raise metadata.ManifestError(
            f"{directory} is not signed: it has no {SIGNATURE}, and {REQUIRE} asks for it. Ask whoever publishes "
            "the bundle for a signed one."
        )
    with file.open("rb") as opened:
        signature = opened.read(BYTES + 1)
    if len(signature) != BYTES:
        raise metadata.ManifestError(f"{file} is no signature of {BYTES} bytes. {ADVICE}")
    try:
        key.verify(signature, listed)
    except InvalidSignature as err:
        raise metadata.ManifestError(
            f"{file} is not the signature of {REQUIRE}={os.fspath(path)} over {DIGESTS}: somebody else signed it, or "
            "one of the two files was changed. Ask whoever publishes the bundle for it and for the right key."
        ) from err


def _pem(flag: str, path: str | os.PathLike, wanted: str, how: str) -> bytes:
    """Returns the bytes of a key file, which holds one PEM block, of the kind that is wanted.

    Raises:
      KeyFileError: it holds something else, or several of them, of which one would be taken unseen.
    """
    with open(path, "rb") as file:
        data = file.read(LIMIT)
    kinds = [kind.decode() for kind in _BEGIN.findall(data)]
    if len(kinds) == 1 and kinds[0].endswith(wanted) and not kinds[0].startswith("OPENSSH"):
        return data
    found = "no PEM" if not kinds else f"{len(kinds)} PEM blocks" if len(kinds) > 1 else f"one {kinds[0]}"
    raise KeyFileError(f"{flag}={os.fspath(path)} holds {found}; one {wanted} is needed: {how}")


def _ed25519(flag: str, path: str | os.PathLike, key: Any, kind: type) -> Any:
    """Returns the key; raises KeyFileError where it is one of another algorithm."""
    if not isinstance(key, kind):
        found = type(key).__name__.removeprefix("_").removesuffix("Key").removesuffix("Private").removesuffix("Public")
        raise KeyFileError(
            f"{flag}={os.fspath(path)}: the key is one of {found}, and Ed25519 is needed: openssl genpkey -algorithm "
            "ed25519 -out signing_key.pem"
        )
    return key
