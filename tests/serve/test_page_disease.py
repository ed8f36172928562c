"""A bundle whose disease is the first class, on the page: it is never green, and the threshold is marked at it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from page_actions import SHOWN, compare, complaints, grade, opened, python_answers
from resealed import reseal

from dr_edge.data import positive

pytestmark = pytest.mark.usefixtures("vendored")
TONE = "document.querySelector('.verdict').dataset.tone"
MARKED = (
    "[...document.querySelectorAll('.facts .row')].filter((row) => row.querySelector('u')).map((row) => row.innerText)"
)


@pytest.fixture(scope="module")
def reversed_bundle(bundle_dir, synthetic, tmp_path_factory):
    """As `bundle_dir`, its classes called glaucoma and normal; half of the drawn photographs reach the threshold."""
    out = shutil.copytree(bundle_dir, tmp_path_factory.mktemp("reversed") / "bundle")
    names = ["glaucoma", "normal"]
    answers = [answer for answer in python_answers(bundle_dir, synthetic) if answer["status"] == "answered"]
    middle = float(np.median([answer["outputs"]["probabilities"]["non-referable"] for answer in answers]))
    content = json.loads((out / "metadata.json").read_text())
    content["task"] |= {
        "name": "class", "class_names": names, "positive_class": "glaucoma", "negative_class": "normal",
        "positive_index": 0, "positive_indices": [0],
    }  # fmt: skip
    content["operating_points"] = [
        {**point, "threshold": middle} for point in positive.turned(content["operating_points"])
    ]
    content["verdict"] = {"status": "better", "title": "Better than guessing", "text": "", "caution": ""}
    return reseal(out, content)


def test_the_disease_is_never_green(start_server, reversed_bundle, browser, synthetic):
    expected = {
        answer["sha256"]: answer
        for answer in python_answers(reversed_bundle, synthetic)
        if answer["status"] == "answered"
    }
    seen = set()
    with start_server(reversed_bundle, "--workers=1") as server, opened(browser, server.url) as tab:
        for file in synthetic:
            answer, *_ = grade(tab, file)[::-1]
            if answer["status"] != "answered":
                continue
            theirs = expected[answer["sha256"]]
            compare(answer, theirs)
            ours, decision = answer["decision"], theirs["decision"]
            assert (ours["positive_class"], ours["class_name"]) == (
                "glaucoma",
                "glaucoma" if ours["positive"] else "normal",
            )
            if abs(decision["probability"] - decision["threshold"]) > 0.02:
                assert ours["class_name"] == decision["class_name"]
            tab.wait(f"document.getElementById('shown').innerText.includes('{file.name}')")
            assert tab.run(TONE) == ("warn" if ours["positive"] else "good")
            assert tab.run("document.getElementById('question').textContent") == "Glaucoma or normal?"
            assert ours["class_name"].lower() in tab.wait(SHOWN).lower()
            (marked,) = [text for text in tab.run(MARKED) if "glaucoma" in text or "normal" in text]
            assert marked.startswith("glaucoma")
            assert "Probability of “glaucoma”" in tab.run("document.querySelector('.verdict').innerText")
            seen.add(ours["class_name"])
        assert seen == {"glaucoma", "normal"} and complaints(tab) == []
