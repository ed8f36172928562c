"""What `--bundle=` may name beside a directory: an https:// address, or a repository on the Hugging Face hub.

  https://host/bundles/idrid/metadata.json    the directory of metadata.json; https://host/bundles/idrid/ is the same
  https://host/idrid.zip                      an archive of a bundle: .zip, .tar.gz, .tgz, .tar
  hf://owner/name                             hf://owner/name@revision, hf://owner/name@revision/folder

One digest pins everything: the SHA-256 of metadata.json, which lists that of every other file. Standard library only.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import urllib.parse

HUB = "https://huggingface.co"
MANIFEST = "metadata.json"
HOW = (
    "It is the SHA-256 of the bundle's metadata.json: `python -m export` prints it, and whoever publishes the bundle "
    "states it."
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_HUB_KINDS = ("datasets", "spaces", "buckets", "models")


@dataclasses.dataclass(frozen=True)
class Address:
    """An address with the digest that pins what lies there.

    Attributes:
      given: as it was typed, without the digest.
      url: what is fetched first: metadata.json or an archive.
      sha256: of metadata.json, 64 hexadecimal digits in lower case.
    """

    given: str
    url: str
    sha256: str

    def file(self, name: str) -> str:
        """Returns the url of a file beside metadata.json; a query (a key, say) stays."""
        parts = urllib.parse.urlsplit(self.url)
        path = f"{parts.path.rpartition('/')[0]}/{urllib.parse.quote(name)}"
        return urllib.parse.urlunsplit(parts._replace(path=path))


def is_address(bundle: str) -> bool:
    """Tells whether `bundle` is an address of any kind, and no directory."""
    return _SCHEME.match(bundle) is not None


def shown(bundle: str) -> str:
    """Returns an address without digest and query (which may hold a key), for reports."""
    return bundle.partition("#")[0].partition("?")[0]


def digest(text: str) -> str:
    """Returns a SHA-256 as 64 hexadecimal digits in lower case; `sha256:` before it is left out.

    Raises:
      ValueError: it is none.
    """
    plain = text.strip().lower().removeprefix("sha256:").removeprefix("sha256=")
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        raise ValueError(f"--bundle_sha256 takes 64 hexadecimal digits. Received {text!r}. {HOW}")
    return plain


def parse(bundle: str, sha256: str | None) -> Address:
    """Reads an address.

    Args:
      bundle: https://, hf://, or http:// to this computer; its digest may follow as #sha256=DIGEST.
      sha256: the digest, or None where the address holds it.

    Raises:
      ValueError: no digest, two different ones, or an address that is not read here; says what to give.
    """
    given, _, fragment = bundle.partition("#")
    if fragment and not fragment.lower().startswith("sha256="):
        raise ValueError(f"--bundle={given}#{fragment}: after # only #sha256=DIGEST may stand. {HOW}")
    stated = {digest(text) for text in (sha256, fragment) if text}
    if len(stated) > 1:
        raise ValueError("--bundle_sha256 and the #sha256= of --bundle differ. Give the right one, once.")
    scheme = given.partition("://")[0].lower()
    if scheme == "hf":
        url = _on_the_hub(given)
    elif scheme in ("https", "http"):
        url = _checked(given)
    elif scheme == "file":
        raise ValueError(f"--bundle={given}: give a directory of this computer by its path, without file://.")
    else:
        raise ValueError(
            f"--bundle={given}: only https:// and hf:// are read here. Download the bundle and give its directory."
        )
    if not stated:
        raise ValueError(
            f"--bundle={given} is an address, and a bundle from there is only used with its digest: add "
            f"--bundle_sha256=DIGEST. {HOW}"
        )
    return Address(given, url, stated.pop())


def is_permitted(url: str) -> bool:
    """Tells whether a url is https, or http to this computer."""
    parts = urllib.parse.urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(url)))


def is_loopback(url: str) -> bool:
    """Tells whether a url leads to this computer itself."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked(given: str) -> str:
    """Returns the url of an https address: of a directory that of its metadata.json."""
    try:
        parts = urllib.parse.urlsplit(given)
        host, _ = parts.hostname, parts.port
    except ValueError as err:
        raise ValueError(f"--bundle={given} is no address: {err}.") from err
    if parts.username is not None or parts.password is not None:  # not repeated: it would stand in logs
        raise ValueError(
            f"--bundle: the address of {host} holds a name or a password, which are not sent. Download the bundle and "
            "give its directory."
        )
    if not is_permitted(given):
        raise ValueError(f"--bundle={given}: a bundle is fetched over https only. Write https://, if the host has it.")
    if any(sign.isspace() or not sign.isascii() for sign in given):
        given = urllib.parse.quote(given, safe=":/?#[]@!$&'()*+,;=%~")
        parts = urllib.parse.urlsplit(given)
    if host in _HUB_HOSTS and "/resolve/" not in parts.path:
        owner_and_name = "/".join(parts.path.strip("/").split("/")[:2])
        raise ValueError(f"--bundle={given} is a page of the hub. Give the repository: --bundle=hf://{owner_and_name}")
    if parts.path.endswith("/") or not parts.path:
        return urllib.parse.urlunsplit(parts._replace(path=f"{parts.path or '/'}{MANIFEST}"))
    return given


def _on_the_hub(given: str) -> str:
    """Returns the url of the metadata.json of hf://owner/name[@revision][/folder], as the hub documents it."""
    parts = given.partition("://")[2].rstrip("/").split("/")
    if len(parts) > 1:
        name, at, revision = parts[1].partition("@")
        folder = parts[2:]
        known = _NAME.fullmatch(parts[0]) and _NAME.fullmatch(name) and parts[0] not in _HUB_KINDS
        if known and bool(at) == bool(revision) and not {"", ".", ".."} & set(folder):
            revision = urllib.parse.quote(urllib.parse.unquote(revision or "main"), safe="")
            path = "/".join([parts[0], name, "resolve", revision, *map(urllib.parse.quote, folder), MANIFEST])
            return f"{_endpoint()}/{path}"
    raise ValueError(
        f"--bundle={given}: a bundle on the hub is a model repository, hf://OWNER/NAME, hf://OWNER/NAME@REVISION or "
        "hf://OWNER/NAME@REVISION/FOLDER; a / in the revision is written %2F."
    )


def _endpoint() -> str:
    """Returns where the hub is: HF_ENDPOINT, or huggingface.co."""
    endpoint = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    if not is_permitted(endpoint):
        raise ValueError(f"HF_ENDPOINT={endpoint}: an https:// address is needed.")
    return endpoint
