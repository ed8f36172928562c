"""Stability of stand-ins whose answers are known: mean brightness, computed by hand; and of a run and its bundle."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from dr_edge import runs
from dr_edge.calibration import store
from dr_edge.evaluation.stability import answering, figures, measure
from dr_edge.evaluation.stability.said import meaning
from dr_edge.fundus.read_crop import read_crop
from dr_edge.perturbations.catalogue import PERTURBATIONS
from dr_edge.prediction.answer import interpret, refused
from dr_edge.prediction.bundle import Bundle, OperatingPoint, open_bundle
from dr_edge.prediction.schema import NOT_A_FUNDUS
from dr_edge.verdict import NOT_EVALUATED, unmeasured
from tfrecord_tools.synthetic.draw import draw_fundus

SIDE = 128
BINARY = {
    "name": "brightness", "kind": "classification", "class_names": ["dark", "bright"], "positive_indices": [1],
    "positive_class": "bright", "negative_class": "dark",
}  # fmt: skip


class Brightness:
    """Its probability of "bright" is the mean level of the crop / 255."""

    def __init__(self, threshold: float | None, task: dict = BINARY):
        point = None if threshold is None else OperatingPoint("sensitivity_90", threshold, 0.9, 0.5)
        manifest = {
            "task": task, "image_size": SIDE, "preprocess": {"method": "crop"}, "pictures": {"colour": 1},
            "verdict": unmeasured(NOT_EVALUATED, ""),
        }  # fmt: skip
        self.bundle = Bundle(None, manifest, "", "", b"", point, 0.0)

    def read(self, data):
        return read_crop(data, SIDE, pictures=self.bundle.pictures)

    def answers(self, photographs):
        return [self._answer(each) for each in photographs]

    def _answer(self, photograph):
        if photograph.crop is None:
            return refused(photograph)
        bright = photograph.crop.mean() / 255
        if self.bundle.kind == "multilabel":
            scores = np.array([bright, 1 - bright, 0.9], np.float32)
        else:
            scores = np.array([1 - bright, bright], np.float32)
        return interpret(self.bundle, photograph, {"probabilities": scores})


def subjects_of(pictures) -> list[measure.Subject]:
    stored = {f"eye_{index}": PERTURBATIONS["screenshot"].write(each) for index, each in enumerate(pictures)}  # PNG
    return [measure.Subject(name, name, lambda data=data: data) for name, data in stored.items()]


@pytest.fixture(scope="module")
def pictures():
    return [draw_fundus(seed, size=320).image for seed in range(20, 28)]


@pytest.fixture(scope="module")
def subjects(pictures):
    return subjects_of(pictures)


def chosen(*names):
    return [PERTURBATIONS[name] for name in names]


def test_gamma_flips_what_arithmetic_says(pictures, subjects):
    """The mean level of the crop under a gamma, by numpy on the crop itself: the rest of the chain changes nothing."""
    crops = [read_crop(each, SIDE).crop for each in pictures]
    before = np.array([crop.mean() / 255 for crop in crops])
    after = np.array([((crop / 255) ** 1.25).mean() for crop in crops])
    edges = np.sort(np.concatenate([before, after]))
    threshold = float(edges[len(edges) // 2 - 1 : len(edges) // 2 + 1].mean())
    expected = (before >= threshold) & (after < threshold)
    assert 0 < expected.sum() < len(pictures)

    model = Brightness(threshold)
    found = measure.measure(model, subjects, chosen("gamma_1.25", "exif_6", "jpeg_95"))
    gamma = [row for row in found.rows if row.perturbation == "gamma_1.25"]
    assert [row.flipped for row in gamma] == expected.tolist()
    assert [row.difference for row in gamma] == pytest.approx((before - after).tolist(), abs=0.01)
    summed = {row["name"]: row for row in figures.figures(found, model.bundle)}
    assert summed["gamma_1.25"]["flips"] == summed["gamma_1.25"]["to_negative"] == expected.sum()
    assert summed["gamma_1.25"]["to_positive"] == 0
    assert summed["gamma_1.25"]["median"] == pytest.approx(np.median(before - after), abs=0.005)
    assert summed["gamma_1.25"]["percentile_95"] == pytest.approx(np.percentile(before - after, 95), abs=0.01)
    low, high = summed["gamma_1.25"]["flip_interval"]
    assert low <= summed["gamma_1.25"]["flip_share"] <= high and high > low
    for name in ("exif_6", "jpeg_95"):
        assert summed[name]["percentile_95"] < 0.005
    assert figures.worst(list(summed.values()))[0] == "gamma_1.25"


def test_refusals_are_counted_and_are_no_flips(subjects):
    model = Brightness(0.0)
    letter = np.full((400, 300, 3), 250, np.uint8)
    letter[40:360:20, 30:260:2] = 30
    odd = subjects_of([letter])[0]
    odd = dataclasses.replace(odd, name="letter")
    garbage = measure.Subject("garbage", "garbage", lambda: b"no picture at all")
    found = measure.measure(model, [odd, garbage, *subjects[:3]], chosen("channels_swapped", "jpeg_95"))
    assert [name for name, _ in found.refused] == ["letter", "garbage"]
    assert found.photographs == ["eye_0", "eye_1", "eye_2"] and found.out_of_time == 0
    swapped = next(row for row in figures.figures(found, model.bundle) if row["name"] == "channels_swapped")
    assert swapped["refusals"] == {"colours": 3} and swapped["refused"] == 3 and swapped["answered"] == 0
    assert swapped["flips"] == 0 and swapped["flip_share"] is swapped["median"] is swapped["flip_interval"] is None
    assert {row.status for row in found.rows if row.perturbation == "channels_swapped"} == {NOT_A_FUNDUS}
    assert figures.worst(figures.figures(found, model.bundle)) == ["jpeg_95"]


def test_an_answer_that_says_what_is_wrong_is_counted_as_such(subjects):
    """A sticker over the retina is said beside the answer; turned by its EXIF a photograph needs no word."""
    found = measure.measure(Brightness(0.0), subjects, chosen("label_over_retina", "exif_6"))
    sticker, turned = figures.figures(found, Brightness(0.0).bundle)
    assert 0 < sticker["cautioned"] <= sticker["answered"] and sticker["cautioned_flips"] == 0
    assert turned["cautioned"] == 0
    assert f"{sticker['cautioned']} answers say so" in figures.in_words(sticker)


def test_time_is_kept_and_what_was_left_is_said(subjects):
    found = measure.measure(Brightness(0.5), subjects, chosen("mirrored"), seconds=0)
    assert found.photographs == ["eye_0"] and found.out_of_time == len(subjects) - 1


def test_without_an_operating_point_the_likeliest_class_decides(subjects):
    model = Brightness(None)
    assert "likeliest" in meaning(model.bundle) and "no operating point" in meaning(model.bundle)
    found = measure.measure(model, subjects, chosen("darker"))
    for row in found.rows:
        assert row.flipped == ((row.before.scores[1] >= 0.5) != (row.after.scores[1] >= 0.5))
    row = figures.figures(found, model.bundle)[0]
    assert row["to_negative"] is row["to_positive"] is None and row["median"] > 0.02


def test_of_several_diseases_any_may_flip(subjects):
    names = ["bright", "dark", "always"]
    model = Brightness(None, {"name": "several", "kind": "multilabel", "class_names": names})
    assert "disease" in meaning(model.bundle)
    found = measure.measure(model, subjects, chosen("brighter"))
    for row in found.rows:
        assert len(row.before.decided) == 3 and row.before.decided[2]
        assert row.flipped == ((row.before.scores[0] >= 0.5) != (row.after.scores[0] >= 0.5))


def test_masks_are_not_compared(subjects):
    model = Brightness(None, {"name": "disc", "kind": "segmentation", "class_names": ["optic disc"]})
    with pytest.raises(ValueError, match="Masks move with the photograph"):
        measure.measure(model, subjects, chosen("jpeg_95"))


@pytest.fixture(scope="module")
def drawn_files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("files")
    for seed in range(40, 46):
        cv2.imwrite(str(directory / f"{seed}.png"), draw_fundus(seed, size=320).image[..., ::-1])
    return sorted(directory.iterdir())


def test_a_run_and_its_bundle_are_measured_alike(stand_in_run, stand_in_bundle, drawn_files):
    run = runs.load_run(stand_in_run)
    of_run = answering.OfRun(run, store.fit_of(run, run.records), batch_size=4)
    of_bundle = answering.OfBundle(open_bundle(stand_in_bundle))
    assert of_run.bundle.operating_point.threshold == pytest.approx(of_bundle.bundle.operating_point.threshold)
    some = chosen("jpeg_50", "gamma_0.8", "turned_30", "half_retina", "channels_swapped", "greyscale")
    subjects = measure.of_files(drawn_files)
    first, second = (measure.measure(_without_distance(model), subjects, some) for model in (of_run, of_bundle))
    assert [name for name, _ in first.refused] == [name for name, _ in second.refused]
    assert len(first.rows) == len(second.rows) == 6 * len(first.photographs) > 0
    for one, other in zip(first.rows, second.rows, strict=True):
        assert (one.subject, one.perturbation, one.status, one.reason) == (
            other.subject, other.perturbation, other.status, other.reason,
        )  # fmt: skip
        np.testing.assert_allclose(one.before.scores, other.before.scores, atol=2e-3)
        if one.after is not None:
            np.testing.assert_allclose(one.after.scores, other.after.scores, atol=2e-3)


def _without_distance(model):
    """The stand-in was trained on other pictures than drawn eyes: without this both would refuse all of them."""
    model.bundle.manifest["ood"]["threshold"] = 1e6
    return model
