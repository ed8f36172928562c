"""The paired comparison of masks against SciPy's bootstrap, scikit-learn and a case by hand, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score

from dr_edge import metadata
from dr_edge.data import tasks
from dr_edge.evaluation import compare
from dr_edge.evaluation.masks import table
from dr_edge.evaluation.masks.scores import MaskScores

TASK = tasks.optic_disc_cup_and_fovea()
NAMES = ("optic disc", "optic cup")


def synthetic_scores(gain: float, seed: int, count: int = 120, eyes: int = 1) -> MaskScores:
    """Scores that share their labels and half of their noise for every `gain`."""
    rng, own = np.random.default_rng(3), np.random.default_rng(seed)
    shared, true = rng.normal(0, 0.03, (count, 2)), rng.uniform(0.3, 0.8, count)
    glaucoma = (true + rng.normal(0, 0.12, count) > 0.55).astype(int)
    dice = np.clip(0.85 + gain + shared + own.normal(0, 0.02, (count, 2)), 0, 1)
    fovea = np.abs(own.normal(0.3 - gain, 0.05, count))
    return MaskScores(
        ids=np.array([f"eye_{row:03d}" for row in range(count)]),
        patients=np.array([f"p{row // eyes}" for row in range(count)]),
        laterality=np.full(count, "left"),
        dice=dice,
        iou=dice / (2 - dice),
        true_vcdr=true,
        found_vcdr=true + own.normal(0, 0.1 - gain, count),
        quality=np.ones(count),
        source_size=np.full((count, 2), 512),
        glaucoma=glaucoma,
        fovea_pixels=60 * fovea,
        fovea_disc_diameters=fovea,
    )


def evaluated(directory, scores, task=TASK, dataset="drishti", split="test"):
    """Writes what compare reads of an evaluated segmentation run."""
    place = directory / "evaluation" / "test"
    place.mkdir(parents=True)
    (place / "predictions.csv").write_text(table.to_csv(NAMES, scores))
    content = {"split": split, "task": task.to_json(), "metrics": {}, "records": {"dataset": dataset}}
    metadata.write_manifest(place, "evaluation", content | {"images": len(scores.ids)})
    return directory


def compared(tmp_path, a, b, **options):
    return compare.compare(evaluated(tmp_path / "a", a), evaluated(tmp_path / "b", b), "test", **options)


def test_the_table_comes_back_as_it_was(tmp_path):
    scores = synthetic_scores(0.0, 1)
    scores.dice[3, 1] = scores.found_vcdr[5] = np.nan
    scores.glaucoma[7] = -1
    again = table.from_csv(evaluated(tmp_path / "a", scores) / "evaluation" / "test", NAMES)
    for field in dataclasses.fields(MaskScores):
        expected, found = getattr(scores, field.name), getattr(again, field.name)
        if field.name in ("features", "constant_dice"):  # too many to be kept
            assert found is None
        elif expected.dtype.kind == "f":
            np.testing.assert_allclose(found, expected, atol=1e-6)
        else:
            np.testing.assert_array_equal(found, expected)


def test_differences_and_intervals_are_those_of_scipy(tmp_path):
    """One image per patient: then SciPy's paired percentile bootstrap is the same estimate, up to its own draws."""
    a, b = synthetic_scores(0.0, 1), synthetic_scores(0.01, 2)
    metrics = compared(tmp_path, a, b, draws=4000)["metrics"]
    errors = [np.abs(scores.found_vcdr - scores.true_vcdr) for scores in (a, b)]
    expected = {
        "Dice, optic disc": (a.dice[:, 0], b.dice[:, 0]),
        "IoU, optic cup": (a.iou[:, 1], b.iou[:, 1]),
        "vCDR error": tuple(errors),
        "fovea error, disc diameters": (a.fovea_disc_diameters, b.fovea_disc_diameters),
    }
    for name, pair in expected.items():
        entry = metrics[name]
        assert (entry["a"], entry["b"]) == pytest.approx(tuple(map(np.mean, pair)), abs=1e-6)
        interval = scipy.stats.bootstrap(
            pair, lambda x, y, axis: y.mean(axis) - x.mean(axis), paired=True, method="percentile",
            n_resamples=4000, rng=np.random.default_rng(11),
        ).confidence_interval  # fmt: skip
        width = interval.high - interval.low
        assert entry["interval"] == pytest.approx(list(interval), abs=0.08 * width), name
    found = metrics["glaucoma AUC of vCDR"]
    areas = [roc_auc_score(scores.glaucoma, scores.found_vcdr) for scores in (a, b)]
    assert (found["a"], found["b"]) == pytest.approx(tuple(areas), abs=1e-5)
    interval = scipy.stats.bootstrap(
        (a.glaucoma, a.found_vcdr, b.found_vcdr), lambda y, p, q: roc_auc_score(y, q) - roc_auc_score(y, p),
        paired=True, vectorized=False, method="percentile", n_resamples=400, rng=np.random.default_rng(12),
    ).confidence_interval  # fmt: skip
    assert found["interval"] == pytest.approx(list(interval), abs=0.2 * (interval.high - interval.low))


