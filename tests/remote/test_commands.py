"""predict, serve and android_bench take the address of a bundle; export says the digest that they ask for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import cv2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import dr_edge
from dr_edge import metadata
from dr_edge.remote import bundles

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def published(site, stand_in_bundle) -> tuple[str, str]:
    """(address of a real bundle on the server, its digest)."""
    for path in stand_in_bundle.rglob("*"):
        if path.is_file():
            site.files[f"/o/n/resolve/main/{path.relative_to(stand_in_bundle).as_posix()}"] = path.read_bytes()
    return f"{site.url}/o/n/resolve/main/", metadata.sha256_file(stand_in_bundle / "metadata.json")


@pytest.fixture
def photograph(tmp_path) -> Path:
    from tfrecord_tools.synthetic.draw import draw_fundus

    path = tmp_path / "eye.png"
    cv2.imwrite(str(path), draw_fundus(11, size=256).image[..., ::-1])
    return path


def call(module: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False,
        cwd=REPOSITORY, env=os.environ | environment,
    )  # fmt: skip


def test_predict_answers_from_an_address_as_from_the_directory(
    site, bundle_cache, published, photograph, stand_in_bundle
):
    address, sha256 = published
    here = call("dr_edge.predict", f"--bundle={stand_in_bundle}", photograph)
    there = call("dr_edge.predict", f"--bundle={address}", f"--bundle_sha256={sha256}", photograph)
    hub = call("dr_edge.predict", f"--bundle=hf://o/n#sha256={sha256}", photograph, HF_ENDPOINT=site.url)
    answers = [json.loads(done.stdout)["answers"] for done in (here, there, hub)]
    for (answer,) in answers:
        answer.pop("milliseconds")
    assert answers[0] == answers[1] == answers[2] and there.returncode == 0
    assert "bundle: " in there.stderr and "bundle: " not in hub.stderr  # kept


def test_predict_answers_from_an_address_what_the_publisher_signed(site, bundle_cache, published, photograph, tmp_path):
    address, sha256 = published
    place = address.removeprefix(site.url)
    private, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    for name, key in (("key", private), ("stranger", stranger)):
        text = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pem").write_bytes(text)

    def ask(key: str, *more: object) -> subprocess.CompletedProcess:
        asked = f"--bundle={address}", f"--bundle_sha256={sha256}", f"--require_signature={tmp_path / key}.pem"
        return call("dr_edge.predict", *asked, *more, photograph)

    unsigned = ask("key")
    assert unsigned.returncode == 1 and unsigned.stdout == ""
    assert "bundle.sha256.sig could not be fetched: HTTP 404" in unsigned.stderr
    site.files[f"{place}bundle.sha256.sig"] = private.sign(site.files[f"{place}bundle.sha256"])
    answered = ask("key")
    assert answered.returncode == 0 and json.loads(answered.stdout)["answers"][0]["outputs"]
    other = ask("stranger")
    assert other.returncode == 1 and other.stdout == "" and "is not the signature of --require_sign" in other.stderr
    site.files.clear()
    assert ask("key").returncode == 0  # kept, with its signature


def test_predict_refuses_an_address_without_its_digest(site, bundle_cache, published, photograph):
    done = call("dr_edge.predict", f"--bundle={published[0]}", photograph)
    assert done.returncode == 1 and done.stdout == "" and site.asked == []
    assert done.stderr.startswith("error: ") and "add --bundle_sha256=DIGEST" in done.stderr
    wrong = call("dr_edge.predict", f"--bundle={published[0]}", f"--bundle_sha256={'0' * 64}", photograph)
    assert wrong.returncode == 1 and "--bundle_sha256 says 000000000000" in wrong.stderr


def test_a_program_opens_an_address_as_the_directory(bundle_cache, published, photograph, stand_in_bundle):
    address, sha256 = published
    there = dr_edge.open_bundle(address, bundle_sha256=sha256)
    assert there.answer(photograph).outputs == dr_edge.open_bundle(stand_in_bundle).answer(photograph).outputs
    assert sha256 in repr(there)


def test_ctrl_c_of_a_program_stays_one(bundle_cache, published, monkeypatch):
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundles, "_fetch", interrupted)
    with pytest.raises(KeyboardInterrupt, match="goes on from there"):
        dr_edge.open_bundle(published[0], bundle_sha256=published[1])


def test_android_bench_measures_from_an_address(bundle_cache, published, tmp_path):
    address, sha256 = published
    out = tmp_path / "bench"
    done = call(
        "android_bench", f"--bundle={address}", f"--bundle_sha256={sha256}", "--target=host", "--artifacts=float16",
        "--sessions=1", "--runs=2", "--min_secs=0.01", "--warmup_secs=0.01", f"--out={out}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = metadata.read_manifest(out, "bench")
    assert content["bundle"]["name"] == address and content["bundle"]["metadata_sha256"] == sha256


def test_serve_answers_from_an_address(bundle_cache, published):
    address, sha256 = published
    process = subprocess.Popen(
        [sys.executable, "-m", "dr_edge.serve", f"--bundle={address}", f"--bundle_sha256={sha256}", "--port=0"],
        stderr=subprocess.PIPE, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    try:
        deadline, line = time.monotonic() + 60, ""
        while "The page is at " not in line and time.monotonic() < deadline:
            line = process.stderr.readline()
        page = line.split("The page is at ")[1].split()[0]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{page}v1/bundle", timeout=10) as answer:
                    content = json.load(answer)
                break
            except OSError:
                time.sleep(0.1)
        assert content["task"]["class_names"] == ["non-referable", "referable"]
    finally:
        process.terminate()
        process.communicate(timeout=30)
