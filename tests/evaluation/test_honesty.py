"""The checks of the heat maps: they must catch a map that ignores the model, and know chance."""

from __future__ import annotations

import numpy as np
import pytest

from dr_edge.evaluation import honesty, predictions
from dr_edge.explanation import heatmaps
from dr_edge.trained import load_run


@pytest.fixture(scope="module")
def run(stand_in_run):
    return load_run(stand_in_run)


@pytest.fixture(scope="module")
def test_split(run):
    return predictions.predict_split(run, run.records, "test", 36)


def test_a_trained_model_passes(run, test_split):
    result = honesty.check(run, run.records, "test", test_split, images=12)
    assert result["images"] == 12
    assert result["randomisation"]["gradcam"]["all layers"]["changed"]
    lesions = result["lesions"]
    assert lesions["masks"] == ["hard_exudates"] and lesions["images"] == 12
    assert lesions["gradcam"]["ratio"] > 2 and lesions["gradcam"]["ratio_interval"][0] > 1
    assert lesions["ceiling"] > 2 and lesions["cells"] == 8
    assert lesions["gradcam"]["chance"] == pytest.approx(100 / (np.pi * 30**2), rel=0.1)


def test_a_map_that_ignores_the_model_is_caught(run, test_split, monkeypatch):
    def edges(model, images, classes, background):
        return np.abs(np.diff(images.mean(axis=-1), axis=1, prepend=0))

    monkeypatch.setitem(heatmaps.METHODS, "gradcam", edges)
    result = honesty.check(run, run.records, "test", test_split, images=6)
    entry = result["randomisation"]["gradcam"]["all layers"]
    assert entry["rank_correlation"] == pytest.approx(1.0) and not entry["changed"]


def test_shuffling_keeps_the_values_and_leaves_the_model_alone(run):
    before = [weight.copy() for weight in run.model.get_weights()]
    last, every = honesty.shuffled(run.model, last_only=True), honesty.shuffled(run.model, last_only=False)
    for original, now, a, b in zip(
        before, run.model.get_weights(), last.get_weights(), every.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(original, now)
        for copy in (a, b):
            np.testing.assert_array_equal(np.sort(copy.ravel()), np.sort(original.ravel()))
    assert (
        last.get_layer("cam_features").get_weights()[0]
        == run.model.get_layer("cam_features").get_weights()[0]
    ).all()
    assert (last.get_layer("logits").get_weights()[0] != run.model.get_layer("logits").get_weights()[0]).any()


def test_heat_share_by_hand():
    heat, lesions, fov = np.ones((10, 10), np.float32), np.zeros((10, 10), bool), np.ones((10, 10), bool)
    lesions[:2] = True
    assert honesty.heat_share(heat, lesions, fov) == pytest.approx((0.2, 0.2))  # even heat is chance
    heat[:2] = 9
    assert honesty.heat_share(heat, lesions, fov)[0] == pytest.approx(180 / 260)
    assert honesty.heat_share(heat * 0, lesions, fov) == pytest.approx((0, 0.2))


def test_rank_correlations():
    heat = np.random.default_rng(0).random((1, 64, 64)).astype(np.float32)
    everywhere = np.ones(heat.shape, bool)
    assert honesty.rank_correlations(heat, heat, everywhere)[0] == pytest.approx(1)
    assert honesty.rank_correlations(heat, heat * 0, everywhere)[0] == 0  # a map without heat is another map
    assert honesty.rank_correlations(heat, 1 - heat, everywhere)[0] == pytest.approx(-1)


def test_the_dark_frame_makes_no_maps_alike():
    rng = np.random.default_rng(1)
    inside = np.zeros((1, 64, 64), bool)
    inside[:, 16:48, 16:48] = True
    first, second = rng.random((2, 1, 64, 64)).astype(np.float32) * inside
    assert honesty.rank_correlations(first, second, np.ones_like(inside))[0] > 0.5
    assert abs(honesty.rank_correlations(first, second, inside)[0]) < 0.2


def test_the_ceiling_is_what_a_perfect_coarse_map_reaches():
    lesion = np.zeros((64, 64), bool)
    lesion[8:16, 8:16] = True
    everywhere = np.ones_like(lesion)
    fine = honesty.heat_share(honesty._coarse(lesion, 64), lesion, everywhere)
    coarse = honesty.heat_share(honesty._coarse(lesion, 4), lesion, everywhere)
    assert fine[0] == pytest.approx(1) and coarse[0] < 0.4
