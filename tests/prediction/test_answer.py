"""What a photograph is answered: the status, and numbers that an independent computation gives as well."""

from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest
from dicom_jpeg import save_dicom
from earlier import without_quality

from dr_edge import metadata
from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.read_crop import read_crop
from dr_edge.prediction import pictures
from dr_edge.prediction.bundle import open_bundle
from dr_edge.prediction.predictor import Predictor
from dr_edge.prediction.schema import Label


@pytest.fixture(scope="module")
def predictor(bundle_dir):
    return Predictor(open_bundle(bundle_dir))


def answer_of(predictor, path, label=None):
    return predictor.predict(path.read_bytes(), label).answer


def test_probabilities_are_those_of_the_keras_graph_on_whole_photographs(bundle_dir, predictor):
    vectors = bundle_dir / "test_vectors"
    for row in json.loads((vectors / "vectors.json").read_text())["vectors"]:
        answer = answer_of(predictor, vectors / row["photograph"])
        expected = np.load(vectors / row["outputs"]["probabilities"])[0]
        assert answer.status == "answered"
        assert list(answer.outputs.probabilities) == ["non-referable", "referable"]
        np.testing.assert_allclose(list(answer.outputs.probabilities.values()), expected, atol=1e-4)
        np.testing.assert_allclose(answer.crop.box, row["crop_box"])
        distance = np.load(vectors / row["outputs"]["ood_distance"])[0, 0]
        assert answer.outputs.ood_distance == pytest.approx(distance, abs=1e-2, rel=1e-4)
        assert answer.prediction.index == int(expected.argmax())


def test_the_jpeg_inside_a_dicom_has_its_true_size(predictor, photographs, tmp_path):
    """Boxes, masks and points are stated in its pixels, though it is decoded at a fraction of them."""
    small = cv2.imread(str(photographs / "a.jpg"))[..., ::-1]
    save_dicom(tmp_path / "eye.dcm", cv2.resize(small, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC))
    answer, plain = answer_of(predictor, tmp_path / "eye.dcm"), answer_of(predictor, photographs / "a.jpg")
    assert (answer.photograph.height, answer.photograph.width) == (4 * small.shape[0], 4 * small.shape[1])
    assert min(small.shape[:2]) >= 500
    np.testing.assert_allclose(answer.crop.box, 4 * np.array(plain.crop.box), atol=24)


@pytest.mark.parametrize(("threshold", "positive"), [(0.0, True), (1.0, False)])
def test_the_operating_point_decides_and_not_the_likelier_class(changed, bundle_dir, photographs, threshold, positive):
    points = metadata.read_manifest(bundle_dir, "bundle")["operating_points"]
    rows = [{**row, "threshold": threshold} for row in points]
    answer = answer_of(Predictor(open_bundle(changed(bundle_dir, {"operating_points": rows}))), photographs / "a.jpg")
    assert answer.decision.positive is positive
    assert answer.decision.class_name == ("referable" if positive else "non-referable")
    assert answer.decision.probability == answer.outputs.probabilities["referable"]
    assert answer.message.startswith(answer.decision.class_name)
    assert ("reaches" if positive else "is below") in answer.message


def test_exactly_at_the_threshold_is_positive(changed, bundle_dir, predictor, photographs):
    probability = answer_of(predictor, photographs / "a.jpg").outputs.probabilities["referable"]
    points = metadata.read_manifest(bundle_dir, "bundle")["operating_points"]
    rows = [{**row, "threshold": probability} for row in points]
    at = Predictor(open_bundle(changed(bundle_dir, {"operating_points": rows})))
    assert answer_of(at, photographs / "a.jpg").decision.positive


def test_without_operating_points_the_likelier_class_is_named_and_nothing_decided(changed, bundle_dir, photographs):
    answer = answer_of(Predictor(open_bundle(changed(bundle_dir, {"operating_points": []}))), photographs / "a.jpg")
    assert answer.decision is None and answer.message.startswith(answer.prediction.class_name)


def test_unlike_the_training_images_is_an_answer_without_a_grade(changed, bundle_dir, photographs):
    strange = Predictor(open_bundle(changed(bundle_dir, {"artifacts.*.ood.threshold": 0.0})))
    answer = answer_of(strange, photographs / "a.jpg", "referable")
    assert answer.status == "out_of_distribution" and not answer.distribution.inside
    assert answer.prediction is None and answer.decision is None and answer.label.agrees is None
    assert answer.outputs.probabilities and "not graded" in answer.message


def test_too_blurred_is_an_answer_without_a_grade(predictor, photographs):
    answer = answer_of(predictor, photographs / "blurred.png")
    assert answer.status == "too_poor_to_grade" and answer.prediction is None and answer.decision is None
    assert answer.quality.score < answer.quality.minimum == 0.2 and not answer.quality.gradable
    assert "blurred" in answer.message


