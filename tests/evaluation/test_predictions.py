"""The table of predictions: round trip, missing labels, and what it refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dr_edge import metadata
from dr_edge.calibration import fit as fit_lib
from dr_edge.calibration import store
from dr_edge.data import tasks
from dr_edge.evaluation import outliers, predictions
from dr_edge.runs import load_run


@pytest.fixture(scope="module")
def run(stand_in_run):
    return load_run(stand_in_run)


@pytest.fixture(scope="module")
def table(run):
    return predictions.predict_split(run, run.records, "test", 16)


def test_it_equals_the_model_image_by_image(run, table):
    from dr_edge.data import pipeline

    batch = next(iter(pipeline.evaluation_batches(run.records, "test", run.task, 36)))
    np.testing.assert_allclose(table.logits, run.model(batch["image"]).numpy(), atol=1e-4)
    np.testing.assert_array_equal(table.labels, batch["label"].numpy())
    assert table.ids.tolist() == [name.decode() for name in batch["id"].numpy()]
    assert table.probabilities.sum(axis=1) == pytest.approx(np.ones(36))
    assert table.features.shape == (36, 8)


def test_csv_round_trip(table, tmp_path):
    task = tasks.referable_dr()
    (tmp_path / "predictions.csv").write_text(predictions.to_csv(table, task))
    again = predictions.from_csv(tmp_path, task)
    for field in ("ids", "patients", "laterality", "labels", "source_size"):
        np.testing.assert_array_equal(getattr(table, field), getattr(again, field))
    np.testing.assert_allclose(again.probabilities, table.probabilities, atol=1e-8)
    margins = [np.clip(each.logits[:, 1] - each.logits[:, 0], -20, 20) for each in (again, table)]
    np.testing.assert_allclose(*margins, atol=1e-3)  # beyond that a probability is 1 to nine digits


def test_missing_diseases_stay_missing(table, tmp_path):
    task = tasks.diseases(("glaucoma", "DR"))
    labels = np.stack([table.labels, np.where(np.arange(36) % 2, -1, table.labels)], axis=1)
    (tmp_path / "predictions.csv").write_text(predictions.to_csv(dataclasses.replace(table, labels=labels), task))
    np.testing.assert_array_equal(predictions.from_csv(tmp_path, task).labels, labels)


def test_another_tasks_table_is_refused(table, tmp_path):
    with pytest.raises(metadata.ManifestError, match="Run python -m dr_edge.evaluate"):
        predictions.from_csv(tmp_path, tasks.referable_dr())
    (tmp_path / "predictions.csv").write_text(predictions.to_csv(table, tasks.referable_dr()))
    with pytest.raises(metadata.ManifestError, match="p_no DR"):
        predictions.from_csv(tmp_path, tasks.dr_grade())


def test_a_limit_spreads_over_the_split(run):
    some = predictions.predict_split(run, run.records, "test", 4, limit=12)
    assert len(some) == 12 and some.ids[4] == "test/eye_012"


def test_chosen_examples_are_read_with_their_masks(run):
    found = predictions.examples_by_id(run, run.records, "test", {"test/eye_001", "test/eye_004"}, ("hard_exudates",))
    assert sorted(found) == ["test/eye_001", "test/eye_004"]
    assert (
        found["test/eye_001"]["mask/hard_exudates"].sum() == 100
        and found["test/eye_004"]["mask/hard_exudates"].sum() == 0
    )
    assert found["test/eye_001"]["photograph"].dtype == np.uint8


def test_ood_images_are_counted(run, table):
    fit = store.Basis(fit_lib.fit(run, run.records), run.records, True)
    result, distances = outliers.check(fit, table.features)
    assert result["passed"] > 0.8 and distances.shape == (36,)
    assert result["chosen_on"] == 30 and result["few"]  # the stand-in has 30 validation images
    assert outliers.farthest(distances, 2) == np.argsort(-distances)[:2].tolist()
    assert outliers.check(fit, table.features + 100)[0]["passed"] == 0
    nothing = store.Basis(None, run.records, True, "there is no validation split")
    assert outliers.check(nothing, table.features) == ({"reason": "there is no validation split"}, None)
    assert outliers.farthest(None, 2) == []