def test_patients_are_drawn_and_not_images(tmp_path):
    """Both eyes of a patient alike: by the plain definition the interval is that of half as many images."""
    eye = synthetic_scores(0.0, 1, count=60)
    twice = {field.name: np.repeat(getattr(eye, field.name), 2, axis=0) for field in dataclasses.fields(eye)}
    ids = np.array([f"eye_{row:03d}" for row in range(120)])
    a = dataclasses.replace(eye, **twice | {"ids": ids})
    better = np.random.default_rng(5).normal(0.01, 0.02, 60)
    b = dataclasses.replace(a, dice=a.dice + np.repeat(better, 2)[:, None])
    entry = compared(tmp_path, a, b)["metrics"]["Dice, optic cup"]
    draws = np.random.default_rng(6).integers(0, 60, (4000, 60))
    low, high = np.quantile(better[draws].mean(axis=1), [0.025, 0.975])
    assert entry["interval"] == pytest.approx([low, high], abs=0.08 * (high - low))


def test_a_case_by_hand_with_what_only_one_run_found(tmp_path):
    a, b = synthetic_scores(0.0, 1, count=4), synthetic_scores(0.0, 1, count=4)
    a.dice[:, 0], b.dice[:, 0] = (0.8, 0.9, np.nan, 0.7), (0.9, 0.9, 0.2, 0.8)
    a.found_vcdr[:], b.found_vcdr[:] = a.true_vcdr + 0.1, b.true_vcdr - 0.3
    b.found_vcdr[1] = np.nan
    result = compared(tmp_path, a, b)
    disc, error = result["metrics"]["Dice, optic disc"], result["metrics"]["vCDR error"]
    assert (disc["a"], disc["b"]) == pytest.approx((0.8, 2.6 / 3)) and disc["b_better"] > 0.9
    assert (disc["images"], disc["only_a"], disc["only_b"]) == (3, 0, 1)
    assert error["difference"] == pytest.approx(0.2, abs=1e-5)
    assert error["less_is_better"] and error["b_better"] == 0  # a larger error is never better
    assert (error["images"], error["only_a"], error["only_b"]) == (3, 1, 0)
    page = compare.table(result)
    assert "vCDR error: 3 images; a value from A alone on 1, from B alone on 0" in page
    assert "Dice, optic disc" in page and "only A right" not in page
    json.dumps(result, allow_nan=False)


def test_what_one_run_lacks_is_left_out(tmp_path):
    a = synthetic_scores(0.0, 1)
    blank = np.full(len(a.ids), np.nan)
    b = dataclasses.replace(a, fovea_pixels=blank, fovea_disc_diameters=blank, glaucoma=np.full(len(a.ids), -1))
    first = evaluated(tmp_path / "a", a)
    second = evaluated(tmp_path / "b", b, tasks.optic_disc_and_cup())  # the same masks, no fovea
    metrics = compare.compare(first, second, "test")["metrics"]
    assert set(metrics) == {"Dice, optic disc", "IoU, optic disc", "Dice, optic cup", "IoU, optic cup", "vCDR error"}
    assert all(entry["difference"] == 0 and entry["b_better"] == 0.5 for entry in metrics.values())


def test_one_patient_gives_no_interval(tmp_path):
    a, b = (synthetic_scores(gain, 1, count=6, eyes=6) for gain in (0.0, 0.01))
    result = compared(tmp_path, a, b)
    assert result["patients"] == 1
    assert {(entry["interval"], entry["b_better"]) for entry in result["metrics"].values()} == {(None, None)}
    assert "none" in compare.table(result)


def test_what_cannot_be_compared_is_refused(tmp_path):
    scores = synthetic_scores(0.0, 1)
    run = evaluated(tmp_path / "run", scores)

    def refused(name, message, changed=scores, **options):
        with pytest.raises(ValueError, match=message):
            compare.compare(run, evaluated(tmp_path / name, changed, **options), "test")

    refused("set", "judged on drishti, test split, .* on idrid, test split", dataset="idrid")
    refused("split", "on drishti, val split; asked was test", split="val")
    refused("classes", "answers segmentation .* answers classification", task=tasks.referable_dr())
    disc = tasks.Task("disc", "segmentation", ("optic disc",), masks=("optic_disc",))
    refused("masks", "answers segmentation optic_disc_cup_and_fovea .* answers segmentation disc", task=disc)
    refused("ids", "no image", dataclasses.replace(scores, ids=np.char.add("x", scores.ids)))
    refused("people", "120 images belong to another patient", dataclasses.replace(scores, patients=scores.ids))
    other = scores.true_vcdr.copy()
    other[2] += 0.2
    refused("ratio", "1 images have another label .* eye_002", dataclasses.replace(scores, true_vcdr=other))
    refused("disease", "120 images have another label", dataclasses.replace(scores, glaucoma=1 - scores.glaucoma))
    old = evaluated(tmp_path / "old", scores)
    (old / "evaluation" / "test" / "predictions.csv").write_text("id,patient,dice_optic disc\na,b,0.5\n")
    with pytest.raises(metadata.ManifestError, match="columns dice_optic cup.*Evaluate the run again"):
        compare.compare(run, old, "test")


def test_the_command_prints_and_writes(tmp_path):
    runs = [str(evaluated(tmp_path / name, synthetic_scores(gain, 1))) for name, gain in (("a", 0.0), ("b", 0.03))]
    command = [sys.executable, "-m", "dr_edge.evaluate", "compare", *runs]
    result = subprocess.run([*command, f"--out={tmp_path / 'c.json'}"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "Dice, optic disc" in result.stdout and "100.0 % of draws" in result.stdout
    written = json.loads((tmp_path / "c.json").read_text())
    assert written["metrics"]["Dice, optic cup"]["difference"] > 0 and written["images"] == 120
    refused = subprocess.run([*command, "--split=val"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    unused = [*command, "--records=somewhere", "--batch_size=4", "--noheatmap_checks"]
    refused = subprocess.run(unused, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "compare does not use --records, --batch_size, --heatmap_checks" in refused.stdout + refused.stderr
