"""What the tests of the page ask of it, and what Python answers to the same photographs."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from page_browser import Browser, Tab

from dr_edge.prediction.bundle import open_bundle
from dr_edge.prediction.flow import predict_files
from dr_edge.prediction.predictor import Predictor

READY = "document.getElementById('place').dataset.state === 'ready'"
OFFLINE = "document.getElementById('place-words').textContent.includes('offline')"
ANSWERED = """document.querySelectorAll('.item-said').length >= {count}
  && ![...document.querySelectorAll('.item-said')].some((said) => said.textContent.includes('…'))"""
SHOWN = "!document.getElementById('shown').hidden && document.getElementById('shown').innerText"


@contextlib.contextmanager
def opened(browser: Browser, url: str, **options: Any) -> Iterator[Tab]:
    tab = browser.open(url, **options)
    try:
        yield tab
    finally:
        tab.close()


def grade(tab: Tab, *files: Path) -> list[dict[str, Any]]:
    """Chooses photographs, waits for their answers and returns what the page saves of them."""
    tab.choose("#choose", *files)
    tab.wait(ANSWERED.format(count=len(files)))
    return saved(tab)["answers"]


def saved(tab: Tab) -> dict[str, Any]:
    """Returns what "Save" would write, read on its way."""
    tab.run("""window.saved = null; HTMLAnchorElement.prototype.click = () => {};
      window.made ??= URL.createObjectURL;
      URL.createObjectURL = (blob) => { window.saved = blob.text(); return window.made.call(URL, blob); };
      document.getElementById('save').click()""")
    content = json.loads(tab.run("window.saved"))
    tab.run("URL.createObjectURL = window.made")
    return content


def show_heat(tab: Tab) -> None:
    """Shows the heat map of the answer, also where it speaks for no disease that was found."""
    tab.run(
        "[...document.querySelectorAll('figure button')].find((one) => one.textContent === 'Show the heat map "
        "anyway')?.click()"
    )


def posts(server) -> float:
    """Returns how many photographs were sent to the server, as it counts them itself."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith('dr_edge_requests_total{route="/v1/predict"')
    )


def complaints(tab: Tab) -> list[str]:
    """Returns what the browser complained of; LiteRT.js writes its notes there too."""
    return [text for text in tab.complaints() if not text.startswith(("INFO: ", "WARNING: "))]


def compare(answer: dict[str, Any], expected: dict[str, Any]) -> None:
    name = answer["file"]
    assert answer["status"] == expected["status"], (name, answer["message"], expected["message"])
    assert answer["reason"] == expected["reason"], name
    if answer["status"] == "unreadable":
        return
    assert answer["sha256"] == expected["sha256"], name
    assert answer["photograph"] == expected["photograph"], name
    assert answer["cautions"] == expected["cautions"], name
    if expected["crop"] is None:
        return
    difference = np.abs(np.array(answer["crop"]["box"]) - expected["crop"]["box"]).max()
    assert difference <= 2, (name, answer["crop"], expected["crop"])
    assert answer["crop"]["size"] == expected["crop"]["size"]
    assert answer["quality"]["score"] == pytest.approx(expected["quality"]["score"], abs=0.02), name
    assert answer["quality"]["gradable"] == expected["quality"]["gradable"], name
    if expected["outputs"]["probabilities"] is not None:
        assert answer["outputs"]["probabilities"] == pytest.approx(expected["outputs"]["probabilities"], abs=0.02), name
    if expected["decision"] is not None:
        ours, theirs = answer["decision"], expected["decision"]
        assert (ours["operating_point"], ours["threshold"]) == (theirs["operating_point"], theirs["threshold"])
        assert ours["positive"] == (ours["probability"] >= ours["threshold"])


def form(content: Any) -> Any:
    """Returns the keys of a JSON object and of those in it, without their values."""
    return {key: form(value) for key, value in content.items()} if isinstance(content, dict) else None


def predicted(bundle_dir: Path, files: list[Path]) -> dict[str, Any]:
    """Returns the document of `python -m dr_edge.predict`."""
    out = io.StringIO()
    predict_files(open_bundle(bundle_dir), [str(file) for file in files], out)
    return json.loads(out.getvalue())


def python_answers(bundle_dir: Path, files: list[Path]) -> list[dict[str, Any]]:
    from dr_edge.fundus.header_types import PhotographError

    predictor, answers = Predictor(open_bundle(bundle_dir)), []
    for file in files:
        try:
            answers.append(predictor.predict(file.read_bytes()).answer.to_json())
        except PhotographError as err:
            answers.append({"status": "unreadable", "reason": err.reason, "message": str(err)})
    return answers