@pytest.mark.parametrize(("name", "reason"), [("black.png", "too dark"), ("letter.png", "no field of view")])
def test_no_fundus_is_an_answer_without_outputs(predictor, photographs, name, reason):
    result = predictor.predict((photographs / name).read_bytes())
    assert result.answer.status == "not_a_fundus_photograph" and result.answer.reason == reason
    assert result.answer.outputs is None and result.crop is None and not result.outputs


def test_of_several_pages_of_a_tiff_the_answer_says_which_was_read(predictor, photographs):
    picture = cv2.imread(str(photographs / "a.jpg"))
    small = cv2.resize(picture, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    for pages, said in (([small, picture], True), ([picture, small], True), ([picture], False)):
        whole, data = cv2.imencodemulti(".tiff", pages)
        assert whole
        answer = predictor.predict(data.tobytes()).answer
        assert (answer.photograph.width, answer.photograph.height) == picture.shape[1::-1]
        assert answer.message.endswith("Of 2 pages of the TIFF the largest was read.") == said
    for second in (picture, picture[::-1]):
        with pytest.raises(PhotographError, match="more than one may be the photograph"):
            predictor.predict(cv2.imencodemulti(".tiff", [picture, second])[1].tobytes())


def test_a_label_is_set_beside_the_decision(predictor, photographs):
    decided = answer_of(predictor, photographs / "a.jpg").decision.class_name
    other = next(name for name in predictor.bundle.class_names if name != decided)
    assert answer_of(predictor, photographs / "a.jpg", decided).label == Label(decided, True)
    assert answer_of(predictor, photographs / "a.jpg", other).label == Label(other, False)
    with pytest.raises(ValueError, match="Known: non-referable, referable"):
        answer_of(predictor, photographs / "a.jpg", "glaucoma")


def test_every_answer_is_json(predictor, photographs):
    for path in sorted(photographs.iterdir()):
        content = json.loads(json.dumps(answer_of(predictor, path).to_json(), allow_nan=False))
        assert content["status"] in ("answered", "too_poor_to_grade", "not_a_fundus_photograph")
        assert bool(content["prediction"]) == (content["status"] == "answered")


def painted(disc: int, cup: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A fundus of dull red with a disc and a cup of these heights in pixels (0: none)."""
    image = np.zeros((640, 640, 3), np.uint8)
    cv2.circle(image, (320, 320), 300, (90, 50, 20), -1)
    noise = np.random.default_rng(5).normal(0, 6, image.shape)
    image = np.where(image > 0, np.clip(image + cv2.GaussianBlur(noise, (0, 0), 1.0) * 3, 20, 115), 0).astype(np.uint8)
    for height, level in ((disc, 180), (cup, 245)):
        if height:
            cv2.ellipse(image, (400, 310), (height * 2 // 5, height // 2), 0, 0, 360, (level, 60, 30), -1)
    return image, (disc, cup)


@pytest.mark.parametrize(("disc", "cup"), [(160, 60), (200, 150), (120, 100)])
def test_the_cup_to_disc_ratio_is_that_of_what_was_painted(mask_bundle, disc, cup):
    image, _ = painted(disc, cup)
    data = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    answer = Predictor(open_bundle(mask_bundle)).predict(data).answer
    assert answer.status == "answered" and answer.prediction is None
    # A pixel of the 64-pixel crop is about 9 pixels of the photograph; interpolation does better than that.
    assert answer.vcdr == pytest.approx(cup / disc, abs=0.06)
    heights = {mask.class_name: mask.height for mask in answer.masks}
    assert heights["optic disc"] == pytest.approx(disc, abs=9) and heights["optic cup"] == pytest.approx(cup, abs=9)


def test_the_manifest_names_the_classes_that_are_points():
    from dr_edge.data import tasks
    from export.bundle import manifest

    assert manifest._stated_task(tasks.optic_disc_cup_and_fovea())["centres"] == ["fovea"]
    assert "centres" not in manifest._stated_task(tasks.optic_disc_and_cup())


def test_a_point_that_the_photograph_does_not_show_is_not_found():
    from dr_edge.fundus.crop import FieldOfView
    from dr_edge.prediction.answer import _point

    fov = FieldOfView.from_box(-100, 0, 300, 400)  # the crop's upper quarter lies above the photograph
    for row, found in ((5, False), (9, False), (10, True), (29, True), (30, False)):
        heat = np.zeros((40, 40), np.float32)
        heat[row, 12] = 0.8
        point = _point("fovea", heat, fov, (200, 400))
        assert (point.found, point.x, point.y) == (found, 124.5, row * 10 + 4.5 - 100)


@pytest.mark.parametrize("spot", [(180, 330), (250, 420), (330, 200)])
def test_the_fovea_is_answered_as_a_point_of_the_photograph_and_drawn_as_a_cross(fovea_bundle, spot):
    image, _ = painted(160, 80)
    y, x = np.mgrid[:640, :640]
    weight = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * 14**2))[..., None]
    image = (image * (1 - weight) + weight * (50, 170, 20)).astype(np.uint8)
    wide = np.zeros((660, 900, 3), np.uint8)  # the crop's frame is not the photograph's
    wide[10:650, 150:790] = image
    predictor = Predictor(open_bundle(fovea_bundle))
    assert predictor.bundle.centres == ("fovea",)
    result = predictor.predict(cv2.imencode(".png", wide[..., ::-1])[1].tobytes())
    answer = result.answer
    assert [mask.class_name for mask in answer.masks] == ["optic disc", "optic cup"]
    (point,) = answer.points
    assert point.class_name == "fovea" and point.found and 0.5 < point.peak <= 1
    assert (point.x, point.y) == (pytest.approx(spot[0] + 150, abs=5), pytest.approx(spot[1] + 10, abs=5))
    assert answer.vcdr == pytest.approx(0.5, abs=0.06)
    assert f"fovea is at x {int(point.x + 0.5)}, y {int(point.y + 0.5)}" in answer.message
    # A cross reaches further than the spot, and is drawn in the third colour.
    over = pictures.laid_over(predictor.bundle, result.crop, result.outputs)
    coloured = np.argwhere((over == (255, 130, 190)).all(axis=-1))
    top, left, bottom, right = answer.crop.box
    middle = [(point.y + 0.5 - top) * 64 / (bottom - top) - 0.5, (point.x + 0.5 - left) * 64 / (right - left) - 0.5]
    assert 5 <= len(coloured) < 20 and np.abs(coloured.mean(axis=0) - middle).max() < 1
    alone = pictures.mask_picture(predictor.bundle, result.outputs["masks"])
    assert {tuple(colour) for colour in alone.reshape(-1, 3)} == {(0, 0, 0), (120, 220, 255), (255, 214, 92)}
    assert pictures.sheet(predictor.bundle, answer, result.crop, result.outputs).shape == (580, 1424, 3)
    json.dumps(answer.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("disc", "cup", "words"), [(160, 0, "optic cup not found"), (0, 0, "optic disc and optic cup")]
)
def test_a_structure_that_is_not_found_is_said_and_gives_no_ratio(mask_bundle, disc, cup, words):
    image, _ = painted(disc, cup)
    answer = Predictor(open_bundle(mask_bundle)).predict(cv2.imencode(".png", image[..., ::-1])[1].tobytes()).answer
    assert answer.vcdr is None and words in answer.message
    assert [mask.found for mask in answer.masks] == [disc > 0, cup > 0]


def test_a_disease_is_present_or_not_by_its_probability(disease_bundle, changed, photographs):
    sure = changed(disease_bundle, {"artifacts.*.ood.threshold": 1e6})
    result = Predictor(open_bundle(sure)).predict((photographs / "a.jpg").read_bytes())
    (finding,) = result.answer.findings
    assert finding.class_name == "glaucoma" and 0 <= finding.probability <= 1
    assert finding.present == (finding.probability >= 0.5)
    assert result.answer.prediction is None and result.answer.decision is None
    assert "heatmap" not in result.outputs
    with pytest.raises(ValueError, match="multilabel"):
        Predictor(open_bundle(sure)).predict((photographs / "a.jpg").read_bytes(), "glaucoma")


@pytest.mark.parametrize(
    ("probabilities", "decided", "shown"),
    [([0.2, 0.8], True, True), ([0.8, 0.2], False, False), ([0.6, 0.4], True, False), ([0.4, 0.6], False, False)],
)
def test_a_heat_map_is_shown_where_it_speaks_for_a_disease_that_was_found(
    predictor, photographs, probabilities, decided, shown
):
    """Of the third the map speaks for the likelier class, which is not what was decided."""
    result = predictor.predict((photographs / "a.jpg").read_bytes())
    decision = dataclasses.replace(result.answer.decision, positive=decided)
    answer = dataclasses.replace(result.answer, status="answered", decision=decision)
    outputs = {
        **result.outputs,
        "probabilities": np.array(probabilities, np.float32),
        "heatmap": np.ones((4, 4), np.float32),
    }
    assert pictures.heat_is_shown(predictor.bundle, answer, outputs) == shown
    quiet, asked = (
        pictures.sheet(predictor.bundle, answer, result.crop, outputs, kind) for kind in ("positive", "all")
    )
    assert quiet.shape == asked.shape and (quiet == asked).all() == shown
    urls = pictures.data_urls(predictor.bundle, answer, result.crop, outputs)
    assert (urls["overlay"] == urls["crop"]) != shown and "heatmap" in urls
    poor = dataclasses.replace(answer, status="too_poor_to_grade", decision=None, prediction=None)
    assert not pictures.heat_is_shown(predictor.bundle, poor, outputs)


def test_pictures_show_crop_heat_and_masks(predictor, mask_bundle, disease_bundle, photographs):
    result = predictor.predict((photographs / "a.jpg").read_bytes())
    sheet = pictures.sheet(predictor.bundle, result.answer, result.crop, result.outputs)
    assert sheet.shape == (580, 1014, 3)
    over = pictures.laid_over(predictor.bundle, result.crop, result.outputs).astype(int)
    heat = cv2.resize(result.outputs["heatmap"], (64, 64), interpolation=cv2.INTER_LINEAR)
    blue_gain = over[..., 2] - result.crop[..., 2].astype(int)
    assert np.corrcoef(heat.ravel(), blue_gain.ravel())[0, 1] > 0.5  # what is hot is bluer
    image, _ = painted(160, 80)
    masks = Predictor(open_bundle(mask_bundle))
    found = masks.predict(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    alone = pictures.mask_picture(masks.bundle, found.outputs["masks"])
    cup, disc = (alone == (255, 214, 92)).all(axis=-1), (alone == (120, 220, 255)).all(axis=-1)
    assert 0 < cup.sum() < disc.sum() and (~cup & ~disc).sum() > alone.shape[0] ** 2 / 2
    assert pictures.sheet(masks.bundle, found.answer, found.crop, found.outputs).shape == (580, 1424, 3)
    assert list(pictures.data_urls(masks.bundle, found.answer, found.crop, found.outputs)) == [
        "crop",
        "overlay",
        "masks",
    ]
    diseases = Predictor(open_bundle(disease_bundle))
    found = diseases.predict((photographs / "a.jpg").read_bytes())
    np.testing.assert_array_equal(pictures.laid_over(diseases.bundle, found.crop, found.outputs), found.crop)
    assert pictures.sheet(diseases.bundle, found.answer, found.crop, found.outputs).shape[0] == 580


def test_the_quality_is_what_the_artifact_measured(predictor, photographs):
    """The one that records are built with agrees with it."""
    for name in ("a.jpg", "blurred.png"):
        data = (photographs / name).read_bytes()
        result, reference = predictor.predict(data), read_crop(data, predictor.bundle.image_size)
        assert predictor.read(data).quality is None  # nothing is measured twice
        assert result.answer.quality.score == round(float(result.outputs["quality"][0]), 4)
        assert result.answer.quality.score == pytest.approx(reference.quality.score, abs=0.02)


def test_a_bundle_of_an_earlier_release_answers_by_the_reference(bundle_dir, predictor, photographs, tmp_path):
    earlier = Predictor(open_bundle(without_quality(bundle_dir, tmp_path / "bundle")))
    assert not earlier.bundle.measures_quality and predictor.bundle.measures_quality
    for name in ("a.jpg", "blurred.png", "black.png"):
        data = (photographs / name).read_bytes()
        own, result = predictor.predict(data).answer, earlier.predict(data)
        assert "quality" not in result.outputs
        assert (result.answer.status, result.answer.reason) == (own.status, own.reason)
        if own.quality is not None:
            reference = read_crop(data, earlier.bundle.image_size).quality
            assert result.answer.quality.score == round(reference.score, 4)
            assert result.answer.quality.minimum == 0.2


def test_the_minimum_is_the_bundles_own_unless_another_is_asked_for(changed, bundle_dir, photographs):
    strict = changed(bundle_dir, {"quality.minimum": 0.99})
    answer = answer_of(Predictor(open_bundle(strict)), photographs / "a.jpg")
    assert answer.status == "too_poor_to_grade" and answer.quality.minimum == 0.99
    asked = answer_of(Predictor(open_bundle(strict, min_quality=0.1)), photographs / "a.jpg")
    assert asked.status == "answered" and asked.quality.minimum == 0.1


def test_values_of_the_quality_are_found_by_their_names(changed, bundle_dir, predictor, photographs):
    """An artifact may give them in another order."""
    names = predictor.bundle.manifest["quality"]["names"]
    turned = Predictor(open_bundle(changed(bundle_dir, {"quality.names": names[::-1]})))
    own, other = (answer_of(each, photographs / "a.jpg").quality for each in (predictor, turned))
    assert other.colour == own.score and other.focus == own.fov_fraction
