"""Mask metrics against scikit-learn and by hand, and the report of a segmentation run."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import f1_score, jaccard_score

from dr_edge import metadata
from dr_edge.calibration import store
from dr_edge.data import tasks
from dr_edge.evaluation import flow
from dr_edge.evaluation.masks import subgroups
from dr_edge.evaluation.masks.evaluate import mask_metrics
from dr_edge.evaluation.masks.scores import MaskScores, overlap
from dr_edge.models import unet


def test_overlap_equals_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (3, 16, 16, 2)).astype(np.float32)
    found = rng.integers(0, 2, truth.shape) == 1
    dice, iou = overlap(truth, found)
    for image in range(3):
        for mask in range(2):
            pair = truth[image, ..., mask].ravel().astype(int), found[image, ..., mask].ravel().astype(int)
            assert dice[image, mask] == pytest.approx(f1_score(*pair))
            assert iou[image, mask] == pytest.approx(jaccard_score(*pair))


def test_missing_and_empty_masks_have_no_overlap():
    truth = np.zeros((2, 8, 8, 1), np.float32)
    truth[1] = -1
    dice, iou = overlap(truth, np.zeros(truth.shape, bool))
    assert np.isnan(dice).all() and np.isnan(iou).all()
    dice, _ = overlap(truth, np.ones(truth.shape, bool))
    assert dice[0, 0] == 0 and np.isnan(dice[1, 0])  # drawn where there is nothing: wrong, not unknown


def scores(true, found, dice=None, glaucoma=None, fovea=None):
    count = len(true)
    dice = np.full((count, 2), 0.9) if dice is None else dice
    text = np.array([f"p{row}" for row in range(count)])
    return MaskScores(
        text,
        text,
        np.full(count, "left"),
        dice,
        dice,
        np.array(true),
        np.array(found),
        np.ones(count),
        np.ones((count, 2), int),
        np.full(count, -1) if glaucoma is None else np.array(glaucoma),
        np.full(count, np.nan) if fovea is None else np.array(fovea) * 50.0,
        np.full(count, np.nan) if fovea is None else np.array(fovea),
    )


def test_bland_altman_by_hand():
    true, found = np.array([0.3, 0.4, 0.5, 0.6]), np.array([0.35, 0.40, 0.45, 0.70])
    values = mask_metrics(("disc", "cup"), scores(true, found))["vcdr"]
    error = found - true
    assert values["bias"] == pytest.approx(error.mean())
    assert values["mean_absolute_error"] == pytest.approx(0.05)
    assert values["limits"][1] == pytest.approx(error.mean() + 1.96 * np.std(error, ddof=1))
    assert values["correlation"] == pytest.approx(np.corrcoef(true, found)[0, 1])


def test_a_cup_that_is_not_found_is_counted():
    values = mask_metrics(("disc", "cup"), scores([0.3, 0.4, 0.5], [0.3, np.nan, 0.5]))["vcdr"]
    assert values["images"] == 2 and values["not_found"] == 1
    blind = mask_metrics(("disc", "cup"), scores([0.3, 0.4], [np.nan, np.nan]))["vcdr"]
    assert blind["images"] == 0 and blind["not_found"] == 2 and blind["bias"] is None
    nothing = mask_metrics(("disc", "cup"), scores([np.nan], [np.nan], np.full((1, 2), np.nan)))
    assert nothing["vcdr"] is None and nothing["dice"] is None and len(nothing["notes"]) == 2


def test_glaucoma_auc_and_fovea_error_by_hand():
    nan = float("nan")
    values = mask_metrics(
        ("disc", "cup"),
        scores(
            [0.3, 0.4, 0.7, 0.8], [0.5, 0.4, 0.45, nan],
            glaucoma=[0, 0, 1, 1], fovea=[0.1, 0.3, nan, 0.8],
        ),
    )  # fmt: skip
    assert values["glaucoma"]["auc"] == pytest.approx(0.5) and values["glaucoma"]["images"] == 3
    assert values["glaucoma"]["auc_of_labelled_vcdr"] == 1.0
    fovea = values["fovea"]
    assert fovea["images"] == 3 and fovea["pixels"] == pytest.approx(20.0)
    assert fovea["disc_diameters"] == pytest.approx(0.4) and fovea["within_half_disc"] == pytest.approx(2 / 3)
    without = mask_metrics(("disc", "cup"), scores([0.3], [0.4]))
    assert without["glaucoma"] is None and without["fovea"] is None


def test_subgroups_by_hand():
    count, rng = 40, np.random.default_rng(2)
    true, dice = rng.uniform(0.3, 0.7, count), rng.uniform(0.6, 1, (count, 2))
    found = true + rng.normal(0, 0.1, count)
    found[:12], dice[20:, 1] = np.nan, np.nan  # no cup drawn; no cup labelled
    eyes = np.array(["left"] * 20 + ["right"] * 16 + [""] * 4)
    small = np.arange(count) < 31
    table = dataclasses.replace(
        scores(true, found, dice), laterality=eyes, quality=np.arange(count) / count,
        source_size=np.where(small[:, None], (480, 640), (960, 1280)),
    )  # fmt: skip
    rows = {(row["kind"], row["name"]): row for row in subgroups.mask_subgroups(("disc", "cup"), table)}
    assert set(rows) == {
        ("eye", "left"),
        ("eye", "right"),
        ("quality", "lowest third"),
        ("quality", "middle third"),
        ("quality", "best third"),
    }
    left, right = rows["eye", "left"], rows["eye", "right"]
    assert left["images"] == left["patients"] == 20 and left["dice"]["cup"]["mean"] == pytest.approx(
        dice[:20, 1].mean()
    )
    assert right["dice"]["cup"] == {"images": 0, "mean": None, "interval": None}
    error = np.abs(found - true)[12:20]
    assert left["vcdr_error"]["images"] == 8 and left["vcdr_error"]["mean"] == pytest.approx(error.mean())
    reference = scipy.stats.bootstrap(
        (error,), np.mean, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    spread = reference.high - reference.low
    assert left["vcdr_error"]["interval"] == pytest.approx(list(reference), abs=0.12 * spread)
    without = dataclasses.replace(table, found_vcdr=np.full(count, np.nan))
    assert {row["vcdr_error"] for row in subgroups.mask_subgroups(("disc", "cup"), without)} == {None}


@pytest.mark.slow
def test_masks_are_told_the_images_feature_distance(write_run, stand_in_records, tmp_path):
    """The distance is fitted, stored and reported, on the run's own photographs as on others."""
    model = unet.unet(64, 2, encoder=lambda x: unet.plain_encoder(x, depth=2, width=4))
    run = write_run(tmp_path / "run", tasks.optic_disc_and_cup(), model)
    content = flow.evaluate(run, flow.Settings(examples=4))
    stored = metadata.read_manifest(run / store.DIRECTORY, "reliability")
    far = content["out_of_distribution"]
    assert far["threshold"] == stored["ood"]["threshold"] > 0 and far["fitted_on"] == 36
    assert far["beyond"] == round((1 - far["passed"]) * 36) and far["passed"] > 0.7
    page = (run / "evaluation" / "test" / "report.html").read_text()
    shown = page[page.index("<h2>Familiar images") : page.index("<h2>Subgroups")]
    assert shown.count("<figure>") == 2 and "The exported model gives this distance" in shown
    other = shutil.copytree(stand_in_records, tmp_path / "other")
    manifest = metadata.read_manifest(other, "dataset")
    metadata.write_manifest(other, "dataset", manifest | {"dataset": "other"})
    written = metadata.read_manifest(run, "run")
    metadata.write_manifest(run, "run", written | {"records": str(tmp_path / "gone")})
    elsewhere = flow.evaluate(run, flow.Settings(records=str(other), examples=0))
    assert elsewhere["out_of_distribution"] == far and not elsewhere["trained_on_these_records"]
    shutil.rmtree(run / store.DIRECTORY)
    here = flow.evaluate(run, flow.Settings(records=str(other), examples=0))
    assert here["fitted"]["on_own_records"] is False and "images of these records" in here["notes"][0]
    page = (run / "evaluation" / "test" / "report.html").read_text()
    assert "keep from the training images of these records" in page and "The exported model gives" not in page


