"""A model that is worth nothing says so with each answer."""

from __future__ import annotations

import io
import json
import shutil

import pytest
from resealed import reseal

from dr_edge import metadata
from dr_edge.drawing import overlay
from dr_edge.prediction import pictures
from dr_edge.prediction.bundle import open_bundle
from dr_edge.prediction.flow import predict_files
from dr_edge.prediction.predictor import Predictor

POOR = {
    "status": "worse", "title": "Worse than guessing", "text": "Worse than guessing: AUC 0.14, guessing gives 0.50.",
    "caution": "Worse than guessing on the test images: AUC 0.14. Do not rely on this answer.", "baseline": "guessing",
    "value": 0.14, "interval": [0.1, 0.2], "split": "test", "images": 40, "patients": 30, "parts": [],
}  # fmt: skip
CONSTANT = POOR | {"title": "Not told from a constant answer", "status": "not_told", "baseline": "a constant answer"}


def document(bundle, photographs, overlay_directory=None):
    out, notes = io.StringIO(), io.StringIO()
    failed = predict_files(open_bundle(bundle), [str(photographs / "a.jpg")], out, overlay_directory, notes=notes)
    return json.loads(out.getvalue()), notes.getvalue(), failed


def test_export_states_how_good_the_model_is(stand_in_bundle, mask_bundle):
    """The stand-in learned its square; the masks are of one brightness and know nothing of what is labelled."""
    content = metadata.read_manifest(stand_in_bundle, "bundle")["verdict"]
    parity = metadata.read_manifest(stand_in_bundle, "parity")
    assert content == parity["verdict"] and content["status"] == "better" and content["split"] == "test"
    assert content["value"] == pytest.approx(parity["graph"]["auc"]) and content["images"] == 36
    first = (stand_in_bundle / "MODEL_CARD.md").read_text().split("## What it does")[0]
    assert content["text"] in first and "Do not rely" not in first
    assert content["text"].split(":")[0] in (stand_in_bundle / "parity.html").read_text().split("<table")[0]
    masks = metadata.read_manifest(mask_bundle, "bundle")["verdict"]
    assert masks["baseline"] == "a constant answer" and {part["name"] for part in masks["parts"]} == {
        "vertical cup-to-disc ratio", "optic disc", "optic cup",
    }  # fmt: skip
    assert masks["status"] in ("worse", "not_told")
    card = (mask_bundle / "MODEL_CARD.md").read_text()
    assert "**Do not rely on an answer of this model.**" in card.split("## What it does")[0]
    assert "| Dice of the optic disc | drop | Dice of the optic cup | drop | vCDR error | increase |" in card


@pytest.mark.parametrize("kind", ["bundle_dir", "mask_bundle", "disease_bundle"])
def test_the_message_of_a_poor_model_starts_with_it(kind, changed, photographs, request):
    stated = CONSTANT if kind == "mask_bundle" else POOR
    within_threshold = {"artifacts.*.ood.threshold": 1e6} if kind == "disease_bundle" else {}
    poor = changed(request.getfixturevalue(kind), {"verdict": stated, **within_threshold})
    content, notes, failed = document(poor, photographs)
    (answer,) = content["answers"]
    assert answer["status"] == "answered" and answer["message"].startswith(stated["caution"] + " ") and failed == 0
    assert content["bundle"]["verdict"] == {
        key: value for key, value in stated.items() if key not in ("caution", "parts")
    }
    assert stated["text"] in notes
    good = changed(poor, {"verdict": {**stated, "status": "better", "caution": None}})
    assert document(good, photographs)[0]["answers"][0]["message"] == answer["message"].removeprefix(
        stated["caution"] + " "
    )


def test_a_picture_that_is_passed_on_says_it_too(changed, bundle_dir, mask_bundle, photographs):
    for bundle, stated in ((bundle_dir, POOR), (mask_bundle, CONSTANT)):
        opened = open_bundle(changed(bundle, {"verdict": stated}))
        result = Predictor(opened).predict((photographs / "a.jpg").read_bytes())
        caption = pictures._caption(opened, result.answer, result.outputs)
        assert isinstance(caption, overlay.Caption) and caption.headline.startswith(f"{stated['title']}: ")
        assert stated["caution"] not in caption.headline + caption.detail


def test_an_older_bundle_is_read_and_not_known(bundle_dir, photographs, tmp_path):
    old = shutil.copytree(bundle_dir, tmp_path / "old")
    content = json.loads((old / "metadata.json").read_text())
    del content["verdict"]
    reseal(old, content)
    said, notes, _ = document(old, photographs)
    assert said["bundle"]["verdict"]["status"] == "unknown" and "Not known how good this model is" in notes
    assert "Not known" not in said["answers"][0]["message"]


def test_one_that_was_never_evaluated_is_said_to_be_so(changed, bundle_dir, photographs):
    text = "Not evaluated on images that the model has not seen: the val split had a part in its training."
    stated = POOR | {"status": "not_evaluated", "title": "Not evaluated", "text": text, "caution": text}
    said, notes, _ = document(changed(bundle_dir, {"verdict": stated}), photographs)
    assert said["bundle"]["verdict"]["status"] == "not_evaluated" and text in notes
