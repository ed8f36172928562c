"""A bundle from end to end, and what stops it."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from dr_edge import metadata, runs
from dr_edge.calibration import fit as fit_lib
from dr_edge.calibration import store
from export import settings
from export.bundle import artifacts, manifest, test_vectors
from export.bundle import model_card as card
from export.bundle import write as bundle
from export.formats import FORMATS, parse_formats
from export.parity import measure
from export.settings import Settings
from export.tflite.static_int8 import float_nodes

LOOSE = Settings(calibration_images=8, max_auc_drop=dict.fromkeys(settings.MAX_AUC_DROP, 1.0))


@pytest.fixture(scope="module")
def exported(run_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundles") / "bundle"
    report = bundle.export_run(run_dir, out, ["float32", "static_int8", "onnx_float32"], settings=LOOSE)
    return out, report


def test_the_bundle_says_what_it_holds(exported):
    out, _ = exported
    content = metadata.read_manifest(out, "bundle")
    assert sorted(content["artifacts"]) == ["float32.onnx", "float32.tflite", "static_int8.tflite"]
    assert content["task"] == {
        "name": "referable_dr",
        "kind": "classification",
        "class_names": ["non-referable", "referable"],
        "positive_class": "referable",
        "negative_class": "non-referable",
        "positive_index": 1,
        "positive_indices": [1],
    }
    assert content["inputs"] == [
        {"name": "image", "shape": [1, 96, 96, 3], "dtype": "uint8", "unit": content["inputs"][0]["unit"]}
    ]
    assert [output["name"] for output in content["outputs"]] == ["probabilities", "heatmap", "ood_distance"]
    assert (out / "labels.txt").read_text().splitlines() == ["non-referable", "referable"]
    assert content["ood"]["threshold"] > 0 and content["calibration"]["temperature"] > 0
    assert content["artifacts"]["static_int8.tflite"]["minimum_runtime"].startswith("TensorFlow Lite ")
    standing = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert standing == set(content["files"]) | {"metadata.json"}
    metadata.check_files(out, content["files"])


@pytest.mark.parametrize("reader", ["prediction", "android_bench"])
def test_a_changed_byte_is_refused_by_those_who_load_it(exported, tmp_path, reader):
    import android_bench.bundle
    from dr_edge.prediction.bundle import open_bundle

    read = {"prediction": lambda path: open_bundle(path, "float32"), "android_bench": android_bench.bundle.read_bundle}[reader]
    copy = shutil.copytree(exported[0], tmp_path / "copy")
    assert read(copy)
    file = copy / "model.float32.tflite"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(metadata.ManifestError, match=r"model\.float32\.tflite.*sha256"):
        read(copy)


def test_parity_compares_each_artifact_with_keras(exported):
    out, report = exported
    stored = metadata.read_manifest(out, "parity")
    assert stored["images"] == 16 and stored["patients"] == 16 and stored["split"] == "test"
    for name, row in stored["artifacts"].items():
        assert row["bytes"] == (out / name).stat().st_size
        assert row["latency_ms"]["median"] > 0
        assert row["drop"]["auc"] == pytest.approx(stored["graph"]["auc"] - row["auc"])
        low, high = row["drop_interval"]["auc"]
        assert low <= row["drop"]["auc"] + 1e-9 and row["drop"]["auc"] - 1e-9 <= high
        assert set(row["drop"]) == {"accuracy", "auc", "qwk", "sensitivity", "specificity"}
    for name in ("model.float32.tflite", "model.float32.onnx"):
        assert stored["artifacts"][name]["max_probability_difference"] <= 1e-4
        assert stored["artifacts"][name]["agreement"] == 1.0
        assert stored["artifacts"][name]["heatmap_correlation"]["p5"] > 0.99
    assert stored["artifacts"]["model.static_int8.tflite"]["xnnpack"]["partitions"] == 1
    # The records of this test hold the photographs without loss.
    assert stored["graph"]["max_difference"] < 0.02
    assert stored["layer_errors"][0]["snr_db"] <= stored["layer_errors"][-1]["snr_db"]
    assert report["artifacts"].keys() == stored["artifacts"].keys()


def test_the_page_shows_every_artifact_and_refers_to_nothing_outside(exported):
    page = (exported[0] / "parity.html").read_text()
    for variant in ("float32.tflite", "static_int8.tflite", "float32.onnx"):
        assert variant in page
    assert "Where 8 bits hurt" in page and "Photograph by photograph" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


def test_only_layers_that_can_stay_in_floating_point_are_suggested(exported):
    from export.tflite.static_int8 import layer_of

    stored = metadata.read_manifest(exported[0], "parity")
    suggested, lossy = stored["float_candidates"], [row["layer"] for row in stored["layer_errors"]]
    # The means of the attention block are operations of no layer.
    assert "Mean" in lossy and "Mean" not in suggested and "" not in suggested
    assert suggested == [name for name in dict.fromkeys(lossy) if name in suggested] and len(suggested) > 20
    page = (exported[0] / "parity.html").read_text()
    assert f"export.settings.float_layers = [&#39;{suggested[0]}&#39;]" in page.replace("'", "&#39;")
    names = [row["operation"] for row in stored["layer_errors"]]
    assert set(suggested) <= {layer_of(name) for name in names if float_nodes([name], (), (), [layer_of(name)])}


def test_the_card_says_what_it_is_not(exported):
    card = (exported[0] / "MODEL_CARD.md").read_text()
    assert f"data set: drawn. {metadata.read_manifest(exported[0], 'bundle')['training']['patients']}" in card
    assert "Not a medical device" in card and "95 % interval" in card and "model.static_int8.tflite" in card


def test_the_card_says_where_probabilities_are_not_usable(exported, run_dir):
    stored, content = (metadata.read_manifest(exported[0], kind) for kind in ("parity", "bundle"))
    assert stored["calibration_caution"] == content["calibration"]["caution"]
    run = runs.load_run(run_dir)
    fit = store.fit_of(run, run.records)
    cards = [card.model_card(run, fit, stored | {"calibration_caution": said}, content["training"]) for said in (None, "Not usable.")]
    assert "`probabilities`: calibrated on" in cards[0] and "A probability is calibrated for" in cards[0]
    assert cards[1].count("- **Not usable.**") == 2 and "calibrated on" not in cards[1] and "is calibrated for" not in cards[1]


def test_the_card_holds_the_classes_of_each_split(exported):
    content = metadata.read_manifest(exported[0], "bundle")
    assert content["training"]["classes"] == {
        "train": {"non-referable": 12, "referable": 12},
        "val": {"non-referable": 6, "referable": 6},
        "test": {"non-referable": 8, "referable": 8},
    }
    card = (exported[0] / "MODEL_CARD.md").read_text()
    assert "| split | photographs | non-referable | referable |\n|---|---|---|---|\n| train | 24 | 12 | 12 |" in card


def test_every_operating_point_is_measured_on_the_test_split(exported):
    stored, content = (metadata.read_manifest(exported[0], kind) for kind in ("parity", "bundle"))
    card = (exported[0] / "MODEL_CARD.md").read_text()
    names = [point["name"] for point in content["operating_points"]]
    for side in ("keras", "graph"):
        rows = {row["name"]: row for row in stored[side]["operating_points"]}
        assert list(rows) == names and all(f"| {name} | " in card for name in names)
        for row in rows.values():
            for key in ("sensitivity", "specificity"):
                low, high = row[f"{key}_interval"]
                assert 0 <= low <= row[key] <= high <= 1
    compared = next(row for row in stored["graph"]["operating_points"] if row["name"] == stored["operating_point"]["name"])
    assert compared["sensitivity"] == stored["graph"]["sensitivity"] and compared["specificity"] == stored["graph"]["specificity"]


def test_vectors_can_be_repeated_with_an_artifact(exported):
    from export.parity.runtime import open_artifact

    out, _ = exported
    listed = json.loads((out / test_vectors.DIRECTORY / "vectors.json").read_text())
    run = open_artifact(out / "model.float32.tflite")
    assert len(listed["vectors"]) == 3
    for row in listed["vectors"]:
        given = np.load(out / test_vectors.DIRECTORY / row["input"])
        assert given.shape == (1, 96, 96, 3) and given.dtype == np.uint8
        for name, value in run(given).items():
            expected = np.load(out / test_vectors.DIRECTORY / row["outputs"][name])
            np.testing.assert_allclose(value, expected, atol=listed["tolerances"][name])


def test_the_crop_of_a_vector_is_that_of_its_box(exported):
    import cv2

    from dr_edge.fundus.crop import FieldOfView, crop_square

    directory = exported[0] / test_vectors.DIRECTORY
    for row in json.loads((directory / "vectors.json").read_text())["vectors"]:
        photograph = cv2.cvtColor(cv2.imread(str(directory / row["photograph"])), cv2.COLOR_BGR2RGB)
        top, left, bottom, right = row["crop_box"]
        fov = FieldOfView((left + right - 1) / 2, (top + bottom - 1) / 2, (bottom - top) / 2)
        np.testing.assert_allclose(fov.box, row["crop_box"], atol=1e-3)
        difference = np.abs(crop_square(photograph, fov, 96).astype(int) - np.load(directory / row["input"])[0])
        assert difference.mean() < 0.5


def test_triton_gets_a_model_of_any_batch(exported):
    import onnx

    content = (exported[0] / "triton" / "dr_edge_onnx" / "1" / "model.onnx").read_bytes()
    (given,) = onnx.load_from_string(content).graph.input
    assert not given.type.tensor_type.shape.dim[0].dim_value


@pytest.fixture(scope="module")
def elsewhere(run_dir, records, tmp_path_factory):
    """A run, copied with what is fitted to it to where its records are not; and other records: the splits change places."""
    directory = tmp_path_factory.mktemp("elsewhere")
    run = runs.load_run(run_dir)
    store.basis(run, run.records)  # stores it
    copy = shutil.copytree(run_dir, directory / "run")
    stated = {"records": str(directory / "gone"), "dataset": "drawn", "training_examples": 24}
    metadata.write_manifest(copy, "run", metadata.read_manifest(copy, "run") | stated)
    other = shutil.copytree(records, directory / "other")
    content = metadata.read_manifest(records, "dataset")
    splits = {}
    for split, source in {"train": "val", "val": "test", "test": "train"}.items():
        shutil.copy(next(records.glob(f"{source}-*")), next(other.glob(f"{split}-*")))
        splits[split] = content["splits"][source]
    metadata.write_manifest(other, "dataset", content | {"dataset": "hospital", "splits": splits})
    return copy, other


def test_other_records_are_for_ranges_and_parity_alone(exported, elsewhere, tmp_path, monkeypatch):
    copy, other = elsewhere
    monkeypatch.setattr(fit_lib, "fit", None)  # fitting anew would fail
    report = bundle.export_run(copy, tmp_path / "out", ["float32", "static_int8", "qat_int8"], other, LOOSE)
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


def test_what_nobody_knows_of_the_training_is_called_unknown(exported, elsewhere, tmp_path):
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
    text = card.model_card(run, basis.fit, exported[1] | {"records": used, "calibration_caution": None}, facts)
    assert "were fitted on the validation and training photographs of hospital" in text
    assert "How its patients were divided is not known here." in text
    assert "calibrated for hospital" in text and "data set: not known" in text and "\nHow many there were" in text
    next(elsewhere[1].glob("val-*")).rename(tmp_path / "val")
    try:
        with pytest.raises(ValueError, match="A bundle needs a temperature.*no validation split"):
            bundle.export_run(copy, tmp_path / "out", ["float32"], elsewhere[1], LOOSE)
    finally:
        (tmp_path / "val").rename(elsewhere[1] / "val-00000-of-00001.tfrecord")


def test_a_wrong_graph_and_a_passed_limit_stop_the_export_and_leave_nothing(run_dir, tmp_path, monkeypatch):
    from export.graph import deployable as graph

    honest = graph.prepare
    monkeypatch.setattr(graph, "prepare", lambda *args: 128.0 + 0.0 * honest(*args))  # every photograph comes out grey
    # Weights that nobody trained do no better than grey: let the network's own row say what a trained one would.
    rows = measure.reference_rows

    def trained(*args):
        made = rows(*args)
        made["graph"]["drop"]["auc"] = 1.0 - made["graph"]["auc"]
        return made

    monkeypatch.setattr(measure, "reference_rows", trained)
    strict = Settings(max_probability_difference={"dynamic_int8": 0.0})
    with pytest.raises(bundle.ParityFailure, match="the deployable graph: the AUC falls by.*; dynamic_int8: a prob") as caught:
        bundle.export_run(run_dir, tmp_path / "out", ["float32", "dynamic_int8"], settings=strict)
    assert caught.value.report["graph"]["auc"] == 0.5
    assert caught.value.report["artifacts"]["model.float32.tflite"]["max_probability_difference"] < 1e-4
    assert "\n- Leave it out: --formats=float32" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_bundle_is_not_touched(exported, run_dir):
    out, _ = exported
    with pytest.raises(FileExistsError):
        bundle.export_run(run_dir, out, ["float32"], settings=LOOSE)
    assert metadata.read_manifest(out, "bundle")


def test_an_unfinished_run_is_refused(run_dir, tmp_path):
    copy = shutil.copytree(run_dir, tmp_path / "run")
    content = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**content, "status": "running"}))
    with pytest.raises(metadata.ManifestError, match="not 'finished'"):
        bundle.export_run(copy, tmp_path / "out", ["float32"])
    (copy / "run.json").write_text(json.dumps({**content, "preprocess": {"method": "graham", "disc": 0.5}}))
    with pytest.raises(ValueError, match="Build the records again"):
        bundle.export_run(copy, tmp_path / "out", ["float32"])
    with pytest.raises(metadata.ManifestError, match="dataset.json"):
        (copy / "run.json").write_text(json.dumps(content))
        bundle.export_run(copy, tmp_path / "out", ["float32"], records=tmp_path)


def test_formats_are_checked():
    assert [fmt.name for fmt in parse_formats([])] == [name for name, fmt in FORMATS.items() if fmt.default]
    assert [fmt.name for fmt in parse_formats(["onnx_float32", " float32"])] == ["float32", "onnx_float32"]
    with pytest.raises(ValueError, match="int4.*Known: float32"):
        parse_formats(["int4"])


def test_keras_multiplies_in_whole_float32_while_a_bundle_is_made(run_dir, tmp_path, monkeypatch):
    """A GPU's TensorFloat-32 would put 1e-3 between Keras and a float32 artifact, of which 1e-4 are permitted."""
    import tensorflow as tf

    asked = tf.config.experimental.tensor_float_32_execution_enabled
    allowed = []

    def stop(*given):
        allowed.append(asked())
        raise FloatingPointError("enough was seen")

    monkeypatch.setattr(measure, "reference", stop)
    assert asked()
    with pytest.raises(FloatingPointError, match="enough"):
        bundle.export_run(run_dir, tmp_path / "out", ["float32"])
    assert asked() and allowed == [False]


def test_nan_fails():
    outputs = {"probabilities": np.array([[0.5, 0.5], [np.nan, 0.5]], np.float32)}
    with pytest.raises(FloatingPointError, match="1 of 2 images .first: number 1"):
        measure.check_finite(outputs, "model.static_int8.tflite")


def test_an_unknown_operating_point_is_named(run_dir, tmp_path):
    with pytest.raises(ValueError, match="operating_point = 'best'. Known: youden"):
        bundle.export_run(run_dir, tmp_path / "out", ["float32"], settings=Settings(operating_point="best"))


def test_a_triton_model_that_answers_otherwise_stops_the_export(run_dir, tmp_path, monkeypatch):
    honest = artifacts._build
    shifted = lambda run, fit, target: honest(run, dataclasses.replace(fit, temperature=3 * fit.temperature), target)  # noqa: E731
    monkeypatch.setattr(artifacts, "_build", lambda run, fit, target: (honest if target.batch else shifted)(run, fit, target))
    with pytest.raises(bundle.ParityFailure, match="triton: in a batch of 8"):
        bundle.export_run(run_dir, tmp_path / "out", ["onnx_float32"], settings=LOOSE)
    assert not (tmp_path / "out").exists()
