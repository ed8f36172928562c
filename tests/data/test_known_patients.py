"""Cards and reports do not promise that patients are kept apart where nobody knows the patients."""

from __future__ import annotations

import json
import shutil

import pytest

from dr_edge import metadata
from dr_edge.data.known_patients import BY_PHOTOGRAPH, are_known, not_known, patients_sentence
from tfrecord_tools.own_data.eyes import group_eyes, patients_in_words


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
        (
            "",
            8,
            "Each photograph counts as a patient of its own; whether two are of one person the data set does not say.",
        ),
        ("", None, "Patients do not cross splits."),
    ],
)
def test_what_the_records_say(said, patients, sentence):
    assert patients_sentence(content(said, 8, patients)) == sentence
    assert not_known(content(said, 8, patients)) == ([BY_PHOTOGRAPH] if sentence == BY_PHOTOGRAPH else [])
    assert are_known(content(said, 8, patients)) == (sentence == "Patients do not cross splits.")


def test_records_of_an_earlier_release():
    assert patients_sentence({"splits": {"train": {"examples": 3, "patients": 2}}}) == "Patients do not cross splits."


def test_report_and_card_say_it(stand_in_run, tmp_path):
    """The card said "Patients do not cross splits" whatever the build had said."""
    from dr_edge import runs
    from dr_edge.calibration import store
    from dr_edge.evaluation import request
    from export.bundle import manifest

    run = runs.load_run(stand_in_run)
    records = shutil.copytree(run.content["records"], tmp_path / "records")
    stated = json.loads((records / "dataset.json").read_text())
    stated["patients"] = patients_in_words(group_eyes(["a.png", "b.png"]))
    metadata.write_manifest(records, "dataset", stated)
    basis = store.basis(run, records)
    described = request.describe(run, str(records), request.Settings(), basis)
    assert BY_PHOTOGRAPH in described["notes"] and described["patients_known"] is False
    own = store.basis(run, run.content["records"])
    assert manifest.training_facts(run, own)["patients"] != BY_PHOTOGRAPH


@pytest.mark.parametrize("known", [True, False])
def test_no_figure_counts_patients_that_nobody_knows(stand_in_run, tmp_path, known):
    """The verdict said "On 36 test images of 36 patients" of photographs whose patients nobody knew."""
    from dr_edge.evaluation import compare, flow, number_text

    run = shutil.copytree(stand_in_run, tmp_path / "run")
    shutil.rmtree(run / "evaluation", ignore_errors=True)
    records = json.loads(metadata.manifest_path(run, "run").read_text())["records"]
    if not known:
        records = shutil.copytree(records, tmp_path / "records")
        stated = json.loads((records / "dataset.json").read_text())
        stated["patients"] = patients_in_words(group_eyes(["a.png", "b.png"]))
        metadata.write_manifest(records, "dataset", stated)
    evaluated = flow.evaluate(
        run, flow.Settings(records=str(records), examples=1, heatmap_checks=False, stability=False)
    )
    page = (run / "evaluation" / "test" / flow.REPORT_FILE).read_text()
    number = "18" if known else "unknown"
    said = [
        evaluated["verdict"]["text"],
        *number_text.summary(evaluated),
        compare.table(compare.compare(run, run, "test", 20)),
        page,
    ]
    assert all(f"images of {number} patients" in text for text in (*said[:2], *said[-2:]))
    assert ("18 patients" in " ".join(said)) is known and ("36 patients" not in " ".join(said))
    assert ("bootstrap draws of whole patients" in page) is known and ("patients not known" in page) is not known
    assert evaluated["verdict"]["patients"] == evaluated["metrics"]["patients"] == (18 if known else None)
    assert {row["patients"] is not None for row in evaluated["subgroups"]} <= {known}


def test_the_texts_of_a_verdict_speak_of_images_where_patients_are_not_known():
    import numpy as np

    from dr_edge.data import tasks
    from dr_edge.evaluation import verdict

    labels, names = np.r_[np.ones(3, int), np.zeros(20, int)], np.arange(23).astype(str)
    scores = np.stack([1 - labels, labels], axis=1).astype(float)
    few = verdict.of_answers(tasks.referable_dr(), labels, scores, verdict.People(names, known=False), "test", True)
    assert "only 3 images with it" in few["text"] and "only 3 images with it" in few["caution"]
    assert few["text"].endswith("On 23 test images of unknown patients.") and few["parts"][0]["patients"] is None
