"""The checks of the heat maps: they must catch a map that ignores the model, and know chance."""

from __future__ import annotations

import numpy as np
import pytest

from dr_edge.evaluation import predictions
from dr_edge.evaluation.heatmap_checks import run as heatmap_checks
from dr_edge.evaluation.heatmap_checks import verdict as heatmap_verdict
from dr_edge.explanation import heatmaps
from dr_edge.runs import load_run


@pytest.fixture(scope="module")
def run(stand_in_run):
    return load_run(stand_in_run)


@pytest.fixture(scope="module")
def test_split(run):
    return predictions.predict_split(run, run.records, "test", 36)


def test_a_trained_model_passes(run, test_split):
    result = heatmap_checks.check(run, run.records, "test", test_split, images=12, lesion_images=12)
    assert result["images"] == 12
    assert result["randomisation"]["gradcam"]["all layers"]["changed"]
    lesions = result["lesions"]
    assert lesions["masks"] == ["hard_exudates"] and lesions["images"] == 12
    assert lesions["gradcam"]["ratio"] > 2 and lesions["gradcam"]["ratio_interval"][0] > 1
    assert lesions["ceiling"] > 2 and lesions["cells"] == 8
    assert lesions["gradcam"]["chance"] == pytest.approx(100 / (np.pi * 30**2), rel=0.1)
    verdict = result["verdict"]
    assert verdict["randomisation"]["methods"]["gradcam"] is True
    assert verdict["lesions"] is None  # these records are not `synthetic`


def test_a_map_that_ignores_the_model_is_caught(run, test_split, monkeypatch):
    def edges(model, images, classes, background):
        return np.abs(np.diff(images.mean(axis=-1), axis=1, prepend=0))

    monkeypatch.setitem(heatmaps.METHODS, "gradcam", edges)
    result = heatmap_checks.check(run, run.records, "test", test_split, images=6, lesion_images=6)
    entry = result["randomisation"]["gradcam"]["all layers"]
    assert entry["rank_correlation"] == pytest.approx(1.0) and not entry["changed"]
    verdict = result["verdict"]
    assert verdict["passed"] is verdict["randomisation"]["passed"] is False
    assert any("Grad-CAM" in text and "1.00" in text for text in heatmap_verdict.warnings(verdict))


def test_a_map_without_heat_does_not_pass(run, test_split, monkeypatch):
    def nothing(model, images, classes, background):
        return np.zeros(images.shape[:3], np.float32)

    monkeypatch.setitem(heatmaps.METHODS, "gradcam", nothing)
    result = heatmap_checks.check(run, run.records, "test", test_split, images=6, lesion_images=6)
    assert result["randomisation"]["gradcam"]["all layers"] == {
        "rank_correlation": None,
        "changed": None,
        "images": 0,
        "blank_trained": 6,
        "blank_shuffled": 0,
    }
    assert result["verdict"]["randomisation"]["methods"]["gradcam"] is None
    assert any("Grad-CAM hold no heat" in text for text in heatmap_verdict.warnings(result["verdict"]))
    assert result["lesions"]["gradcam"]["ratio"] == 0


def measured(gradcam, layercam, ratio, ceiling=3.6):
    """What the two checks found of two methods: correlations with the last and all layers shuffled, times chance."""
    randomisation = {
        method: {
            name: {
                "rank_correlation": value,
                "changed": value < 0.5,
                "images": 16,
                "blank_trained": 0,
                "blank_shuffled": 0,
            }
            for name, value in zip(("last layers", "all layers"), values, strict=True)
        }
        for method, values in (("gradcam", gradcam), ("layercam", layercam))
    }
    return randomisation, {"cells": 5, "ceiling": ceiling, "gradcam": {"ratio": ratio}, "layercam": {"ratio": 2.0}}


def test_the_verdict_says_what_passed_and_what_it_means():
    good = heatmap_verdict.judge(*measured((0.1, 0.02), (0.7, 0.2), 2.6), "synthetic")
    assert good["passed"] is True and good["lesions"]["methods"] == {"gradcam": True, "layercam": True}
    assert heatmap_verdict.warnings(good) == []
    said = " ".join(line["text"] for line in good["says"])
    assert "LayerCAM stay alike (0.70)" in said and "2.6 and 2.0 times" in said
    bad = heatmap_verdict.judge(*measured((0.1, 0.62), (0.7, 0.49), 1.04, ceiling=1.77), "synthetic")
    assert bad["passed"] is bad["randomisation"]["passed"] is bad["lesions"]["passed"] is False
    alike, missed = heatmap_verdict.warnings(bad)
    assert "Grad-CAM" in alike and "sign, 0.62, allowed" in alike and "do not take them as the reason" in alike
    assert "only 1.0 times that by chance" in missed and "5 × 5 cells, reach 1.8" in missed and "LayerCAM" not in missed
    elsewhere = heatmap_verdict.judge(*measured((0.1, 0.02), (0.7, 0.2), 1.0), "idrid")
    assert elsewhere["passed"] is True and elsewhere["lesions"] is None
    assert heatmap_verdict.judge(measured((0, 0), (0, 0), 1)[0], None, "synthetic")["lesions"] is None