def test_perfect_masks_get_perfect_scores(synthetic_records, tmp_path):
    """A stand-in for a network that paints the labels: overlap 1, vCDR error near 0, the fovea where it is."""
    from dr_edge.data import pipeline
    from dr_edge.evaluation.masks.scores import score_split

    task = tasks.optic_disc_cup_and_fovea()
    (batch,) = list(pipeline.evaluation_batches(synthetic_records, "train", task, 64))
    labels = batch["label"].numpy()
    assert labels.shape[1:] == (96, 96, 3) and labels.max() <= 1

    class Painter:
        layers = ()

        def predict_on_batch(self, images):
            soft = np.clip(labels, 1e-4, 1 - 1e-4)
            assert len(images) == len(labels)
            return np.log(soft / (1 - soft))

    run = SimpleNamespace(task=task, probabilities=task.probabilities, directory=tmp_path, model=Painter())
    found = score_split(run, str(synthetic_records), "train", 64)
    assert np.nanmin(found.dice) == 1.0 and found.dice.shape[1] == 2
    np.testing.assert_allclose(found.found_vcdr, found.true_vcdr, atol=1e-9)
    assert np.nanmax(found.fovea_disc_diameters) < 0.05 and np.isfinite(found.fovea_pixels).all()
    assert set(found.glaucoma.tolist()) == {0, 1}
    # Drawn glaucoma is a large cup, so the ratio tells it.
    metrics = mask_metrics(task.class_names[:2], found)
    assert metrics["glaucoma"]["auc"] > 0.9 and metrics["fovea"]["images"] == len(labels)


