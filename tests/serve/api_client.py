"""How the tests of the API send a photograph and read a refusal. Not a test."""

from __future__ import annotations

import cv2
import httpx
import numpy as np


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