def test_shuffling_keeps_the_values_and_leaves_the_model_alone(run):
    before = [weight.copy() for weight in run.model.get_weights()]
    last, every = (
        heatmap_checks.shuffled(run.model, last_only=True),
        heatmap_checks.shuffled(run.model, last_only=False),
    )
    for original, now, a, b in zip(
        before, run.model.get_weights(), last.get_weights(), every.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(original, now)
        for copy in (a, b):
            np.testing.assert_array_equal(np.sort(copy.ravel()), np.sort(original.ravel()))
    assert (
        last.get_layer("cam_features").get_weights()[0] == run.model.get_layer("cam_features").get_weights()[0]
    ).all()
    assert (last.get_layer("logits").get_weights()[0] != run.model.get_layer("logits").get_weights()[0]).any()


def test_heat_share_by_hand():
    heat, lesions, fov = np.ones((10, 10), np.float32), np.zeros((10, 10), bool), np.ones((10, 10), bool)
    lesions[:2] = True
    assert heatmap_checks.heat_share(heat, lesions, fov) == pytest.approx((0.2, 0.2))  # even heat is chance
    heat[:2] = 9
    assert heatmap_checks.heat_share(heat, lesions, fov)[0] == pytest.approx(180 / 260)
    assert heatmap_checks.heat_share(heat * 0, lesions, fov) == pytest.approx((0, 0.2))


def test_rank_correlations():
    heat = np.random.default_rng(0).random((1, 64, 64)).astype(np.float32)
    everywhere = np.ones(heat.shape, bool)
    assert heatmap_checks.rank_correlations(heat, heat, everywhere)[0] == pytest.approx(1)
    # A map without heat has no ranking.
    assert np.isnan(heatmap_checks.rank_correlations(heat, heat * 0, everywhere)[0])
    assert heatmap_checks.rank_correlations(heat, 1 - heat, everywhere)[0] == pytest.approx(-1)


def test_a_map_and_its_reverse_do_not_cancel():
    heat = np.random.default_rng(0).random((2, 64, 64)).astype(np.float32)
    everywhere = np.ones(heat.shape, bool)
    entry = heatmap_checks.compared(heat, np.stack([heat[0], 1 - heat[1]]), everywhere)
    assert entry["rank_correlation"] == pytest.approx(1) and entry["changed"] is False and entry["images"] == 2


def test_maps_that_shuffling_has_emptied_are_not_judged():
    rng = np.random.default_rng(0)
    heat, other = rng.random((2, 4, 64, 64)).astype(np.float32)
    everywhere = np.ones(heat.shape, bool)
    heat[0] = other[1] = other[2] = 0
    entry = heatmap_checks.compared(heat, other, everywhere)
    assert (entry["images"], entry["blank_trained"], entry["blank_shuffled"]) == (1, 1, 2) and entry["changed"]
    lost = heatmap_checks.compared(heat[1:], other[1:] * 0, everywhere[1:])
    assert lost["rank_correlation"] is lost["changed"] is None and lost["blank_shuffled"] == 3


def test_the_verdict_says_what_was_not_judged():
    found, _ = measured((0.1, 0.1), (0.1, 0.2), 1)
    none = {"rank_correlation": None, "changed": None, "images": 0, "blank_trained": 0, "blank_shuffled": 16}
    dead = heatmap_verdict.judge({"gradcam": {"last layers": none, "all layers": none}}, None, "idrid")
    assert dead["passed"] is None and dead["randomisation"]["methods"] == {"gradcam": None}
    (text,) = heatmap_verdict.warnings(dead)
    assert text.startswith("Not judged") and "nothing to compare with" in text
    found["gradcam"]["all layers"] |= {"images": 3, "blank_trained": 1, "blank_shuffled": 12}
    said = " ".join(line["text"] for line in heatmap_verdict.judge(found, None, "idrid")["says"])
    assert "judged on 3 of 16 images" in said and "1 of the trained model, 12 of the shuffled one" in said


def test_the_dark_frame_makes_no_maps_alike():
    rng = np.random.default_rng(1)
    inside = np.zeros((1, 64, 64), bool)
    inside[:, 16:48, 16:48] = True
    first, second = rng.random((2, 1, 64, 64)).astype(np.float32) * inside
    assert heatmap_checks.rank_correlations(first, second, np.ones_like(inside))[0] > 0.5
    assert abs(heatmap_checks.rank_correlations(first, second, inside)[0]) < 0.2


def test_the_ceiling_is_what_a_perfect_coarse_map_reaches():
    lesion = np.zeros((64, 64), bool)
    lesion[8:16, 8:16] = True
    everywhere = np.ones_like(lesion)
    fine = heatmap_checks.heat_share(heatmap_checks._coarse(lesion, 64), lesion, everywhere)
    coarse = heatmap_checks.heat_share(heatmap_checks._coarse(lesion, 4), lesion, everywhere)
    assert fine[0] == pytest.approx(1) and coarse[0] < 0.4
