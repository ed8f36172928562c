"""The API over real sockets: a server in a process of its own, and httpx."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket

import cv2
import httpx
import numpy as np
import pytest
from api_client import png, post, refusal

from dr_edge.prediction.bundle import open_bundle
from dr_edge.prediction.pictures import heat_is_shown
from dr_edge.prediction.predictor import Predictor

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def test_an_upload_gets_the_answer_of_the_command(server, bundle_dir, photograph):
    content = post(server, photograph).json()
    expected = json.loads(json.dumps(Predictor(open_bundle(bundle_dir)).predict(photograph).answer.to_json()))
    for name in set(expected) - {"milliseconds"}:
        assert content[name] == expected[name], name
    assert content["status"] == "answered" and content["pictures"] is None
    assert content["schema"] == "dr_edge.prediction" and content["schema_version"] == 1
    assert content["bundle"]["sha256"] == open_bundle(bundle_dir).sha256


def test_pictures_come_as_data_urls(server, bundle_dir, photograph):
    pictures = post(server, photograph, "?pictures=1").json()["pictures"]
    decoded = {}
    for name, url in pictures.items():
        kind, _, text = url.partition(",")
        assert kind == "data:image/png;base64"
        decoded[name] = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert set(decoded) == {"crop", "overlay", "heatmap"}
    result = Predictor(open_bundle(bundle_dir)).predict(photograph)
    np.testing.assert_array_equal(decoded["crop"], result.crop)
    shown = heat_is_shown(open_bundle(bundle_dir), result.answer, result.outputs)
    assert decoded["overlay"].shape == (64, 64, 3) and (decoded["overlay"] != decoded["crop"]).any() == shown


def test_a_label_is_set_beside_the_answer(server, photograph):
    decided = post(server, photograph).json()["decision"]["class_name"]
    assert post(server, photograph, label=decided).json()["label"] == {"given": decided, "agrees": True}
    assert post(server, photograph, label="").json()["label"] is None
    wrong = post(server, photograph, label="<script>alert(1)</script>")
    assert wrong.status_code == 422 and refusal(wrong)["reason"] == "unknown label"


def test_no_fundus_is_an_answer(server):
    content = post(server, png(np.full((200, 300, 3), 3, np.uint8)), "?pictures=1").json()
    assert content["status"] == "not_a_fundus_photograph" and content["pictures"] is None


@pytest.mark.parametrize("path", ["/", "/v1/bundle", "/healthz", "/metrics", "/docs", "/openapi.json", "/nothing"])
def test_every_response_has_the_security_headers(server, path):
    response = httpx.get(server.url + path)
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "script-src 'self' 'wasm-unsafe-eval'" in policy
    assert "unsafe-inline" not in policy and "img-src 'self' blob: data:" in policy
    assert "server" not in response.headers


def test_the_bundle_is_its_manifest_and_what_the_server_does_with_it(server, bundle_dir):
    content = httpx.get(f"{server.url}/v1/bundle").json()
    serve = content.pop("serve")
    stated = json.loads((bundle_dir / "metadata.json").read_text())
    own = stated["artifacts"]["float32.tflite"]  # what the artifact states for itself goes before what the bundle does
    assert content == stated | {key: own[key] for key in ("ood", "operating_points") if key in own}
    assert serve["artifact"] == "model.float32.tflite" and serve["operating_point"] == "sensitivity_90"
    assert serve["min_quality"] == 0.2


@pytest.mark.parametrize("name", ["model.float32.tflite", "model.float16.tflite"])
def test_a_model_is_handed_out_whole_and_once(server, bundle_dir, name):
    response = httpx.get(f"{server.url}/v1/model/{name}")
    stored = (bundle_dir / name).read_bytes()
    assert response.content == stored and int(response.headers["content-length"]) == len(stored)
    assert response.headers["etag"] == f'"{hashlib.sha256(stored).hexdigest()}"'
    again = httpx.get(f"{server.url}/v1/model/{name}", headers={"if-none-match": response.headers["etag"]})
    assert again.status_code == 304 and not again.content
    head = httpx.head(f"{server.url}/v1/model/{name}")
    assert int(head.headers["content-length"]) == len(stored) and not head.content


@pytest.mark.parametrize(
    "path",
    [
        "/v1/model/metadata.json", "/v1/model/parity.json", "/v1/model/..%2fmetadata.json", "/v1/model/%2e%2e/x",
        "/v1/model/", "/v1/model/model.float32.tflite%00", "/static/../app.py", "/static/..%2fapp.py",
        "/static/%2e%2e/%2e%2e/predict.py", "/static//etc/passwd", "/static/", "/.env", "/static/.gitignore",
    ],
)  # fmt: skip
def test_no_path_reaches_a_file_that_is_not_listed(server, path):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", path)  # httpx would tidy the dots away
    response = connection.getresponse()
    text = response.read().decode()
    assert response.status in (404, 307) and "import" not in text and "root:" not in text


def test_a_wrong_method_is_refused_in_the_same_form(server):
    response = httpx.get(f"{server.url}/v1/predict")
    assert response.status_code == 405 and refusal(response)["reason"] == "method not allowed"


@pytest.mark.parametrize(
    "line", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET /" + b"x" * 70_000]
)
def test_what_is_no_http_is_refused(server, line):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(line)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := client.recv(4096):
                received += data
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"content-type: text/plain" in head
    fields = head.lower()
    assert b"connection: close" in fields and b"server:" not in fields and b"Invalid HTTP request received." in body


def test_the_documentation_needs_no_network_and_no_script(server):
    page = httpx.get(f"{server.url}/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text and "style=" not in page.text and "<style" not in page.text
    assert "https://" not in page.text and "http://127.0.0.1" in page.text
    for word in ("/v1/predict", "/v1/bundle", "/v1/model/{name}", "/healthz", "/metrics", "UploadAnswer", "vcdr"):
        assert word in page.text
    links = set(re.findall(r'href="#(\w+)"', page.text))
    assert "UploadAnswer" in links and links <= set(re.findall(r'id="(\w+)"', page.text))
    style = httpx.get(f"{server.url}/docs/style.css")
    assert style.headers["content-type"].startswith("text/css") and "font" in style.text


def test_the_description_for_machines_has_the_answer_in_it(server, photograph):
    schema = httpx.get(f"{server.url}/openapi.json").json()
    assert "Duplicate Operation" not in server.log.read_text()
    described = set(schema["components"]["schemas"]["UploadAnswer"]["properties"])
    assert described == set(post(server, photograph).json())
    assert "multipart/form-data" in schema["paths"]["/v1/predict"]["post"]["requestBody"]["content"]


def test_counts_are_kept(server, photograph):
    def value(name: str) -> float:
        lines = httpx.get(f"{server.url}/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    before = (
        value('dr_edge_answers_total{status="answered"}'),
        value('dr_edge_answers_total{status="unsupported format"}'),
    )
    post(server, photograph)
    post(server, b"no photograph")
    assert value('dr_edge_answers_total{status="answered"}') == before[0] + 1
    assert value('dr_edge_answers_total{status="unsupported format"}') == before[1] + 1
    assert value("dr_edge_workers ") == 2 and value("dr_edge_uploads ") == 0 and value("dr_edge_buffered_bytes ") == 0
    for path in ("/a", "/b", "/c"):
        httpx.get(server.url + path)
    assert 'route="/a"' not in httpx.get(f"{server.url}/metrics").text  # strangers' paths would fill the memory
