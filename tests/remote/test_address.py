"""What an address is, and what is refused before anything is fetched."""

from __future__ import annotations

import pytest

from dr_edge.remote import address

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://host/idrid/metadata.json", "https://host/idrid/metadata.json"),
        ("https://host/idrid/", "https://host/idrid/metadata.json"),
        ("HTTPS://host", "HTTPS://host/metadata.json".replace("HTTPS", "https")),
        ("https://host:8443/idrid.zip?key=1", "https://host:8443/idrid.zip?key=1"),
        ("https://host/my bundle/", "https://host/my%20bundle/metadata.json"),
        ("http://127.0.0.1:80/b/", "http://127.0.0.1:80/b/metadata.json"),
        ("http://[::1]/b/", "http://[::1]/b/metadata.json"),
        ("http://localhost/b.zip", "http://localhost/b.zip"),
        ("hf://owner/name", "https://huggingface.co/owner/name/resolve/main/metadata.json"),
        ("hf://owner/name/", "https://huggingface.co/owner/name/resolve/main/metadata.json"),
        ("hf://o/n.1@v1.0", "https://huggingface.co/o/n.1/resolve/v1.0/metadata.json"),
        ("hf://o/n@refs%2Fpr%2F1/a/b", "https://huggingface.co/o/n/resolve/refs%2Fpr%2F1/a/b/metadata.json"),
        ("https://huggingface.co/o/n/resolve/main/b.zip", "https://huggingface.co/o/n/resolve/main/b.zip"),
    ],
)
def test_an_address_leads_to_metadata_json_or_to_an_archive(given, url, monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert address.is_address(given)
    assert address.parse(given, DIGEST).url == address.parse(f"{given}#sha256={DIGEST.upper()}", None).url == url
    assert address.parse(given, f"sha256:{DIGEST}").sha256 == DIGEST


@pytest.mark.parametrize("given", ["https://host/b/", "hf://owner/name", "https://host/b.zip#", "http://127.0.0.1/b/"])
def test_without_its_digest_an_address_is_refused(given):
    with pytest.raises(ValueError, match=r"--bundle_sha256=DIGEST.*metadata\.json.*`python -m export` prints it"):
        address.parse(given, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("http://host/b/", "over https only"),
        ("http://10.0.0.1/b/", "over https only"),
        ("http://127.0.0.1.example.org/b/", "over https only"),
        ("https:///b", "over https only"),
        ("ftp://host/b.zip", "only https:// and hf://"),
        ("s3://bucket/b", "only https:// and hf://"),
        ("file:///home/b", "by its path"),
        ("https://me:secret@host/b/", "name or a password"),
        ("https://host:x/b/", "no address"),
        ("https://host/b/#metadata.json", "only #sha256=DIGEST"),
        ("https://huggingface.co/owner/name", "--bundle=hf://owner/name"),
        ("https://huggingface.co/owner/name/blob/main/metadata.json", "--bundle=hf://owner/name"),
        ("hf://name", "hf://OWNER/NAME"),
        ("hf://owner/name@", "hf://OWNER/NAME"),
        ("hf://owner/name/../other", "hf://OWNER/NAME"),
        ("hf://owner//name", "hf://OWNER/NAME"),
        ("hf://datasets/owner/name", "model repository"),
    ],
)
def test_an_address_that_is_none_is_refused_with_what_helps(given, message):
    with pytest.raises(ValueError, match=message) as caught:
        address.parse(given, DIGEST)
    assert "secret" not in str(caught.value)


def test_two_digests_and_one_that_is_none_are_refused():
    assert address.parse(f"hf://o/n#sha256={DIGEST}", DIGEST.upper()).sha256 == DIGEST
    with pytest.raises(ValueError, match="differ"):
        address.parse(f"hf://o/n#sha256={DIGEST}", "f" * 64)
    for wrong in (DIGEST[:-1], f"{DIGEST}0", "g" * 64, "latest"):
        with pytest.raises(ValueError, match="64 hexadecimal digits"):
            address.parse("hf://o/n", wrong)


@pytest.mark.parametrize("name", ["bundles/idrid", "/a/b", "C:\\bundles\\idrid", "a:b", "https", "hf:/x/y"])
def test_a_directory_is_no_address(name):
    assert not address.is_address(name)


def test_the_hub_can_be_elsewhere(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example.org/hub/")
    assert address.parse("hf://o/n", DIGEST).url == "https://mirror.example.org/hub/o/n/resolve/main/metadata.json"
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example.org")
    with pytest.raises(ValueError, match="HF_ENDPOINT=http://mirror"):
        address.parse("hf://o/n", DIGEST)


def test_a_file_beside_metadata_json_keeps_the_query():
    place = address.parse("https://host/a/metadata.json?key=1", DIGEST)
    assert place.file("model.float32.tflite") == "https://host/a/model.float32.tflite?key=1"
    assert place.file("ñ #1.json") == "https://host/a/%C3%B1%20%231.json?key=1"
    assert address.shown("https://host/a.zip?key=1#sha256=0") == "https://host/a.zip"
