"""Bundles of earlier releases: their disease is read from the names, or stays the second class with a caution."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest

from dr_edge import metadata
from dr_edge.prediction.bundle import open_bundle
from dr_edge.prediction.flow import predict_files
from dr_edge.prediction.predictor import Predictor

SAID = ("positive_class", "negative_class", "positive_index", "positive_indices")


@pytest.fixture
def old_bundle(bundle_dir, changed):
    """old_bundle(class names): as exported before the disease was stated."""

    def make(names, task_name="class"):
        content = json.loads((bundle_dir / "metadata.json").read_text())
        task = {key: value for key, value in content["task"].items() if key not in SAID}
        return changed(bundle_dir, {"task": task | {"name": task_name, "class_names": names}})

    return make


def test_the_second_class_is_the_disease_where_its_name_says_so(old_bundle):
    bundle = open_bundle(old_bundle(["normal", "glaucoma"]))
    assert (bundle.positive, bundle.positive_name, bundle.negative_name) == ((1,), "glaucoma", "normal")
    assert bundle.operating_point.name == "sensitivity_90" and " for the disease" not in bundle.manifest["warning"]


def test_names_that_somebody_typed_may_be_swapped_and_those_of_a_task_of_ours_are_not(old_bundle):
    """The README's own command called the folders glaucoma and normal healthy and sick: nothing in the bundle tells."""
    assert (
        "did not compare the names healthy, sick with those of its records"
        in open_bundle(old_bundle(["healthy", "sick"])).manifest["warning"]
    )
    ours = open_bundle(old_bundle(["non-referable", "referable"], "referable_dr"))
    assert ours.manifest["warning"] is None and ours.positive_name == "referable"


def test_the_same_decisions_are_told_the_other_way_round_where_the_first_is(old_bundle, bundle_dir, photographs):
    """Its thresholds are of the healthy probability: that of specificity 0.90 there has sensitivity 0.90 here."""
    before, after = open_bundle(bundle_dir), open_bundle(old_bundle(["glaucoma", "normal"]))
    was = next(point for point in before.manifest["operating_points"] if point["name"] == "specificity_90")
    point = after.operating_point
    assert (point.name, point.sensitivity, point.specificity) == (
        "sensitivity_90",
        was["specificity"],
        was["sensitivity"],
    )
    assert point.sensitivity >= 0.9 and point.threshold == pytest.approx(1 - was["threshold"])
    assert "'normal' for the disease" in after.manifest["warning"]
    one, other = Predictor(open_bundle(bundle_dir, operating_point="specificity_90")), Predictor(after)
    for name in ("a.jpg", "b.png", "c.tif"):
        data = (photographs / name).read_bytes()
        first, second = one.predict(data).answer.decision, other.predict(data).answer.decision
        assert second.positive is not first.positive and second.positive_class == "glaucoma"
        assert second.class_name == ("glaucoma" if second.positive else "normal")


def test_where_the_names_say_nothing_a_caution_stands_in_every_document(old_bundle, photographs):
    bundle, out, notes = open_bundle(old_bundle(["a", "b"])), io.StringIO(), io.StringIO()
    assert bundle.positive == (1,) and "'b' is taken for it" in bundle.manifest["warning"]
    predict_files(bundle, [str(photographs / "a.jpg")], out, notes=notes)
    content = json.loads(out.getvalue())
    assert content["bundle"]["positive_class"] == "b" and "'b' is taken for it" in content["bundle"]["warning"]
    assert "'b' is taken for it" in notes.getvalue()


@pytest.mark.parametrize("indices", [[0, 1], [2], "1"])
def test_indices_that_cannot_be_are_refused(bundle_dir, changed, indices):
    with pytest.raises(metadata.ManifestError, match="are the disease"):
        open_bundle(changed(bundle_dir, {"task.positive_indices": indices}))


def test_the_caption_says_what_the_heat_speaks_for(bundle_dir, changed, photographs):
    """Below its threshold the likelier class is not the answer, and the heat not that of the answer."""
    from dr_edge.prediction import pictures

    data = (photographs / "a.jpg").read_bytes()
    likelier = Predictor(open_bundle(bundle_dir)).predict(data).answer.prediction
    content = json.loads((bundle_dir / "metadata.json").read_text())
    for threshold, decided in ((0.0, "referable"), (1.0, "non-referable")):
        points = [{**point, "threshold": threshold} for point in content["operating_points"]]
        bundle = open_bundle(changed(bundle_dir, {"operating_points": points}))
        result = Predictor(bundle).predict(data)
        caption = pictures._caption(bundle, result.answer, result.outputs)
        assert result.answer.decision.class_name == decided
        assert caption.explains == ("this answer" if decided == likelier.class_name else likelier.class_name)
        assert likelier.class_name in caption.title


def test_a_disease_decided_below_one_half_is_not_called_no_disease(bundle_dir, changed, photographs, monkeypatch):
    """The map explains the healthy class then; "no disease that was found" stood beside the name of the disease."""
    from dr_edge.drawing import overlay
    from dr_edge.prediction import pictures

    written = []
    write = overlay._write
    monkeypatch.setattr(
        overlay,
        "_write",
        lambda picture, words, *rest, **more: (written.append(words), write(picture, words, *rest, **more))[1],
    )
    content = json.loads((bundle_dir / "metadata.json").read_text())
    points = [{**point, "threshold": 0.3} for point in content["operating_points"]]
    bundle = open_bundle(changed(bundle_dir, {"operating_points": points}))
    result = Predictor(bundle).predict((photographs / "a.jpg").read_bytes())
    outputs = {**result.outputs, "probabilities": np.array([0.6, 0.4], np.float32)}
    for decided, said in (
        (True, "it would speak for non-referable, the likeliest class, not for referable."),
        (False, "no disease that was found."),
    ):
        answer = dataclasses.replace(
            result.answer,
            prediction=dataclasses.replace(
                result.answer.prediction, class_name="non-referable", index=0, probability=0.6
            ),
            decision=dataclasses.replace(
                result.answer.decision, positive=decided, class_name="referable" if decided else "non-referable"
            ),
        )
        written.clear()
        pictures.sheet(bundle, answer, result.crop, outputs)
        assert said in " ".join(written) and ("no disease" in " ".join(written)) != decided
