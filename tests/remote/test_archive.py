"""A bundle in an archive: the same digest, and nothing but what its metadata.json lists."""

from __future__ import annotations

import gzip
import io
import resource
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from remote_site import FILES, KEPT, digest, manifest, tarred, zipped

from dr_edge.remote import archive, bundles
from dr_edge.remote.download import DownloadError

LISTED = manifest(FILES)
SHA256 = digest(LISTED)
WHOLE = FILES | {"metadata.json": LISTED}
KINDS = {"b.zip": zipped, "b.tar.gz": tarred, "b.tgz": tarred, "download": zipped}


def in_folder(files: dict[str, bytes], folder: str) -> dict[str, bytes]:
    return {f"{folder}/{name}": data for name, data in files.items()}


def fetch(site, content: bytes, sha256: str = SHA256, name: str = "b.zip") -> Path:
    site.files[f"/{name}"] = content
    return bundles.local_directory(f"{site.url}/{name}", sha256)


def nothing_else(tmp_path: Path) -> bool:
    """Tells whether no bundle is kept, and nothing was written beside the cache."""
    kept = [path for path in (tmp_path / "cache" / "dr_edge" / "bundles").iterdir() if path.name[0] != "."]
    return not kept and [path.name for path in tmp_path.iterdir()] == ["cache"] and not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("folder", ["", "idrid", "./idrid", "a/b"])
def test_an_archive_gives_the_same_directory(site, bundle_cache, name, folder):
    files = in_folder(WHOLE, folder) if folder else WHOLE
    found = fetch(site, KINDS[name](files | {"__MACOSX/x": b""}), name=name)
    assert found == bundle_cache / SHA256 and sorted(path.name for path in found.iterdir()) == KEPT
    assert all((found / name).read_bytes() == WHOLE[name] for name in KEPT)
    assert [path.name for path in bundle_cache.iterdir()] == [SHA256]


def test_a_tar_without_compression_too(site, bundle_cache):
    assert fetch(site, tarred(WHOLE, "w"), name="b.tar") == bundle_cache / SHA256


def test_of_several_bundles_the_digest_chooses(site, bundle_cache):
    other = manifest(FILES, image_size=128)
    files = in_folder(FILES | {"metadata.json": other}, "a") | in_folder(WHOLE, "b/deeper")
    assert (fetch(site, zipped(files)) / "metadata.json").read_bytes() == LISTED


def test_the_digest_of_the_archive_is_told_apart(site, bundle_cache):
    content = zipped(in_folder(WHOLE, "idrid"))
    with pytest.raises(DownloadError, match=f"digest is that of the archive.*: {SHA256}"):
        fetch(site, content, digest(content))
    with pytest.raises(DownloadError, match=rf"metadata\.json with sha256 {SHA256[:12]}.*says 000000000000") as caught:
        fetch(site, content, "0" * 64)
    assert SHA256 not in str(caught.value)  # what nobody vouched for is not offered for pasting


@pytest.mark.parametrize("kind", [zipped, tarred])
@pytest.mark.parametrize(
    "name", ["../evil", "/tmp/evil", "idrid/../../evil", "..\\evil", "C:\\evil", "\\\\host\\evil", "a/..", "./../evil"]
)
def test_a_name_that_leads_out_is_refused(site, bundle_cache, tmp_path, kind, name):
    with pytest.raises(DownloadError, match="leads out of the bundle"):
        fetch(site, kind(WHOLE | {name: b"evil"}))
    assert nothing_else(tmp_path)


def test_links_and_devices_are_refused(site, bundle_cache, tmp_path):
    less = {name: data for name, data in WHOLE.items() if name != "parity.json"}
    for content in (tarred(less, links={"parity.json": "/etc/passwd"}), tarred(WHOLE, links={"evil": "/tmp"})):
        with pytest.raises(DownloadError, match="is a link or no file"):
            fetch(site, content)
    out = io.BytesIO(zipped(less))
    with zipfile.ZipFile(out, "a") as packed:
        entry = zipfile.ZipInfo("parity.json")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(entry, "/etc/passwd")
    with pytest.raises(DownloadError, match="is a link or no file"):
        fetch(site, out.getvalue())
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        entry = tarfile.TarInfo("evil")
        entry.type = tarfile.FIFOTYPE
        tar.addfile(entry)
    with pytest.raises(DownloadError, match="is a link or no file"):
        fetch(site, out.getvalue())
    assert nothing_else(tmp_path)


