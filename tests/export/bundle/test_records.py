"""Which records a bundle was made with, and what it says of them."""

from __future__ import annotations

import shutil

import pytest

from dr_edge import metadata, runs
from dr_edge.calibration import fit as fit_lib
from dr_edge.calibration import store
from dr_edge.data.known_patients import NOT_KNOWN
from export.bundle import manifest, write
from export.bundle.model_card import model_card


@pytest.mark.slow  # qat_int8, too
def test_other_records_are_for_ranges_and_parity_alone(exported, elsewhere, loose, tmp_path, monkeypatch):
    copy, other = elsewhere
    monkeypatch.setattr(fit_lib, "fit", None)  # fitting anew would fail
    report = write.export_run(copy, tmp_path / "out", ["float32", "static_int8", "qat_int8"], other, loose)
    own, content = (metadata.read_manifest(directory, "bundle") for directory in (exported[0], tmp_path / "out"))
    for part in ("calibration", "operating_points", "ood"):
        assert content[part] == own[part]
    assert content["parity"]["images"] == 24 and report["calibration_images"] == 8
    assert {name: content["training"][name] for name in ("dataset", "splits", "classes")} == {
        "dataset": "drawn", "splits": {"train": 24}, "classes": {},
    }  # fmt: skip
    used = {"dataset": "hospital", "trained_on": False}
    assert content["records"] == {"fit": {"dataset": "drawn", "trained_on": True}, "int8_ranges": used, "parity": used}
    assert "is not there" in report["not_made"]["qat_int8"]  # other photographs would make it another model
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "Trained on the data set: drawn." in card and "Trained on 24 photographs. How many" in card
    assert "test split of hospital, other records" in card and "measured on training photographs of hospital" in card


def test_with_its_records_at_hand_the_bundle_speaks_of_them(run_dir, elsewhere):
    run, other = runs.load_run(run_dir), elsewhere[1]
    basis = store.basis(run, other)
    assert basis.own and basis.records == run.records
    facts = manifest.training_facts(run, basis)
    assert facts["dataset"] == "drawn" and facts["splits"] == {"train": 24, "val": 12, "test": 16}
    used = manifest.records_used(run, basis, facts, other, calibrated=False)
    assert used["fit"] == {"dataset": "drawn", "trained_on": True}
    assert used["int8_ranges"] is None and used["parity"] == {"dataset": "hospital", "trained_on": False}


@pytest.mark.slow
def test_photographs_of_unknown_patients_are_not_counted_as_patients(run_dir, records, loose, tmp_path):
    strangers = shutil.copytree(records, tmp_path / "records")
    content = metadata.read_manifest(records, "dataset")
    metadata.write_manifest(strangers, "dataset", content | {"patients": f"{NOT_KNOWN}: the names tell none."})
    report = write.export_run(run_dir, tmp_path / "out", ["float32"], strangers, loose)
    assert report["patients"] is report["keras"]["patients"] is None and report["images"] == 16
    assert "16 photographs of unknown patients" in (tmp_path / "out" / "MODEL_CARD.md").read_text()


@pytest.mark.slow
def test_what_nobody_knows_of_the_training_is_called_unknown(exported, elsewhere, loose, tmp_path):
    copy = shutil.copytree(elsewhere[0], tmp_path / "run")
    shutil.rmtree(copy / store.DIRECTORY)
    stated = metadata.read_manifest(copy, "run")
    silent = {name: value for name, value in stated.items() if name not in ("dataset", "training_examples")}
    metadata.write_manifest(copy, "run", silent)
    run = runs.load_run(copy)
    basis = store.basis(run, elsewhere[1])
    facts = manifest.training_facts(run, basis)
    assert facts == {"dataset": manifest.UNKNOWN, "splits": {}, "classes": {}}
    used = manifest.records_used(run, basis, facts, elsewhere[1], calibrated=True)
    assert used["fit"] == used["parity"] == {"dataset": "hospital", "trained_on": False}
    text = model_card(run, basis.fit, exported[1] | {"records": used, "calibration_caution": None}, facts)
    assert "were fitted on the validation and training photographs of hospital" in text
    assert "How its patients were divided is not known here." in text
    assert "calibrated for hospital" in text and "data set: not known" in text and "\nHow many there were" in text
    next(elsewhere[1].glob("val-*")).rename(tmp_path / "val")
    try:
        with pytest.raises(ValueError, match="A bundle needs a temperature.*no validation split"):
            write.export_run(copy, tmp_path / "out", ["float32"], elsewhere[1], loose)
    finally:
        (tmp_path / "val").rename(elsewhere[1] / "val-00000-of-00001.tfrecord")
