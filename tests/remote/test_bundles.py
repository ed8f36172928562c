"""A bundle at an address becomes a directory: whole, checked, once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from remote_site import FILES, KEPT, digest, kept, left, manifest, start, zipped

from dr_edge import locks, metadata
from dr_edge.bundle_files import digests
from dr_edge.bundle_files.read import read_bundle
from dr_edge.remote import bundles, download
from dr_edge.remote.download import DownloadError

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_directory_is_fetched_once_and_kept_by_its_digest(site, bundle_cache, capsys):
    sha256 = site.put("b", FILES)
    found = bundles.local_directory(f"{site.url}/b/metadata.json", sha256)
    assert found == bundle_cache / sha256 and kept(found) == KEPT
    assert "bundle: 1.02M of 1.02M B in " in capsys.readouterr().err
    asked = len(site.asked)
    assert bundles.local_directory(f"{site.url}/b/#sha256={sha256.upper()}") == found
    assert bundles.local_directory("hf://owner/name", sha256) == found  # the digest is what it is known by
    assert len(site.asked) == asked == 4 and not [path for path in site.names() if "triton" in path]


def test_the_hub(site, bundle_cache, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", site.url)
    sha256 = site.put("owner/name/resolve/v1", FILES)
    site.files["/owner/name/resolve/v1/README.md"] = b"edited on the page of the hub"

    def elsewhere(handler):
        body = b""
        handler.send(body, 302, {"Location": "/cdn/model?signed=1"})

    site.files["/cdn/model"] = site.files["/owner/name/resolve/v1/model.float32.tflite"]
    site.files["/owner/name/resolve/v1/model.float32.tflite"] = elsewhere
    assert kept(bundles.local_directory("hf://owner/name@v1", sha256)) == KEPT
    assert "/cdn/model?signed=1" in site.names()
    with pytest.raises(DownloadError, match=r"resolve/main/metadata\.json .* HTTP 404"):
        bundles.local_directory("hf://owner/name", "0" * 64)


def test_https_needs_a_certificate_that_is_trusted(bundle_cache, tmp_path, monkeypatch):
    sys.path.insert(0, str(REPOSITORY / "tests" / "serve"))
    from certificates import write_certificate

    pair = write_certificate(tmp_path)
    server, site = start(pair)
    try:
        sha256 = site.put("b", FILES)
        monkeypatch.setattr(download, "TRIES", 1)
        with pytest.raises(DownloadError, match="certificate of the server is not trusted.*SSL_CERT_FILE"):
            bundles.local_directory(f"{site.url}/b/", sha256)
        monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
        assert kept(bundles.local_directory(f"{site.url}/b/", sha256)) == KEPT
        shutil.rmtree(bundle_cache)
        site.files["/b/parity.json"] = lambda handler: handler.send(b"", 302, {"Location": "http://127.0.0.1:9/x"})
        with pytest.raises(DownloadError, match="only https is followed"):
            bundles.local_directory(f"{site.url}/b/", sha256)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("target", ["http://example.org/x", "ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_no_redirect_leads_away_from_https(site, bundle_cache, target):
    sha256 = site.put("b", FILES)
    site.files["/b/parity.json"] = lambda handler: handler.send(b"", 302, {"Location": target})
    with pytest.raises((DownloadError, ValueError), match="only https is followed|HTTP 302"):
        bundles.local_directory(f"{site.url}/b/", sha256)
    assert left(bundle_cache) == []


def test_another_metadata_json_is_refused(site, bundle_cache):
    site.put("b", FILES)
    with pytest.raises(DownloadError, match=r"--bundle_sha256 says 000000000000\.\.\.\. Another bundle"):
        bundles.local_directory(f"{site.url}/b/", "0" * 64)
    assert left(bundle_cache) == [] and len(site.asked) == 1


@pytest.mark.parametrize("name", ["model.float32.tflite", "parity.json"])
def test_a_changed_or_missing_file_is_refused(site, bundle_cache, name):
    sha256 = site.put("b", FILES)
    good = site.files[f"/b/{name}"]
    site.files[f"/b/{name}"] = good[:-1] + b"?"
    with pytest.raises(DownloadError, match=rf"{name}: sha256 .* differs"):
        bundles.local_directory(f"{site.url}/b/", sha256)
    del site.files[f"/b/{name}"]
    with pytest.raises(DownloadError, match=rf"{name} could not be fetched: HTTP 404"):
        bundles.local_directory(f"{site.url}/b/", sha256)
    assert left(bundle_cache) == []
    site.files[f"/b/{name}"] = good
    assert kept(bundles.local_directory(f"{site.url}/b/", sha256)) == KEPT


def test_a_page_and_other_content_are_no_bundle(site, bundle_cache):
    site.files |= {"/page": b"\n<!DOCTYPE html><html></html>", "/picture": b"\x89PNG\r\n\x1a\n" + b"\0" * 2000}
    site.files["/zipped"] = lambda handler: handler.send(b"{}", headers={"Content-Encoding": "gzip"})
    for name, message in (("page", "web page"), ("picture", "cannot be unpacked"), ("zipped", "sent compressed")):
        with pytest.raises(DownloadError, match=message):
            bundles.local_directory(f"{site.url}/{name}", "0" * 64)
    assert left(bundle_cache) == []


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\b", "C:evil", "metadata.json", "a//b"])
def test_a_manifest_that_names_what_is_no_file_of_it_is_refused(site, bundle_cache, tmp_path, name):
    listed = manifest(FILES, files={"model.float32.tflite": digest(FILES["model.float32.tflite"]), name: "0" * 64})
    sha256 = site.put("b", FILES, listed)
    with pytest.raises(DownloadError, match="no file of a bundle"):
        bundles.local_directory(f"{site.url}/b/", sha256)
    assert not list(tmp_path.rglob("*evil*"))


def test_what_was_changed_in_the_cache_is_fetched_again(site, bundle_cache, caplog):
    sha256 = site.put("b", FILES)
    found = bundles.local_directory(f"{site.url}/b/", sha256)
    for name in ("parity.json", "metadata.json"):
        (found / name).write_bytes((found / name).read_bytes() + b" ")
        assert kept(bundles.local_directory(f"{site.url}/b/", sha256)) == KEPT
        assert metadata.sha256_file(found / "metadata.json") == sha256
    assert caplog.text.count("was changed: the bundle is fetched again") == 2


def test_a_directory_here_is_checked_where_a_digest_is_given(site, bundle_cache):
    sha256 = site.put("b", FILES)
    found = bundles.local_directory(f"{site.url}/b/", sha256)
    assert bundles.local_directory(str(found)) == bundles.local_directory(str(found), sha256) == found
    with pytest.raises(metadata.ManifestError, match="--bundle_sha256 says"):
        bundles.local_directory(str(found), "0" * 64)
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        bundles.local_directory("nowhere", "abc")


FETCH = "import sys\nfrom dr_edge.remote import bundles\nfrom dr_edge import command\n"
FETCH += "sys.exit(command.call(lambda argv: print(bundles.local_directory(*argv[1:])), sys.argv))"


def fetching(*arguments: str) -> subprocess.Popen:
    """Starts a process that fetches a bundle."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ended_on_the_way_it_leaves_no_bundle_and_the_next_one_goes_on(site, bundle_cache, number):
    sha256, name = site.put("b", FILES), "/b/model.float32.tflite"
    body = FILES["model.float32.tflite"]

    def stalls(handler):
        handler.send(body[:500_000], headers={"Content-Length": str(len(body))})
        time.sleep(3)

    site.files[name] = stalls
    process = fetching(f"{site.url}/b/", sha256)
    part = bundle_cache / f".{sha256}.part" / "model.float32.tflite"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size):
        time.sleep(0.02)
    process.send_signal(number)
    errors = process.communicate(timeout=30)[1]
    assert left(bundle_cache) == []
    if number == signal.SIGINT:
        assert process.returncode == 130 and "The same command goes on from there." in errors
    site.files[name], site.asked = body, []
    came = part.stat().st_size
    assert kept(bundles.local_directory(f"{site.url}/b/", sha256)) == KEPT
    assert came and (name, f"bytes={came}-") in site.asked