@pytest.mark.parametrize("kind", [zipped, tarred])
def test_a_bomb_does_not_go_off(site, bundle_cache, tmp_path, kind, monkeypatch):
    """20 MB of zeros in 20 kB, in place of a file, and beside the bundle."""
    monkeypatch.setattr(bundles, "LIMIT", 4_000_000)
    zeros = b"\0" * 20_000_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, before[1]))  # a longer file is an OSError
    try:
        with pytest.raises(DownloadError, match="larger than permitted|unpacks to more than 4 MB"):
            fetch(site, kind(WHOLE | {"model.float32.tflite": zeros}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert nothing_else(tmp_path)
    if kind is zipped:  # what is not listed is never unpacked
        assert fetch(site, zipped(WHOLE | {"bomb": zeros}))


def test_a_metadata_json_without_end_is_passed_over(site, bundle_cache):
    with pytest.raises(DownloadError, match=r"holds no metadata\.json"):
        fetch(site, zipped({"metadata.json": b" " * (archive.MOST_MANIFEST + 1)}))


def test_too_many_files_are_refused(site, bundle_cache, monkeypatch):
    monkeypatch.setattr(archive, "MOST_ENTRIES", 20)
    many = {f"{number}": b"" for number in range(30)}
    for kind in (zipped, tarred):
        with pytest.raises(DownloadError, match="more than 20 files"):
            fetch(site, kind(WHOLE | many))


def test_a_header_that_would_fill_the_memory_is_not_read(site, bundle_cache, monkeypatch):
    """A .zip lists its names at its end, and a .tar may state anything before a file; both are taken whole."""
    monkeypatch.setattr(archive, "MOST_AT_ONCE", 1 << 20)
    listed = zipped(WHOLE | {f"{number:0200}": b"" for number in range(5_000)}, zipfile.ZIP_STORED)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("metadata.json")
        entry.pax_headers = {"comment": "x" * (2 << 20)}
        tar.addfile(entry)
    for content in (listed, out.getvalue()):
        with pytest.raises(DownloadError, match=r"cannot be unpacked \(a header of [12] MB\)"):
            fetch(site, content)


@pytest.mark.parametrize("kind", [zipped, tarred])
def test_a_missing_or_changed_file_is_refused(site, bundle_cache, tmp_path, kind):
    name = "parity.json"
    with pytest.raises(DownloadError, match=f"lacks {name}"):
        fetch(site, kind({key: data for key, data in WHOLE.items() if key != name}))
    with pytest.raises(DownloadError, match=f"{name} is not the file"):
        fetch(site, kind(WHOLE | {name: b'{"split": "TEST"}'}))
    assert nothing_else(tmp_path)
    assert fetch(site, kind(WHOLE)) == bundle_cache / SHA256


@pytest.mark.parametrize("kind", [zipped, tarred])
def test_a_damaged_archive_is_refused_wherever_it_is_damaged(site, bundle_cache, tmp_path, kind):
    content = kind(WHOLE)
    for cut in (len(content) // 2, len(content) - 30, 10):
        with pytest.raises(DownloadError):
            fetch(site, content[:cut])
    for place in range(0, len(content), max(1, len(content) // 97)):
        flipped = bytearray(content)
        flipped[place] ^= 0x55
        try:
            found = fetch(site, bytes(flipped))
        except DownloadError:
            assert nothing_else(tmp_path)
        else:  # a byte that says nothing: a date, say
            assert all((found / name).read_bytes() == WHOLE[name] for name in KEPT)
            for path in found.iterdir():
                path.unlink()
            found.rmdir()


def test_what_is_no_archive_is_said(site, bundle_cache):
    for content in (b"", b"PK\x03\x04", gzip.compress(b"no tar" * 400), b"PK\x05\x06" + b"\0" * 18, b"\x1f\x8b"):
        with pytest.raises(DownloadError, match="cannot be unpacked|holds no metadata"):
            fetch(site, content)
