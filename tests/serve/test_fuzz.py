"""2,000 mutated uploads: each is refused with a reason, or answered where a picture is left in it; nothing crashes.

How a picture that is left is told: another reader (Pillow, pydicom) finds one of the size that the answer states in the
same bytes. Whether each of its pixels is undamaged, formats without checksums (JPEG, BMP, TIFF, DICOM) cannot tell.
"""

from __future__ import annotations

import asyncio
import collections
import io
import random
import warnings

import httpx
import mutations
import pi_heif
import pytest
from PIL import Image, PngImagePlugin

pi_heif.register_heif_opener()
# Pillow gives a whole picture up for a text of more than a megabyte in it; libpng leaves the text out, and so does the
# server.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 64 << 20
SEED, AT_A_TIME = 20261120, 4


def stored_size(data: bytes) -> tuple[int, int] | None:
    """Returns (width, height) that Pillow or pydicom reads from the bytes; None where they find no picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if data[128:132] == b"DICM":
            import pydicom

            try:
                content = pydicom.dcmread(io.BytesIO(data))
                return int(content.Columns), int(content.Rows)
            except Exception:  # noqa: BLE001 - whatever it stumbles over, it found no picture
                return None
        try:
            return Image.open(io.BytesIO(data)).size
        except Exception:  # noqa: BLE001
            return None


def outcome(response: httpx.Response, data: bytes) -> str:
    """Returns what became of an upload; raises where it is neither a proper refusal nor a justified answer."""
    content = response.json()
    if response.status_code == 200:
        size = content["photograph"]["width"], content["photograph"]["height"]
        found = stored_size(data)
        assert found is not None and found in (size, size[::-1]), f"answered as {size}, another reader finds {found}"
        return f"200 {content['status']}"
    error = content["error"]
    assert 400 <= response.status_code < 500, content
    assert error["status"] == response.status_code and error["reason"] and len(error["message"]) > 10
    assert "Traceback" not in response.text and ".py" not in response.text
    return f"{response.status_code} {error['reason']}"


async def send_all(url: str, uploads: list[tuple[str, bytes]]) -> tuple[collections.Counter, list[str]]:
    """Returns how often each outcome occurred, and what went wrong."""
    seen: collections.Counter = collections.Counter()
    wrong: list[str] = []
    waiting = iter(uploads)
    async with httpx.AsyncClient(timeout=120) as client:

        async def work() -> None:
            for name, data in waiting:
                try:
                    response = await client.post(f"{url}/v1/predict?pictures=1", files={"image": ("x", data)})
                    seen[outcome(response, data)] += 1
                    # Of two sizes another reader may find either; such a file must not be answered at all.
                    assert response.status_code != 200 or not name.endswith(":contradict"), (
                        "contradictory, yet answered"
                    )
                except (AssertionError, httpx.HTTPError, ValueError, KeyError) as err:
                    wrong.append(f"{name} ({len(data)} bytes): {type(err).__name__} {err}")

        await asyncio.gather(*(work() for _ in range(AT_A_TIME)))
    return seen, wrong


def gauge(url: str, name: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def replaced(url: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    counts = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("dr_edge_workers_replaced_total{")]
    assert counts
    return sum(counts)


def test_the_unharmed_originals_are_answered(server):
    uploads = list(mutations.originals().items())
    seen, wrong = asyncio.run(send_all(server.url, uploads))
    assert not wrong and sum(count for name, count in seen.items() if name.startswith("200 ")) == len(uploads)


def test_the_same_seed_gives_the_same_uploads():
    assert list(mutations.mutated(3, 40)) == list(mutations.mutated(3, 40))


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_mutated_uploads(count, server, photograph):
    uploads = list(mutations.mutated(SEED, count))
    assert len({data for _, data in uploads}) == count
    restarts = replaced(server.url)
    seen, wrong = asyncio.run(send_all(server.url, uploads))
    assert not wrong, "\n".join(wrong[:20])
    assert sum(seen.values()) == count
    assert replaced(server.url) == restarts and gauge(server.url, "dr_edge_workers") == 2
    # The corpus reaches every kind of refusal, or the test would say little.
    reasons = {name.partition(" ")[2] for name in seen}
    assert {"truncated", "corrupt", "unsupported format", "too many pixels", "empty file", "too small"} <= reasons
    refused = sum(count for name, count in seen.items() if name.startswith("4"))
    assert refused > count / 2, seen
    assert server.process.poll() is None
    response = httpx.post(f"{server.url}/v1/predict", files={"image": photograph}, timeout=60)
    assert response.json()["status"] == "answered"


@pytest.mark.parametrize("count", [40, pytest.param(300, marks=pytest.mark.slow)])
def test_mutated_forms_are_refused_too(count, server, photograph):
    rng = random.Random(SEED)
    request = httpx.Request("POST", "http://x", files={"image": photograph[:3000]}, data={"label": "referable"})
    body, kind = request.read(), request.headers["content-type"]
    with httpx.Client(timeout=60) as client:
        for number in range(count):
            changed = mutations.MUTATIONS[rng.choice(("cut", "flip", "flip_head", "scramble", "repeat", "drop"))](
                body, rng
            )
            response = client.post(f"{server.url}/v1/predict", content=changed, headers={"content-type": kind})
            assert 400 <= response.status_code < 500, (number, response.status_code, response.text)
            assert response.json()["error"]["reason"]
