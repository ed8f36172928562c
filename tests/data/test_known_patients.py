"""Cards and reports do not promise that patients are kept apart where nobody knows the patients."""

from __future__ import annotations

import json
import shutil

import pytest

from dr_edge import metadata
from dr_edge.data.known_patients import BY_PHOTOGRAPH, not_known, patients_sentence
from tfrecord_tools.eyes import group_eyes, patients_in_words


def content(said: str, examples: int, patients: int | None) -> dict:
    split = {"examples": examples} | ({} if patients is None else {"patients": patients})
    return {"patients": said, "splits": {"train": split, "val": split, "test": split}}


@pytest.mark.parametrize(
    ("said", "patients", "sentence"),
    [
        (patients_in_words(group_eyes(["a.png", "b.png"])), 8, BY_PHOTOGRAPH),
        (patients_in_words(group_eyes(["a.png", "b.png"]), table=True), 8, BY_PHOTOGRAPH),
        (patients_in_words(group_eyes(["1_left.png", "1_right.png"])), 4, "Patients do not cross splits."),
        ("Patients are those of the column who.", 8, "Patients do not cross splits."),
        ("", 4, "Patients do not cross splits."),
        ("", 8, "Each photograph counts as a patient of its own; whether two are of one person the data set does not say."),
        ("", None, "Patients do not cross splits."),
    ],
)
def test_what_the_records_say(said, patients, sentence):
    assert patients_sentence(content(said, 8, patients)) == sentence
    assert not_known(content(said, 8, patients)) == ([BY_PHOTOGRAPH] if sentence == BY_PHOTOGRAPH else [])


def test_records_of_an_earlier_release():
    assert patients_sentence({"splits": {"train": {"examples": 3, "patients": 2}}}) == "Patients do not cross splits."


def test_report_and_card_say_it(stand_in_run, tmp_path):
    """The card said "Patients do not cross splits" whatever the build had said."""
    from dr_edge import runs as trained
    from dr_edge.calibration import store as fitted
    from dr_edge.evaluation import request as common
    from export.bundle import manifest

    run = trained.load_run(stand_in_run)
    records = shutil.copytree(run.content["records"], tmp_path / "records")
    stated = json.loads((records / "dataset.json").read_text())
    stated["patients"] = patients_in_words(group_eyes(["a.png", "b.png"]))
    metadata.write_manifest(records, "dataset", stated)
    basis = fitted.basis(run, records)
    described = common.describe(run, str(records), common.Settings(), basis)
    assert BY_PHOTOGRAPH in described["notes"]
    own = fitted.basis(run, run.content["records"])
    assert manifest.training_facts(run, own)["patients"] != BY_PHOTOGRAPH