@pytest.mark.slow
def test_own_records_of_another_size_choose_no_constant_mask(write_run, stand_in_records, synthetic_records, tmp_path):
    """Of a run of an earlier release, whose records were built anew at 96 px; its model takes 64 px."""
    model = unet.unet(64, 2, encoder=lambda x: unet.plain_encoder(x, depth=2, width=4))
    run = write_run(tmp_path / "run", tasks.optic_disc_and_cup(), model)
    own = flow.evaluate(run, flow.Settings(examples=0))
    written = metadata.read_manifest(run, "run")
    metadata.write_manifest(run, "run", written | {"records": str(synthetic_records)})
    settings = flow.Settings(records=str(stand_in_records), examples=0)
    assert flow.evaluate(run, settings)["out_of_distribution"] == own["out_of_distribution"]  # as stored
    shutil.rmtree(run / store.DIRECTORY)
    content = flow.evaluate(run, settings)
    assert content["fitted"]["on_own_records"] is False and content["verdict"]["status"]


def test_a_segmentation_run_gets_its_report(write_run, tmp_path):
    import keras
    from keras import layers

    inputs = keras.Input((64, 64, 3))
    keras.utils.set_random_seed(0)  # of some random weights no disc is found, and then there is no plot
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    model = keras.Model(inputs, layers.Conv2D(2, 1, name="logits")(x))
    run = write_run(tmp_path / "run", tasks.optic_disc_and_cup(), model)
    content = flow.evaluate(run, flow.Settings(examples=2))
    directory = run / "evaluation" / "test"
    with open(directory / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    # Radii 3 and 7, measured in the photograph, 7.5 times as large.
    assert len(rows) == 36 and float(rows[0]["vcdr_true"]) == pytest.approx(7 / 15, abs=0.01)
    assert content["metrics"]["per_class"]["optic disc"]["images"] == 36
    page = (directory / "report.html").read_text()
    groups = {(row["kind"], row["name"]): row for row in content["subgroups"]}
    left = [row for row in rows if row["laterality"] == "left"]
    value = groups["eye", "left"]["dice"]["optic disc"]
    assert value["images"] == groups["eye", "left"]["images"] == len(left) == 18
    assert value["mean"] == pytest.approx(np.mean([float(row["dice_optic disc"]) for row in left]), abs=1e-5)
    error = [abs(float(row["vcdr_found"]) - float(row["vcdr_true"])) for row in left if row["vcdr_found"]]
    assert groups["eye", "left"]["vcdr_error"]["images"] == len(error)
    shown = page[page.index("<h2>Subgroups") :]
    for part in ("eye: left", "picture size: 640 × 480 px", "quality: lowest third", "n = 18", "vCDR error"):
        assert part in shown
    assert content["out_of_distribution"] == {"reason": "the network has no layer penultimate"}
    assert "is not known: the network has no layer penultimate." in page
    assert "Bland-Altman" in page and "outline optic disc and optic cup" in page and "The worst overlaps" in page


def test_glaucoma_is_what_the_records_call_so(write_run, stand_in_records, tmp_path):
    """The value 0 may be the disease, as the names say; where they do not say it, no image counts as labelled."""
    import keras

    from dr_edge.evaluation.masks.scores import score_split
    from dr_edge.runs import load_run

    image = keras.Input((64, 64, 3), name="image")
    model = keras.Model(image, keras.layers.Conv2D(2, 1, name="logits")(image))
    run = load_run(write_run(tmp_path / "run", tasks.optic_disc_and_cup(), model))
    found = {}
    for number, names in enumerate((["absent", "present"], ["glaucoma", "normal"], ["ei", "kyllä"])):
        records = shutil.copytree(stand_in_records, tmp_path / str(number))
        content = metadata.read_manifest(records, "dataset")
        metadata.write_manifest(records, "dataset", content | {"labels": content["labels"] | {"glaucoma": names}})
        found[names[0]] = score_split(run, str(records), "val", 16).glaucoma
    known = found["absent"] >= 0
    assert known.any() and not known.all() and {0, 1} <= set(found["absent"])
    np.testing.assert_array_equal(found["glaucoma"][known], 1 - found["absent"][known])
    assert (found["glaucoma"][~known] == -1).all() and (found["ei"] == -1).all()
