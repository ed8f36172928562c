"""Mask metrics against scikit-learn and by hand, and the report of a segmentation run."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from dr_edge.data import tasks
from dr_edge.evaluation import flow, segmentation


def test_overlap_equals_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (3, 16, 16, 2)).astype(np.float32)
    found = rng.integers(0, 2, truth.shape) == 1
    dice, iou = segmentation.overlap(truth, found)
    for image in range(3):
        for mask in range(2):
            pair = truth[image, ..., mask].ravel().astype(int), found[image, ..., mask].ravel().astype(int)
            assert dice[image, mask] == pytest.approx(f1_score(*pair))
            assert iou[image, mask] == pytest.approx(jaccard_score(*pair))


def test_missing_and_empty_masks_have_no_overlap():
    truth = np.zeros((2, 8, 8, 1), np.float32)
    truth[1] = -1
    dice, iou = segmentation.overlap(truth, np.zeros(truth.shape, bool))
    assert np.isnan(dice).all() and np.isnan(iou).all()
    dice, _ = segmentation.overlap(truth, np.ones(truth.shape, bool))
    assert dice[0, 0] == 0 and np.isnan(dice[1, 0])  # drawn where there is nothing: wrong, not unknown


def test_vertical_ratio():
    disc, cup = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    disc[4:14, 2:18], cup[6:10, 5:9] = True, True
    assert segmentation.vertical_ratio(disc, cup) == pytest.approx(0.4)
    assert np.isnan(segmentation.vertical_ratio(disc, np.zeros_like(cup)))


def scores(true, found, dice=None):
    count = len(true)
    dice = np.full((count, 2), 0.9) if dice is None else dice
    text = np.array([f"p{row}" for row in range(count)])
    return segmentation.MaskScores(
        text,
        text,
        np.full(count, "left"),
        dice,
        dice,
        np.array(true),
        np.array(found),
        np.ones(count),
        np.ones((count, 2), int),
    )


def test_bland_altman_by_hand():
    true, found = np.array([0.3, 0.4, 0.5, 0.6]), np.array([0.35, 0.40, 0.45, 0.70])
    values = segmentation.mask_metrics(("disc", "cup"), scores(true, found))["vcdr"]
    error = found - true
    assert values["bias"] == pytest.approx(error.mean())
    assert values["mean_absolute_error"] == pytest.approx(0.05)
    assert values["limits"][1] == pytest.approx(error.mean() + 1.96 * np.std(error, ddof=1))
    assert values["correlation"] == pytest.approx(np.corrcoef(true, found)[0, 1])


def test_a_cup_that_is_not_found_is_counted():
    values = segmentation.mask_metrics(("disc", "cup"), scores([0.3, 0.4, 0.5], [0.3, np.nan, 0.5]))["vcdr"]
    assert values["images"] == 2 and values["not_found"] == 1
    blind = segmentation.mask_metrics(("disc", "cup"), scores([0.3, 0.4], [np.nan, np.nan]))["vcdr"]
    assert blind["images"] == 0 and blind["not_found"] == 2 and blind["bias"] is None
    nothing = segmentation.mask_metrics(("disc", "cup"), scores([np.nan], [np.nan], np.full((1, 2), np.nan)))
    assert nothing["vcdr"] is None and nothing["dice"] is None and len(nothing["notes"]) == 2


def test_a_segmentation_run_gets_its_report(write_run, tmp_path):
    import keras
    from keras import layers

    inputs = keras.Input((64, 64, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    model = keras.Model(inputs, layers.Conv2D(2, 1, name="logits")(x))
    run = write_run(tmp_path / "run", tasks.optic_disc_and_cup(), model)
    content = flow.evaluate(run, flow.Settings(examples=2))
    directory = run / "evaluation" / "test"
    with open(directory / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36 and float(rows[0]["vcdr_true"]) == pytest.approx(7 / 15)  # radii 3 and 7
    assert content["metrics"]["per_class"]["optic disc"]["images"] == 36
    page = (directory / "report.html").read_text()
    assert (
        "Bland-Altman" in page and "outline optic disc and optic cup" in page and "The worst overlaps" in page
    )
