"""The paired comparison against the plain definition, and what it refuses."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dr_edge import metadata
from dr_edge.data import tasks
from dr_edge.evaluation import compare, predictions
from dr_edge.metrics import bootstrap


def synthetic_predictions(strength: float, seed: int, count: int = 300) -> predictions.Predictions:
    """Two eyes per patient; labels and part of the noise are the same for every `strength`."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 2, count)
    shared = rng.normal(size=count)
    own = np.random.default_rng(seed).normal(size=count)
    logits = np.stack([np.zeros(count), strength * (labels - 0.5) + shared + 0.3 * own], axis=1)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return predictions.Predictions(
        ids=np.array([f"eye_{row}" for row in range(count)]),
        patients=np.array([f"p{row // 2}" for row in range(count)]),
        laterality=np.array(["left", "right"] * (count // 2)),
        labels=labels,
        logits=logits,
        probabilities=probabilities,
        quality=np.ones(count),
        source_size=np.full((count, 2), 512),
    )


def evaluated(directory, table, task=None, dataset="idrid", trained=True):
    """Writes what compare reads of an evaluated run."""
    task = task or tasks.referable_dr()
    place = directory / "evaluation" / "test"
    place.mkdir(parents=True)
    (place / "predictions.csv").write_text(predictions.to_csv(table, task))
    content = {"split": "test", "task": task.to_json(), "metrics": {}, "images": len(table)}
    content["records"] = {"dataset": dataset, "directory": f"/records/{dataset}"}
    content["trained_on_these_records"] = trained
    metadata.write_manifest(place, "evaluation", content)
    return directory


def test_differences_and_intervals(tmp_path):
    a, b = synthetic_predictions(1.0, 1), synthetic_predictions(1.6, 2)
    result = compare.compare(evaluated(tmp_path / "a", a), evaluated(tmp_path / "b", b), "test")
    areas = [roc_auc_score(table.labels, table.probabilities[:, 1]) for table in (a, b)]
    auc = result["metrics"]["auc"]
    assert (auc["a"], auc["b"]) == pytest.approx(tuple(areas), abs=1e-6)
    assert auc["interval"][0] > 0 and auc["b_better"] > 0.99  # a real difference is seen
    right_a, right_b = a.predicted == a.labels, b.predicted == b.labels
    assert result["only_a_right"] == (right_a & ~right_b).sum()
    assert result["only_b_right"] == (right_b & ~right_a).sum()
    json.dumps(result, allow_nan=False)
    assert "B better in" in compare.table(result)


def test_pairing_is_sharper_than_two_intervals(tmp_path):
    a, b = synthetic_predictions(1.0, 1), synthetic_predictions(1.2, 2)
    result = compare.compare(evaluated(tmp_path / "a", a), evaluated(tmp_path / "b", b), "test")
    low, high = result["metrics"]["auc"]["interval"]
    widths = []
    for table in (a, b):
        interval = bootstrap.bootstrap_interval(
            bootstrap.weighted_auc(table.labels == 1, table.probabilities[:, 1]), table.patients
        )
        widths.append(interval.high - interval.low)
    assert high - low < 0.6 * np.hypot(*widths)


def test_a_run_against_itself_differs_by_nothing(tmp_path):
    table = synthetic_predictions(1.0, 1)
    result = compare.compare(evaluated(tmp_path / "a", table), evaluated(tmp_path / "b", table), "test")
    for entry in result["metrics"].values():
        assert entry["difference"] == 0 and entry["interval"] == [0, 0] and entry["b_better"] == 0.5


def test_only_common_images_are_compared_in_any_order(tmp_path):
    a, b = synthetic_predictions(1.0, 1), synthetic_predictions(1.6, 2)
    rows = np.random.default_rng(0).permutation(300)[:200]
    columns = {field.name: getattr(b, field.name) for field in dataclasses.fields(b)}
    fewer = dataclasses.replace(b, **{name: values[rows] for name, values in columns.items() if values is not None})
    result = compare.compare(evaluated(tmp_path / "a", a), evaluated(tmp_path / "b", fewer), "test")
    assert result["images"] == 200 and result["left_out"] == 100
    chosen = np.sort(rows)
    assert result["metrics"]["auc"]["a"] == pytest.approx(roc_auc_score(a.labels[chosen], a.probabilities[chosen, 1]))


def test_multilabel_runs(tmp_path):
    task = tasks.diseases(("glaucoma", "DR"))
    base = synthetic_predictions(1.0, 1)
    labels = np.stack([base.labels, np.where(np.arange(300) % 3, base.labels[::-1], -1)], axis=1)
    table = dataclasses.replace(base, labels=labels, probabilities=base.probabilities[:, ::-1])
    result = compare.compare(evaluated(tmp_path / "a", table, task), evaluated(tmp_path / "b", table, task), "test")
    assert result["metrics"]["auc"]["difference"] == 0 and "qwk" not in result["metrics"]


def test_a_disease_without_a_case_does_not_take_the_others_along(tmp_path):
    """Of three diseases one is absent from the common images, and one so rare that a third of the draws lack it."""
    task = tasks.diseases(("glaucoma", "DR", "myopia"))
    a, b = synthetic_predictions(1.0, 1), synthetic_predictions(1.6, 2)
    labels = np.stack([a.labels, np.zeros(300, int), np.arange(300) == 40], axis=1).astype(int)
    tables = [
        dataclasses.replace(table, labels=labels, probabilities=np.stack([table.probabilities[:, 1]] * 3, axis=1))
        for table in (a, b)
    ]
    runs = [evaluated(tmp_path / name, table, task) for name, table in zip("ab", tables, strict=True)]
    result = compare.compare(*runs, "test")
    auc = result["metrics"]["auc"]
    for side, table in zip("ab", (a, b), strict=True):
        each = [roc_auc_score(labels[:, index], table.probabilities[:, 1]) for index in (0, 2)]
        assert auc[side] == pytest.approx(np.mean(each), abs=1e-6)
    assert auc["draws"] == bootstrap.DRAWS and auc["interval"] is not None
    assert ["DR" in note and "myopia" not in note for note in result["notes"]] == [True]
    assert result["notes"][0] in compare.table(result)
    json.dumps(result, allow_nan=False)
    healthy = [dataclasses.replace(table, labels=np.zeros((300, 3), int)) for table in tables]
    runs = [evaluated(tmp_path / name, table, task) for name, table in zip("cd", healthy, strict=True)]
    none = compare.compare(*runs, "test")
    assert "auc" not in none["metrics"] and "glaucoma, DR, myopia" in none["notes"][0]


def test_an_absent_grade_is_named(tmp_path):
    base = synthetic_predictions(1.0, 1)
    spread = np.concatenate([base.probabilities * 0.9, np.full((300, 3), 0.1 / 3)], axis=1)
    table = dataclasses.replace(base, probabilities=spread)
    runs = [evaluated(tmp_path / name, table, tasks.dr_grade()) for name in "ab"]
    result = compare.compare(*runs, "test")
    assert "auc" in result["metrics"] and all(name in result["notes"][0] for name in tasks.dr_grade().class_names[2:])


def test_a_run_that_was_trained_elsewhere_is_named(tmp_path):
    table = synthetic_predictions(1.0, 1)
    own, other = evaluated(tmp_path / "a", table), evaluated(tmp_path / "b", table, trained=False)
    assert compare.compare(own, own, "test")["notes"] == []
    result = compare.compare(own, other, "test")
    (note,) = result["notes"]
    assert note.startswith("B was trained on other records than idrid") and note in compare.table(result)
    assert len(compare.compare(other, other, "test")["notes"]) == 2


def test_what_cannot_be_compared_is_refused(tmp_path):
    table = synthetic_predictions(1.0, 1)
    run = evaluated(tmp_path / "a", table)
    with pytest.raises(metadata.ManifestError):
        compare.compare(run, tmp_path / "nothing", "test")
    other = evaluated(tmp_path / "b", table, tasks.any_dr())
    with pytest.raises(ValueError, match="answers"):
        compare.compare(run, other, "test")
    with pytest.raises(ValueError, match="judged on idrid, test split, .* on aptos, test split"):
        compare.compare(run, evaluated(tmp_path / "other", table, dataset="aptos"), "test")
    renamed = dataclasses.replace(table, ids=np.char.add("x", table.ids))
    with pytest.raises(ValueError, match="no image"):
        compare.compare(run, evaluated(tmp_path / "c", renamed), "test")
    relabelled = dataclasses.replace(table, labels=1 - table.labels)
    with pytest.raises(ValueError, match="300 images have another label"):
        compare.compare(run, evaluated(tmp_path / "d", relabelled), "test")
