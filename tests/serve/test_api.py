"""The API over real sockets: a server in a process of its own, and httpx."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

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


def post(server, data: bytes, query: str = "", **fields: str) -> httpx.Response:
    files = {"image": ("eye.jpg", data, "image/jpeg")}
    return httpx.post(f"{server.url}/v1/predict{query}", files=files, data=fields, timeout=60)


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def refusal(response: httpx.Response) -> dict:
    """Checks the form of an error, and returns it."""
    content = response.json()
    assert set(content) == {"error"} and set(content["error"]) == {"status", "reason", "message"}
    assert content["error"]["status"] == response.status_code and content["error"]["message"]
    assert "Traceback" not in response.text and "/tmp" not in response.text and ".py" not in response.text
    return content["error"]


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


CASES = {
    "nothing": (b"", 422, "empty file"),
    "text": (b"left eye, 2 p.m.", 415, "unsupported format"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported format"),
    "gif": (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", 415, "unsupported format"),
    "tiny": (png(np.zeros((4, 4, 3), np.uint8)), 422, "too small"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_photograph_is_refused_with_its_reason(server, case):
    data, status, reason = CASES[case]
    response = post(server, data)
    assert (response.status_code, refusal(response)["reason"]) == (status, reason)


def test_a_cut_off_photograph_is_refused(server, photograph):
    response = post(server, photograph[: len(photograph) // 2])
    assert response.status_code == 422 and refusal(response)["reason"] == "truncated"


def test_a_bomb_is_refused_undecoded(server):
    bomb = png(np.zeros((16, 16, 3), np.uint8))
    header = bytearray(bomb)
    header[16:24] = (60_000).to_bytes(4, "big") * 2  # 3.6 gigapixels in 100 bytes
    import zlib

    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    response = post(server, bytes(header))
    assert response.status_code == 413 and refusal(response)["reason"] == "too many pixels"


def test_a_deflated_dicom_bomb_is_refused(server, photograph):
    import zlib

    import pydicom
    from pydicom.uid import DeflatedExplicitVRLittleEndian, generate_uid

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = DeflatedExplicitVRLittleEndian, "1.2.840.10008.5.1.4.1.1.77.1.5.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    out = io.BytesIO()
    pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128).save_as(out, enforce_file_format=True)
    head = out.getvalue()
    squeezer = zlib.compressobj(1, zlib.DEFLATED, -15)
    bomb = b"".join(squeezer.compress(bytes(1 << 20)) for _ in range(128)) + squeezer.flush()
    length = head.index(meta.MediaStorageSOPInstanceUID.encode())
    body = head[: head.index(b"1.2.840.10008.1.2.1.99", length) + 22] + bomb  # the file's meta information, then the bomb
    response = post(server, body)
    assert response.status_code == 415 and refusal(response)["reason"] == "unsupported DICOM"
    assert response.elapsed.total_seconds() < 20
    assert post(server, photograph).json()["status"] == "answered"


def test_type_is_decided_by_content_and_not_by_name(server, photograph):
    files = {"image": ("../../etc/passwd\x00.exe", photograph, "application/x-msdownload")}
    assert httpx.post(f"{server.url}/v1/predict", files=files).json()["status"] == "answered"


FORMS = {
    "no form": ({"content": b"x", "headers": {"content-type": "image/jpeg"}}, 415, "no form"),
    "no type": ({"content": b"x"}, 415, "no form"),
    "no boundary": ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 415, "no form"),
    "broken": (
        {"content": b"--b\r\nnonsense", "headers": {"content-type": "multipart/form-data; boundary=b"}},
        400,
        "broken form",
    ),
    "unclosed": (
        {
            "content": b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc',
            "headers": {"content-type": "multipart/form-data; boundary=b"},
        },
        400,
        "broken form",
    ),
    "another field": ({"files": {"photo": b"x"}}, 422, "unknown field"),
    "no image": ({"files": {"label": (None, "referable")}}, 422, "no image"),
    "two images": ({"files": [("image", b"x"), ("image", b"y")]}, 422, "two of a field"),
    "long label": ({"files": {"image": b"x", "label": (None, "x" * 500)}}, 422, "unknown label"),
    "long boundary": (
        {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=" + "b" * 2000}},
        400,
        "broken form",
    ),
}


@pytest.mark.parametrize("case", FORMS)
def test_a_wrong_form_is_refused_with_what_is_wrong(server, case):
    arguments, status, reason = FORMS[case]
    response = httpx.post(f"{server.url}/v1/predict", **arguments)
    assert (response.status_code, refusal(response)["reason"]) == (status, reason)


def test_a_wrong_query_is_refused_in_the_same_form(server, photograph):
    response = post(server, photograph, "?pictures=perhaps")
    assert response.status_code == 422 and refusal(response)["reason"] == "invalid request"


def test_an_upload_that_is_too_large_is_refused_before_it_has_arrived(start_server, bundle_dir):
    with start_server(bundle_dir, "--workers=1", "--max_upload_mb=1") as small:
        response = post(small, b"\xff\xd8\xff" + bytes(3 << 20))
        assert response.status_code == 413 and refusal(response)["reason"] == "file too large"

        def chunks():  # no content-length
            yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
            for _ in range(40):
                yield bytes(1 << 16)

        kind = {"content-type": "multipart/form-data; boundary=b"}
        response = httpx.post(f"{small.url}/v1/predict", content=chunks(), headers=kind, timeout=30)
        assert response.status_code == 413


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


@pytest.mark.parametrize("line", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET /" + b"x" * 70_000])
def test_what_is_no_http_is_refused(server, line):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(line)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := client.recv(4096):
                received += data
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"content-type: text/plain" in head and body


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

    before = value('dr_edge_answers_total{status="answered"}'), value('dr_edge_answers_total{status="unsupported format"}')
    post(server, photograph)
    post(server, b"no photograph")
    assert value('dr_edge_answers_total{status="answered"}') == before[0] + 1
    assert value('dr_edge_answers_total{status="unsupported format"}') == before[1] + 1
    assert value("dr_edge_workers ") == 2 and value("dr_edge_uploads ") == 0 and value("dr_edge_buffered_bytes ") == 0
    for path in ("/a", "/b", "/c"):
        httpx.get(server.url + path)
    assert "route=\"/a\"" not in httpx.get(f"{server.url}/metrics").text  # strangers' paths would fill the memory


def test_the_server_imports_no_framework(bundle_dir):
    code = (
        "import sys\nfrom dr_edge.prediction.bundle import open_bundle\nfrom dr_edge.serve import worker\n"
        "from dr_edge.serve.app import create_app\n"
        f"create_app(open_bundle({str(bundle_dir)!r}))\n"
        "print([name for name in ('tensorflow', 'keras', 'scipy', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=root)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bundle=nowhere"], "nowhere is no directory"),
        (["--bundle=BUNDLE", "--artifact=int4"], "It has: float32"),
        (["--bundle=BUNDLE", "--tls_key=key.pem"], "go together"),
        (["--bundle=BUNDLE", "--tls_key=key.pem", "--tls_certificate=no.pem"], "--tls_certificate=no.pem and --tls_key=key.pem cannot"),
    ],
)
def test_what_cannot_work_is_said_at_the_start(bundle_dir, arguments, message):
    given = [word.replace("BUNDLE", str(bundle_dir)) for word in arguments]
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run(
        [sys.executable, "-m", "dr_edge.serve", *given], capture_output=True, text=True, timeout=60, check=False, cwd=root
    )
    assert result.returncode == 1 and message in result.stderr and "Traceback" not in result.stderr
