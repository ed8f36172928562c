"""What is fitted to a run is stored beside it and used again."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from dr_edge import fitted, fitting, metadata, trained


@pytest.fixture
def own_run(stand_in_run, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(stand_in_run, directory)
    shutil.rmtree(directory / fitted.DIRECTORY, ignore_errors=True)
    return trained.load_run(directory)


def test_a_stored_fit_is_the_fit(own_run, monkeypatch):
    first = fitted.fit_of(own_run, own_run.records)
    monkeypatch.setattr(fitting, "fit", None)  # calling it again would fail
    second = fitted.fit_of(own_run, own_run.records)
    np.testing.assert_array_equal(second.features.whitening, first.features.whitening)
    np.testing.assert_array_equal(second.features.means, first.features.means)
    for one, other in zip(dataclasses.astuple(first)[0:2], dataclasses.astuple(second)[0:2], strict=True):
        assert json.loads(json.dumps(one)) == other
    assert second.ood == first.ood and second.operating_points == first.operating_points


def test_another_model_or_a_changed_file_is_noticed(own_run):
    before = fitted.fit_of(own_run, own_run.records)
    path = own_run.directory / fitted.DIRECTORY / fitted.FEATURES_FILE
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(metadata.ManifestError, match="differs"):
        fitted.fit_of(own_run, own_run.records)
    path.write_bytes(content)
    model = own_run.directory / trained.MODEL_FILE
    for layer in own_run.model.layers:
        layer.set_weights([value * 1.5 for value in layer.get_weights()])
    own_run.model.save(model)
    after = fitted.fit_of(own_run, own_run.records)
    assert after.temperature != before.temperature
    assert metadata.read_manifest(path.parent, "reliability")["model_sha256"] == metadata.sha256_file(model)
