"""MODEL_CARD.md opens as the Hugging Face hub reads it, by the hub's own parser, and claims no licence."""

from __future__ import annotations

import huggingface_hub
import pytest
import yaml

from dr_edge import metadata, runs
from export import licences
from export.bundle import front_matter
from export.settings import Settings


def parsed(text: str) -> huggingface_hub.ModelCard:
    """Reads a card as the hub does; a model-index that it cannot read is a ValueError."""
    return huggingface_hub.ModelCard(text)


def test_the_hub_reads_the_card_of_a_bundle(exported):
    out, report = exported
    text = (out / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert text == (out / "README.md").read_text(encoding="utf-8") and text.startswith("---\n")
    card = parsed(text)
    assert (card.data.license, card.data.library_name, card.data.pipeline_tag) == (
        "unknown", "litert", "image-classification",
    )  # fmt: skip
    assert {"fundus", "referable-dr", "tflite", "onnx"} <= set(card.data.tags)
    results = {result.metric_name: result for result in card.data.eval_results}
    auc, row = results["AUC"], report["keras"]
    assert auc.metric_type == "roc_auc" and auc.metric_value == pytest.approx(row["auc"], abs=1e-4)
    assert auc.metric_args["interval_95"] == pytest.approx(row["auc_interval"], abs=1e-4)
    assert results["accuracy"].metric_value == pytest.approx(row["accuracy"], abs=1e-4)
    assert (auc.dataset_type, auc.dataset_name, auc.dataset_split) == ("drawn", "drawn", "test")
    assert auc.dataset_args == {"images": 16, "patients": 16} and auc.task_type == "image-classification"
    assert card.data.model_name.endswith(", referable_dr")


def test_the_verdict_stands_in_the_front_matter_and_right_after_it(exported):
    out, report = exported
    card = parsed((out / "MODEL_CARD.md").read_text(encoding="utf-8"))
    assert card.data.verdict == {key: report["verdict"][key] for key in ("status", "text")}
    assert report["verdict"]["text"] in card.text.split("## What it does")[0]


def test_the_terms_of_the_training_data_are_named(exported, run_dir):
    _, report = exported
    training = {
        "dataset": "idrid", "splits": {"train": 312}, "classes": {},
        "source": {"title": "IDRiD: \u201cretina\u201d", "address": "https://host/#x", "licence": "CC BY # s\n---"},
    }  # fmt: skip
    card = parsed(front_matter.front_matter(runs.load_run(run_dir), report, training, Settings()))
    assert card.data.training_data == {
        "name": "idrid", "title": "IDRiD: \u201cretina\u201d", "terms": "CC BY # s\n---",
        "address": "https://host/#x", "photographs": {"train": 312},
    }  # fmt: skip
    less = {"dataset": "not known: its records are gone", "splits": {}, "classes": {}}  # nothing is known
    card = parsed(front_matter.front_matter(runs.load_run(run_dir), report, less, Settings()))
    assert card.data.training_data == {"name": "not known: its records are gone"}


@pytest.mark.parametrize("dataset", ["Müller: 眼 #1", "no", "1.0", "[x]", "- a\n---\nlicense: mit", "眼", "y" * 300])
def test_no_name_breaks_out(exported, run_dir, dataset):
    _, report = exported
    report = report | {"records": report["records"] | {"parity": {"dataset": dataset, "trained_on": True}}}
    training = {"dataset": dataset, "splits": {}, "classes": {}}
    card = parsed(front_matter.front_matter(runs.load_run(run_dir), report, training, Settings()))
    assert card.data.eval_results[0].dataset_name == card.data.training_data["name"] == dataset
    assert card.data.license == "unknown" and card.data.eval_results[0].dataset_type


def test_masks_and_several_diseases_have_their_metrics_and_no_number_is_left_out(exported, run_dir):
    _, report = exported
    row = {
        "dice optic_disc": 0.96912, "dice optic_disc_interval": [0.95, 0.98], "dice optic_cup": None,
        "vcdr_accuracy": 0.95, "vcdr_accuracy_interval": [0.94, 0.97], "mean_auc": 0.8, "mean_f1": float("nan"),
    }  # fmt: skip
    run, facts = runs.load_run(run_dir), {"dataset": "d", "splits": {}, "classes": {}}
    card = parsed(front_matter.front_matter(run, report | {"keras": row, "patients": None}, facts, Settings()))
    found = {result.metric_type: result for result in card.data.eval_results}
    assert sorted(found) == ["dice", "mae", "roc_auc"] and found["dice"].metric_value == 0.9691
    assert found["mae"].metric_value == pytest.approx(0.05)
    assert found["mae"].metric_args["interval_95"] == pytest.approx([0.03, 0.06])
    assert found["dice"].dataset_args == {"images": 16}
    empty = front_matter.front_matter(run, report | {"keras": {"auc": None}}, facts, Settings())
    assert parsed(empty).data.eval_results is None and "model-index" not in empty


def test_a_licence_is_what_was_stated(exported, run_dir):
    _, report = exported
    run, facts = runs.load_run(run_dir), {"dataset": "d", "splits": {}, "classes": {}}
    unknown = front_matter.front_matter(run, report, facts, Settings())
    assert "# Nobody stated a licence" in unknown
    known = front_matter.front_matter(run, report, facts, Settings(license="CC-BY-NC-4.0"))
    assert parsed(known).data.license == "cc-by-nc-4.0" and "Nobody" not in known
    own = Settings(license="Clinic Licence 1.0", license_link="https://host/licence")
    data = parsed(front_matter.front_matter(run, report, facts, own)).data
    assert (data.license, data.license_name, data.license_link) == (
        "other", "clinic-licence-1.0", "https://host/licence",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "link", "message"),
    [
        ("apache", None, "Did you mean 'apache-2.0'"),
        ("cc-by-4", None, "Did you mean 'cc-by-4.0'"),
        ("our own", None, "needs its name there, and export.settings.license_link"),
        ("other", "https://host/x", "needs its name there"),
        ("our own", "http://host/x", "takes an https:// address"),
        ("our own", "COPYING", "takes an https:// address"),
        ("mit", "https://host/x", "mit is a known one"),
        ("", None, "takes a name"),
        (" ", None, "takes a name"),
        (None, None, "takes a name"),
    ],
)
def test_a_licence_that_says_nothing_is_refused(name, link, message):
    with pytest.raises(ValueError, match=message):
        Settings(license=name, license_link=link)


def test_every_known_licence_is_written_as_the_hub_writes_it():
    assert all(yaml.safe_load(f"license: {name}") == {"license": name} for name in licences.KNOWN)
    assert Settings().license == "unknown" and list(licences.KNOWN[1:]) == sorted(licences.KNOWN[1:])


def test_a_bundle_without_front_matter_is_still_read(exported, tmp_path):
    """An older one: its card is plain, and README.md is not there."""
    import json
    import shutil

    from dr_edge.prediction.bundle import open_bundle

    copy = shutil.copytree(exported[0], tmp_path / "old")
    (copy / "README.md").unlink()
    content = metadata.read_manifest(copy, "bundle")
    del content["files"]["README.md"], content["training"]["source"], content["digests"]
    (copy / "bundle.sha256").unlink()
    (copy / "metadata.json").write_text(json.dumps(content))
    (copy / "MODEL_CARD.md").write_text("# Model card\n")
    assert open_bundle(copy).artifact == "model.float32.tflite"
