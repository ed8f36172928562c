"""What is uploaded: the form, the names in it, its size and its bytes; each refusal gives its reason."""

from __future__ import annotations

import io
import zlib
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from api_client import png, post, refusal

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
    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    response = post(server, bytes(header))
    assert response.status_code == 413 and refusal(response)["reason"] == "too many pixels"


def test_a_deflated_dicom_bomb_is_refused(server, photograph):
    import pydicom
    from pydicom.uid import DeflatedExplicitVRLittleEndian, generate_uid

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
        DeflatedExplicitVRLittleEndian,
        "1.2.840.10008.5.1.4.1.1.77.1.5.1",
    )
    meta.MediaStorageSOPInstanceUID = generate_uid()
    out = io.BytesIO()
    pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128).save_as(out, enforce_file_format=True)
    head = out.getvalue()
    squeezer = zlib.compressobj(1, zlib.DEFLATED, -15)
    bomb = b"".join(squeezer.compress(bytes(1 << 20)) for _ in range(128)) + squeezer.flush()
    length = head.index(meta.MediaStorageSOPInstanceUID.encode())
    # The file's meta information, then the bomb.
    body = head[: head.index(b"1.2.840.10008.1.2.1.99", length) + 22] + bomb
    response = post(server, body)
    assert response.status_code == 415 and refusal(response)["reason"] == "unsupported DICOM"
    assert response.elapsed.total_seconds() < 20
    assert post(server, photograph).json()["status"] == "answered"


# As browsers and curl send a name; with RFC 8187's `filename*` beside it, as some clients do; and names of no encoding.
NAME = "ñ 眼 Müller%#.png"
DISPOSITIONS = {
    "utf-8": f'filename="{NAME}"'.encode(),
    "percent": f'filename="{quote(NAME)}"'.encode(),
    "extended": f"filename=\"eye.png\"; filename*=UTF-8''{quote(NAME)}".encode(),
    "extended alone": f"filename*=UTF-8''{quote(NAME)}".encode(),
    "latin-1": 'filename="Müller ñ.png"'.encode("latin-1"),
    "a path": r'filename="C:\Bilder\ñ.png"'.encode(),
    "quotes": rb'filename="it\"s; name=label.png"',
    "no name": b"",
    "a control character and another type": b'filename="../../etc/passwd\x00.exe"',
}


@pytest.mark.parametrize("form", DISPOSITIONS)
def test_what_a_file_is_called_changes_nothing(server, photograph, form):
    """Its bytes decide, and the name is neither kept nor answered."""
    parts = [b'form-data; name="image"', *([DISPOSITIONS[form]] if DISPOSITIONS[form] else [])]
    head = b"Content-Disposition: " + b"; ".join(parts) + b"\r\nContent-Type: application/x-msdownload\r\n\r\n"
    body = b"--b\r\n" + head + photograph + b"\r\n--b--\r\n"
    kind = {"content-type": "multipart/form-data; boundary=b"}
    response = httpx.post(f"{server.url}/v1/predict", content=body, headers=kind, timeout=60)
    assert response.status_code == 200, response.text
    expected = post(server, photograph).json()
    assert response.json() | {"milliseconds": None} == expected | {"milliseconds": None}
    assert "Müller" not in response.text and "eye.png" not in response.text


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
