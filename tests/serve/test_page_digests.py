"""The page goes by the metadata.json that was exported: what arrives changed is not used, nor sent elsewhere."""

from __future__ import annotations

import hashlib
import json
import shutil

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from node_port import run_node
from page_actions import READY, grade, opened, posts, python_answers

CHECK = """
const {exportedManifest, parseDigests} = await import(`${root}/digests.js`);
const asked = [];
const get = async (path) => {
  asked.push(path);
  return new Uint8Array(Buffer.from(input.files[path.split('/').pop()], 'latin1')).buffer;
};
try {
  return {manifest: await exportedManifest(input.served, get), asked};
} catch (error) {
  return {error: error.message, asked};
}"""
NAME, DIGEST = "model.float32.tflite", "a" * 64
STATED = {
    "task": {"class_names": ["non-referable", "referable"]},
    "image_size": 64,
    "operating_points": [{"name": "youden", "threshold": 0.5}],
    "ood": {"threshold": 3.0},
    "artifacts": {"float32.tflite": {"file": NAME, "sha256": DIGEST, "format": "tflite", "ood": {"threshold": 2.0}}},
    "files": {NAME: DIGEST, "labels.txt": "b" * 64},
    "digests": "bundle.sha256",
}
SERVED = STATED | {"verdict": {"status": "better"}, "serve": {"artifact": NAME, "digests": True}}


def files(content: object = STATED, text: str | None = None, **listed: str) -> dict[str, str]:
    text = json.dumps(content) if text is None else text
    names = {"metadata.json": hashlib.sha256(text.encode("latin-1")).hexdigest(), **STATED["files"], **listed}
    lines = "".join(f"{digest}  {name}\n" for name, digest in names.items() if digest)
    return {"metadata.json": text, "bundle.sha256": lines}


def ask(node: str, held: dict[str, str], served: object = SERVED) -> dict:
    return run_node(node, CHECK, {"served": served, "files": held})


def test_what_was_exported_goes_before_what_is_served(node: str) -> None:
    served = SERVED | {"operating_points": [{"name": "youden", "threshold": 0.9}], "image_size": 96}
    found = ask(node, files(), served)["manifest"]
    assert found["operating_points"] == STATED["operating_points"] and found["image_size"] == 64
    assert found["ood"] == {"threshold": 2.0}  # the artifact's own
    assert found["serve"] == served["serve"] and found["verdict"] == {"status": "better"}
    with_mark = "\xef\xbb\xbf" + json.dumps(STATED)
    assert ask(node, files(text=with_mark))["manifest"]["image_size"] == 64


def test_a_bundle_of_an_earlier_release_is_taken_as_it_is_served(node: str) -> None:
    served = SERVED | {"serve": {"artifact": NAME, "digests": False}}
    assert ask(node, {}, served) == {"manifest": served, "asked": []}


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (files() | {"metadata.json": json.dumps(STATED).replace("0.5", "0.6")}, "not the one that was exported"),
        (files() | {"metadata.json": json.dumps(STATED).replace("non-ref", "ref")}, "not the one that was exported"),
        (files(**{"metadata.json": ""}), "not the one that was exported"),
        (files(**{"labels.txt": "c" * 64}), "do not say the same of labels.txt"),
        (files(**{"labels.txt": ""}), "do not say the same of labels.txt"),
        (files(**{"more.txt": "c" * 64}), "do not say the same of more.txt"),
        (files(STATED | {"artifacts": {"x": {"file": NAME, "sha256": "c" * 64}}}), "says two things of model.float32"),
        (files() | {"bundle.sha256": ""}, "no list that sha256sum wrote"),
        (files() | {"bundle.sha256": files()["bundle.sha256"] * 2}, "no list that sha256sum wrote"),
    ],
)
def test_what_does_not_agree_is_refused(node: str, held: dict[str, str], said: str) -> None:
    assert said in ask(node, held)["error"]


def test_the_server_hands_out_what_was_exported_byte_by_byte(server, bundle_dir) -> None:
    assert httpx.get(f"{server.url}/v1/bundle").json()["serve"]["digests"] is True
    for name in ("metadata.json", "bundle.sha256"):
        answer = httpx.get(f"{server.url}/v1/bundle/{name}")
        assert answer.content == (bundle_dir / name).read_bytes()
        assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
        head = httpx.head(f"{server.url}/v1/bundle/{name}", headers={"accept-encoding": "identity"})
        assert head.headers["content-length"] == str(len(answer.content)) and not head.content
    for name in ("parity.json", "MODEL_CARD.md", "..%2fapp.py", "x", "bundle.sha256.sig"):
        assert httpx.get(f"{server.url}/v1/bundle/{name}").status_code == 404


def test_the_server_hands_out_the_signature(start_server, bundle_dir, tmp_path) -> None:
    """Whoever has the publisher's key can check from afar what a server answers with."""
    private = Ed25519PrivateKey.generate()
    key = tmp_path / "public_key.pem"
    key.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    signed = shutil.copytree(bundle_dir, tmp_path / "signed")
    (signed / "bundle.sha256.sig").write_bytes(private.sign((signed / "bundle.sha256").read_bytes()))
    with start_server(signed, "--workers=1", f"--require_signature={key}") as running:
        held = {name: httpx.get(f"{running.url}/v1/bundle/{name}") for name in ("bundle.sha256", "bundle.sha256.sig")}
        assert {answer.status_code for answer in held.values()} == {200}
        private.public_key().verify(held["bundle.sha256.sig"].content, held["bundle.sha256"].content)
        assert held["bundle.sha256.sig"].headers["content-type"] == "application/octet-stream"
        assert held["bundle.sha256.sig"].headers["etag"]
        model = httpx.get(f"{running.url}/v1/model/model.float32.tflite").content
        listed = dict(line.split("  ")[::-1] for line in held["bundle.sha256"].text.splitlines())
        assert listed["model.float32.tflite"] == hashlib.sha256(model).hexdigest()
        assert httpx.head(f"{running.url}/v1/bundle/bundle.sha256.sig").headers["content-length"] == "64"


@pytest.mark.usefixtures("vendored")
def test_a_threshold_that_changed_on_the_way_is_seen(server, bundle_dir, browser, synthetic) -> None:
    """Nothing is answered, here or by the server."""
    sent = posts(server)
    script = """const plain = window.fetch;
      window.fetch = async (url, options) => {
        const response = await plain(url, options);
        if (!String(url).endsWith('/v1/bundle/metadata.json')) return response;
        return new Response((await response.text()).replace(/"threshold": 0\\./, '"threshold": 0.0'));
      }"""
    tab = browser.open("about:blank")
    tab.send("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    tab.go(server.url)
    tab.wait("document.getElementById('place').dataset.state === 'failed'")
    assert "not the one that was exported" in tab.run("document.getElementById('place-words').textContent")
    assert tab.run("document.getElementById('consent').hidden")
    tab.choose("#choose", synthetic[0])
    assert "waiting for the model" in tab.run("document.querySelector('.item-said').textContent")
    assert posts(server) == sent
    tab.close()
    with opened(browser, server.url) as plain:
        plain.wait(READY)
        (answer,), (expected,) = grade(plain, synthetic[0]), python_answers(bundle_dir, [synthetic[0]])
        assert answer["decision"]["threshold"] == expected["decision"]["threshold"]
