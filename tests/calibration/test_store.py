"""What is fitted to a run is stored beside it and used again."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from dr_edge import metadata, runs
from dr_edge.calibration import fit as fit_lib
from dr_edge.calibration import statistics, store
from dr_edge.data import tasks
from dr_edge.models import unet


@pytest.fixture
def own_run(stand_in_run, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(stand_in_run, directory)
    shutil.rmtree(directory / store.DIRECTORY, ignore_errors=True)
    return runs.load_run(directory)


def test_a_stored_fit_is_the_fit(own_run, monkeypatch):
    first = store.fit_of(own_run, own_run.records)
    monkeypatch.setattr(fit_lib, "fit", None)  # calling it again would fail
    second = store.fit_of(own_run, own_run.records)
    np.testing.assert_array_equal(second.features.whitening, first.features.whitening)
    np.testing.assert_array_equal(second.features.means, first.features.means)
    for one, other in zip(dataclasses.astuple(first)[0:2], dataclasses.astuple(second)[0:2], strict=True):
        assert json.loads(json.dumps(one)) == other
    assert second.ood == first.ood and second.operating_points == first.operating_points


def gone(run):
    """The same run, copied to where its records are not."""
    return dataclasses.replace(run, records=str(run.directory / "gone"))


def test_what_is_stored_holds_where_the_records_are_gone(own_run, hospital, monkeypatch):
    own = store.basis(own_run, own_run.records)
    assert own.own and own.records == own_run.records and own.fit.operating_points
    monkeypatch.setattr(fit_lib, "fit", None)
    found = store.basis(gone(own_run), hospital)
    assert found.own and found.records is None and found.reason == ""
    assert found.fit.temperature == own.fit.temperature and found.fit.ood == own.fit.ood
    assert found.fit.operating_points == own.fit.operating_points
    assert not store.is_trained_on(gone(own_run), hospital)
    for path in hospital.glob("val-*"):
        path.unlink()
    assert store.basis(gone(own_run), hospital).fit.temperature == own.fit.temperature


def test_own_records_are_known_where_they_were_moved_to(own_run, stand_in_records, tmp_path):
    store.fit_of(own_run, own_run.records)
    moved = shutil.copytree(stand_in_records, tmp_path / "moved")
    found = store.basis(gone(own_run), moved)
    assert found.own and found.records == str(moved) and store.is_trained_on(gone(own_run), moved)


def test_nothing_stored_is_fitted_on_what_is_given_and_said(own_run, hospital, caplog):
    found = store.basis(gone(own_run), hospital)
    assert not found.own and found.records == str(hospital)
    assert not (own_run.directory / store.DIRECTORY).exists()
    assert any("which it was not trained on" in record.getMessage() for record in caplog.records)
    assert found.fit.temperature != store.basis(own_run, own_run.records).fit.temperature
    for path in hospital.glob("val-*"):
        path.unlink()
    shutil.rmtree(own_run.directory / store.DIRECTORY)
    nothing = store.basis(gone(own_run), hospital)
    assert nothing.fit is None and "no validation split" in nothing.reason


def test_records_of_another_data_set_at_the_runs_place_are_not_its_own(own_run, hospital):
    trained = dataclasses.replace(own_run, content={**own_run.content, "dataset": "stand_in"})
    assert store.has_own_records(trained)
    other = dataclasses.replace(trained, records=str(hospital))
    assert not store.has_own_records(other) and not store.basis(other, hospital).own
    assert not (own_run.directory / store.DIRECTORY).exists()


def test_records_built_anew_are_not_the_runs_own(own_run, tmp_path):
    """With other splits, of the same data set, at the same place; and moved ones are known though nothing is stored."""
    records = shutil.copytree(own_run.records, tmp_path / "records")
    digest = metadata.sha256_file(metadata.manifest_path(records, "dataset"))
    moved = shutil.copytree(records, tmp_path / "moved")
    trained = dataclasses.replace(own_run, records=str(records), content={**own_run.content, "dataset_sha256": digest})
    assert store.has_own_records(trained) and store.is_trained_on(trained, moved)
    content = metadata.read_manifest(records, "dataset")
    metadata.write_manifest(records, "dataset", content | {"rejected": content.get("rejected", 0) + 1})
    assert not store.has_own_records(trained) and not store.is_trained_on(trained, records)
    assert store.is_trained_on(trained, moved) and store.basis(trained, moved).own


@pytest.mark.parametrize("other", [{"image_size": 96}, {"preprocess": {"method": "graham"}}])
def test_records_that_the_model_does_not_take_are_not_an_older_runs_own(own_run, stand_in_records, tmp_path, other):
    """Such a run states no digest of its records: built anew at another size, they broke its model."""
    records = shutil.copytree(own_run.records, tmp_path / "records")
    run = dataclasses.replace(own_run, records=str(records))
    assert store.has_own_records(run)
    content = metadata.read_manifest(records, "dataset")
    metadata.write_manifest(records, "dataset", content | other)
    assert not store.has_own_records(run) and not store.is_trained_on(run, records)
    found = store.basis(run, stand_in_records)
    assert not found.own and found.records == str(stand_in_records) and found.fit.operating_points


def test_another_model_or_a_changed_file_is_noticed(own_run):
    before = store.fit_of(own_run, own_run.records)
    path = own_run.directory / store.DIRECTORY / store.FEATURES_FILE
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(metadata.ManifestError, match="differs"):
        store.fit_of(own_run, own_run.records)
    path.write_bytes(content)
    model = own_run.directory / runs.MODEL_FILE
    for layer in own_run.model.layers:
        layer.set_weights([value * 1.5 for value in layer.get_weights()])
    own_run.model.save(model)
    after = store.fit_of(own_run, own_run.records)
    assert after.temperature != before.temperature
    assert metadata.read_manifest(path.parent, "reliability")["model_sha256"] == metadata.sha256_file(model)


def test_features_that_do_not_vary_give_no_distance(own_run):
    """As the bottleneck of a UNet that its training has switched off."""
    rng = np.random.default_rng(0)

    def predict(images):
        return images.mean(axis=(1, 2))[:, :2] / 255, 1.0 + 1e-5 * rng.normal(size=(len(images), 6))

    fit = fit_lib.fit(own_run, own_run.records, predict=predict)
    assert fit.features is None and "nearly the same features" in fit.ood["reason"] and fit.temperature > 0
    dead = fit_lib.fit(
        own_run, own_run.records, predict=lambda images: (predict(images)[0], np.zeros((len(images), 6)))
    )
    assert dead.features is None and "nearly the same features" in dead.ood["reason"]


def test_masks_get_a_distance_from_what_the_bottleneck_sees(write_run, stand_in_records, tmp_path):
    masked = tasks.Task("hard_exudates", "segmentation", ("hard exudates",), masks=("hard_exudates",))
    model = unet.unet(64, 1, encoder=lambda x: unet.plain_encoder(x, depth=2, width=4))
    run = runs.load_run(write_run(tmp_path / "masks", masked, model))
    fit = store.fit_of(run, stand_in_records)
    assert fit.features.means.shape == (1, model.get_layer("penultimate").output.shape[-1])
    assert fit.temperature == 1.0 and fit.ood["threshold"] > 0 and fit.ood["images"] > 10
    black = fit_lib.predictor(run)(np.zeros((1, 64, 64, 3), np.float32))[1]
    assert statistics.mahalanobis_distance(black, fit.features)[0] > fit.ood["threshold"]