def test_a_second_command_waits_for_the_first_and_fetches_nothing(site, bundle_cache):
    sha256 = site.put("b", FILES)
    bundle_cache.mkdir(parents=True)
    lock = locks.take(locks.beside(bundle_cache / sha256), "b", "fetched")
    process = fetching(f"{site.url}/b/", sha256)
    said = ""
    while "This command waits for it.\n" not in said:
        line = process.stderr.readline()
        assert line
        said += line
    assert "is being fetched by process" in said
    lock.release()
    out = process.communicate(timeout=30)[0]
    assert process.returncode == 0 and kept(Path(out.strip())) == KEPT


PROTECTED = {name: data for name, data in FILES.items() if name != "README.md"}


def protected(site, folder="b", listed=None):
    """Puts a bundle with bundle.sha256 at `folder`; returns the digest of its metadata.json."""
    content = manifest(PROTECTED, digests="bundle.sha256")
    sha256 = site.put(folder, PROTECTED, content)
    lines = [f"{digest(data)}  {name}\n" for name, data in sorted((PROTECTED | {"metadata.json": content}).items())]
    site.files[f"/{folder}/bundle.sha256"] = "".join(lines).encode() if listed is None else listed
    return sha256


def test_the_list_of_digests_comes_with_the_bundle(site, bundle_cache):
    sha256 = protected(site)
    found = bundles.local_directory(f"{site.url}/b/", sha256)
    assert (found / "bundle.sha256").read_bytes() == site.files["/b/bundle.sha256"]
    assert read_bundle(found)["digests"] == "bundle.sha256"
    asked = len(site.asked)
    assert bundles.local_directory(f"{site.url}/b/", sha256) == found and len(site.asked) == asked
    (found / "bundle.sha256").unlink()  # what was removed is fetched again
    assert bundles.local_directory(f"{site.url}/b/", sha256) == found and (found / "bundle.sha256").is_file()
    packed = zipped({f"x/{name.removeprefix('/b/')}": data for name, data in site.files.items()})
    shutil.rmtree(bundle_cache)
    site.files = {"/b.zip": packed}
    assert read_bundle(bundles.local_directory(f"{site.url}/b.zip", sha256))


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (b"", "cannot be used: .*line 1 is no line of sha256sum"),
        (
            f"{'0' * 64}  metadata.json\n".encode(),
            r"metadata\.json: sha256 .* differs from 000000000000\.\.\. in bundle",
        ),
        (b"x" * (digests.LIMIT + 1), "larger than the 4 MB"),
        (None, r"bundle\.sha256 could not be fetched: HTTP 404"),
    ],
)
def test_another_list_of_digests_is_refused(site, bundle_cache, listed, said):
    sha256 = protected(site, listed=listed or b"")
    if listed is None:
        del site.files["/b/bundle.sha256"]
    with pytest.raises(DownloadError, match=said):
        bundles.local_directory(f"{site.url}/b/", sha256)
    assert left(bundle_cache) == []
    protected(site)
    assert read_bundle(bundles.local_directory(f"{site.url}/b/", sha256))


