"""The evaluate command on stand-in runs: what it writes, replaces and refuses."""

from __future__ import annotations

import csv
import errno
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import scipy.special
from sklearn import metrics as reference

from dr_edge import metadata, runs
from dr_edge.calibration import store
from dr_edge.data import tasks
from dr_edge.evaluation import flow, number_text, predictions, roc, subgroups
from dr_edge.evaluation.heatmap_checks import run as heatmap_checks
from dr_edge.explanation import heatmaps
from dr_edge.metrics import bootstrap


@pytest.fixture
def run_dir(stand_in_run, tmp_path):
    """A run of which nothing was fitted yet; that of the session may have been exported by another test."""
    return shutil.copytree(stand_in_run, tmp_path / "run", ignore=shutil.ignore_patterns(store.DIRECTORY))


class Checker(HTMLParser):
    """Collects tags, and what the page would load from elsewhere."""

    def __init__(self):
        super().__init__()
        self.open, self.foreign, self.images = [], [], 0

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br", "polyline", "polygon", "circle", "line", "rect"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href") and not value.startswith("data:"):
                self.foreign.append(value)
        self.images += tag == "img"

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass


def test_it_writes_numbers_predictions_and_report(run_dir):
    content = flow.evaluate(run_dir, flow.Settings(examples=3))
    directory = run_dir / "evaluation" / "test"
    assert sorted(path.name for path in directory.iterdir()) == [
        "metrics.json",
        "predictions.csv",
        "report.html",
    ]
    assert metadata.read_manifest(directory, "evaluation")["metrics"] == content["metrics"]
    with open(directory / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == content["images"] == 36
    truth = [row["label"] == "referable" for row in rows]
    auc = reference.roc_auc_score(truth, [float(row["p_referable"]) for row in rows])
    assert content["metrics"]["auc"] == pytest.approx(auc) and auc > 0.8  # the stand-in has learned its square
    assert content["metrics"]["accuracy"] == pytest.approx(np.mean([row["label"] == row["predicted"] for row in rows]))
    assert {row["laterality"] for row in rows} == {"left", "right"} and rows[0]["source_height"] == "960"
    assert content["metrics"]["patients"] == 18
    assert "AUC" in number_text.one_line(content)


def test_heat_maps_that_fail_are_announced_and_stop_nothing(run_dir, stand_in_records, tmp_path, monkeypatch, caplog):
    """Maps of the dark parts of the photograph, and bright lesions, on records that claim to be drawn."""

    def dark_parts(model, images, classes, background):
        grey = images.mean(axis=-1)
        return np.where(grey > 60, 255 - grey, 0)

    for method in heatmap_checks.METHODS:
        monkeypatch.setitem(heatmaps.METHODS, method, dark_parts)
    synthetic = shutil.copytree(stand_in_records, tmp_path / "records")
    manifest = metadata.read_manifest(synthetic, "dataset")
    metadata.write_manifest(synthetic, "dataset", manifest | {"dataset": "synthetic"})
    content = flow.evaluate(run_dir, flow.Settings(examples=0, records=str(synthetic)))
    verdict = metadata.read_manifest(run_dir / "evaluation" / "test", "evaluation")["heat_maps"]["verdict"]
    assert verdict == content["heat_maps"]["verdict"] and verdict["passed"] is False
    assert not verdict["randomisation"]["passed"] and not verdict["lesions"]["passed"]
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert sum("Not passed" in text for text in warned) == 2
    page = (run_dir / "evaluation" / "test" / "report.html").read_text()
    assert "Not passed. Read this" in page and "do not take them as the reason" in page


def test_the_report_is_one_whole_page(run_dir):
    flow.evaluate(run_dir, flow.Settings(examples=3))
    page = (run_dir / "evaluation" / "test" / "report.html").read_text()
    checker = Checker()
    checker.feed(page)
    assert checker.foreign == [] and checker.open == [] and checker.images >= 6
    assert "Can the heat maps be believed?" in page and "Heat inside lesions" in page
    for words_of in (
        "ROC curve",
        "Operating points",
        "Confusion matrix",
        "Reliability diagram",
        "Class balance",
    ):
        assert words_of in page
    assert not re.search(r"\b(nan|NaN|None|inf)\b", re.sub(r'src="data:[^"]*"', "", page))


def test_thresholds_come_from_validation(run_dir):
    content = flow.evaluate(run_dir, flow.Settings(examples=0, heatmap_checks=False, stability=False))
    flow.evaluate(run_dir, flow.Settings(split="val", examples=0, heatmap_checks=False, stability=False))
    with open(run_dir / "evaluation" / "val" / "predictions.csv", newline="") as file:
        scores = [float(row["p_referable"]) for row in csv.DictReader(file)]
    point = next(entry for entry in content["operating_points"] if entry["name"].startswith("sensitivity"))
    ordered = sorted(scores)
    halves = [(low + high) / 2 for low, high in zip(ordered, ordered[1:], strict=False)]
    assert min(abs(point["threshold"] - half) for half in halves) < 1e-6
    assert content["calibration"]["fitted_on"] == 30


def test_the_report_judges_what_a_bundle_will_say(run_dir):
    """Thresholds and probabilities are those that export bakes in: one temperature, one rule, one set of numbers."""
    content = flow.evaluate(run_dir, flow.Settings(examples=0, heatmap_checks=False, stability=False))
    run = runs.load_run(run_dir)
    fit = store.fit_of(run, run.records)
    bundle = {point["threshold"] for point in fit.operating_points}
    assert {point["threshold"] for point in content["operating_points"] if point["chosen_on"] == "val"} == bundle
    with open(run_dir / "evaluation" / "test" / "predictions.csv", newline="") as file:
        written = [float(row["p_referable"]) for row in csv.DictReader(file)]
    raw = predictions.predict_split(run, run.records, "test", 16)
    expected = scipy.special.softmax(raw.logits / fit.temperature, axis=1)[:, 1]
    np.testing.assert_allclose(written, expected, atol=1e-5)
    assert fit.temperature != 1 and content["calibration"]["temperature"] == pytest.approx(fit.temperature, rel=1e-4)


def test_an_older_evaluation_is_replaced_whole(run_dir):
    flow.evaluate(run_dir, flow.Settings(examples=0, heatmap_checks=False, stability=False))
    directory = run_dir / "evaluation" / "test"
    (directory / "stale.txt").write_text("old")
    (run_dir / "evaluation" / ".test.next").mkdir()  # left by a killed evaluation
    flow.evaluate(run_dir, flow.Settings(examples=0, heatmap_checks=False, stability=False))
    assert [path.name for path in (run_dir / "evaluation").iterdir()] == ["test"]
    assert not (directory / "stale.txt").exists()


def test_a_failed_evaluation_leaves_the_older_one(run_dir, monkeypatch):
    flow.evaluate(run_dir, flow.Settings(examples=0, heatmap_checks=False, stability=False))
    monkeypatch.setattr(flow.report, "render", lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
    with pytest.raises(RuntimeError, match="broken"):
        flow.evaluate(run_dir, flow.Settings(examples=0, heatmap_checks=False, stability=False))
    assert [path.name for path in (run_dir / "evaluation").iterdir()] == ["test"]
    metadata.read_manifest(run_dir / "evaluation" / "test", "evaluation")


def test_a_foreign_directory_is_refused(run_dir):
    foreign = run_dir / "evaluation" / "test"
    foreign.mkdir(parents=True)
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="is no evaluation"):
        flow.evaluate(run_dir, flow.Settings())
    assert (foreign / "thesis.txt").read_text() == "mine"


def test_five_grades_and_diseases(write_run, make_model, tmp_path):
    for task, key in ((tasks.dr_grade(), "qwk"), (tasks.diseases(("glaucoma",)), "mean_f1")):
        run = write_run(tmp_path / task.name, task, make_model(len(task.class_names)))
        several = task.kind == "multilabel"
        content = flow.evaluate(run, flow.Settings(examples=2, heatmap_checks=several))
        assert key in content["metrics"] and (content["heat_maps"] is not None) == several
        page = (run / "evaluation" / "test" / "report.html").read_text()
        checker = Checker()
        checker.feed(page)
        assert checker.open == [] and checker.foreign == []
        json.dumps(content, allow_nan=False)


def test_a_network_without_feature_map_is_explained_by_its_pixels(write_run, tmp_path):
    """As a vision transformer: no layer `cam_features`."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    image = keras.Input((64, 64, 3), name="image")
    x = layers.Conv2D(8, 16, strides=16)(layers.Rescaling(1 / 127.5, offset=-1.0)(image))
    x = layers.Dense(8, activation="relu", name="penultimate")(layers.Flatten()(x))
    model = keras.Model(image, layers.Dense(5, name="logits")(x), name="vit_b16")
    content = flow.evaluate(write_run(tmp_path / "vit", tasks.dr_grade(), model), flow.Settings(examples=2))
    assert list(content["heat_maps"]["randomisation"]) == ["saliency"]
    assert content["heat_maps"]["lesions"] is None or content["heat_maps"]["lesions"]["ceiling"] is None
    page = (tmp_path / "vit" / "evaluation" / "test" / "report.html").read_text()
    assert "Saliency" in page and "Grad-CAM" not in page
    asked = {point["question"] for point in content["operating_points"]}
    assert asked == {"grade >= 2"} and "Called positive" in page


def test_intervals_are_what_the_report_says(run_dir, write_run, make_model, tmp_path):
    flow.evaluate(run_dir, flow.Settings(examples=0, heatmap_checks=False, stability=False))
    page = (run_dir / "evaluation" / "test" / "report.html").read_text()
    assert f"{bootstrap.DRAWS:,} bootstrap draws of whole patients, those of subgroups of {subgroups.DRAWS:,}." in page
    assert f"95 % of {roc.BAND_DRAWS} bootstrap curves" in page and f"at least {subgroups.SMALLEST} images" in page
    several = write_run(tmp_path / "several", tasks.diseases(("glaucoma", "dr_grade")), make_model(2))
    content = flow.evaluate(several, flow.Settings(examples=0, heatmap_checks=False, stability=False))
    for row in [content["metrics"], *content["subgroups"]]:
        for name in ("mean_f1", "mean_auc"):
            low, high = row[f"{name}_interval"]
            assert low < row[name] < high
    shown = number_text.interval(content["subgroups"][0]["mean_auc_interval"])
    page = (several / "evaluation" / "test" / "report.html").read_text()
    assert f"<small>{shown}</small>" in page and shown in page[page.index("<h2>Subgroups") :]


def test_a_diverged_model_is_refused(run_dir):
    import keras

    model = keras.models.load_model(run_dir / "best.keras")
    model.set_weights([weight * np.nan for weight in model.get_weights()])
    model.save(run_dir / "best.keras")
    with pytest.raises(RuntimeError, match="not finite"):
        flow.evaluate(run_dir, flow.Settings())
    assert list((run_dir / "evaluation").iterdir()) == []


def test_a_broken_model_file_is_refused(run_dir):
    (run_dir / "best.keras").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"cannot be read as a Keras model"):
        flow.evaluate(run_dir, flow.Settings())


def test_a_model_file_that_may_not_be_read_is_called_that(run_dir, monkeypatch):
    """Keras says "File not found"; who runs the tests as root may read everything."""
    opens = Path.open

    def closed(path, *arguments, **named):
        if path.name == "best.keras":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opens(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(PermissionError, match="Permission denied"):
        runs.load_run(run_dir)


def test_help_teaches_and_is_instant(starts):
    command = [sys.executable, "-m", "dr_edge.evaluate", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert starts(lambda: subprocess.run(command, capture_output=True, timeout=120)) < 40
    assert "python -m dr_edge.evaluate --run_dir=RUN" in result.stdout and "--split" in result.stdout