def test_an_archive_without_its_list_is_refused(site, bundle_cache):
    sha256 = protected(site)
    del site.files["/b/bundle.sha256"]
    site.files = {"/b.zip": zipped({name.removeprefix("/b/"): data for name, data in site.files.items()})}
    with pytest.raises(DownloadError, match=r"lacks bundle\.sha256\. Ask"):
        bundles.local_directory(f"{site.url}/b.zip", sha256)
    assert left(bundle_cache) == []


def test_a_field_that_makes_no_sense_is_said_before_the_models_are_fetched(site, bundle_cache):
    sha256 = site.put("b", FILES, manifest(FILES, image_size=0))
    with pytest.raises(DownloadError, match="cannot be used: .* says image_size = 0; a whole number from 8 to 4096"):
        bundles.local_directory(f"{site.url}/b/", sha256)
    assert site.names() == ["/b/metadata.json"]


WITH_LISTS = ("metadata.json", "bundle.sha256", "bundle.sha256.sig")


def test_a_signature_is_fetched_where_one_is_required(site, bundle_cache, tmp_path):
    """A kept bundle without it is fetched again; one that has none is refused before it is used."""
    private, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    key = tmp_path / "public_key.pem"
    key.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    sha256 = protected(site)
    assert not (bundles.local_directory(f"{site.url}/b/", sha256) / "bundle.sha256.sig").exists()
    with pytest.raises(DownloadError, match=r"bundle\.sha256\.sig could not be fetched: HTTP 404"):
        bundles.local_directory(f"{site.url}/b/", sha256, key)
    site.files["/b/bundle.sha256.sig"] = private.sign(site.files["/b/bundle.sha256"])
    found = bundles.local_directory(f"{site.url}/b/", sha256, key)
    assert read_bundle(found, key) and bundles.local_directory(f"{site.url}/b/", sha256) == found
    asked = len(site.asked)
    assert bundles.local_directory(f"{site.url}/b/", sha256, key) == found and len(site.asked) == asked
    site.files["/b/bundle.sha256.sig"] = other.sign(site.files["/b/bundle.sha256"])  # the publisher has a new key
    later = tmp_path / "later_key.pem"
    later.write_bytes(other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    asked = len(site.asked)
    assert read_bundle(bundles.local_directory(f"{site.url}/b/", sha256, later), later)
    assert [name for name, _ in site.asked[asked:]] == [f"/b/{name}" for name in WITH_LISTS]  # and no model
    with pytest.raises(metadata.ManifestError, match="is not the signature of"):
        read_bundle(bundles.local_directory(f"{site.url}/b/", sha256, key), key)
    kept = dict(site.files)
    site.files.clear()  # nobody answers: what is wrong is the signature that is here
    with pytest.raises(metadata.ManifestError, match="is not the signature of"):
        read_bundle(bundles.local_directory(f"{site.url}/b/", sha256, key), key)
    site.files.update(kept | {"/b/bundle.sha256.sig": private.sign(kept["/b/bundle.sha256"])})
    shutil.rmtree(bundle_cache)
    site.files["/b.zip"] = zipped({f"x/{name[3:]}": data for name, data in site.files.items()})
    bundles.local_directory(f"{site.url}/b.zip", sha256)  # an archive holds it anyway
    asked = len(site.asked)
    assert read_bundle(bundles.local_directory(f"{site.url}/b.zip", sha256, key), key) and len(site.asked) == asked
    key.write_text("no key")
    asked = len(site.asked)
    with pytest.raises(ValueError, match="holds no PEM"):
        bundles.local_directory(f"{site.url}/c/", sha256, key)
    assert len(site.asked) == asked  # what is wrong here is said before anything is fetched
