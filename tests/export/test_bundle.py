"""A bundle from end to end, and what stops it."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from dr_edge import metadata
from export import bundle, parity, settings, vectors
from export.formats import FORMATS, parse_formats
from export.settings import Settings

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


def test_a_changed_file_is_refused(exported, tmp_path):
    out, _ = exported
    copy = shutil.copytree(out, tmp_path / "copy")
    file = copy / "model.float32.tflite"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(metadata.ManifestError, match="model.float32.tflite"):
        metadata.check_files(copy, metadata.read_manifest(copy, "bundle")["files"])


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


def test_the_card_says_what_it_is_not(exported):
    card = (exported[0] / "MODEL_CARD.md").read_text()
    assert "Not a medical device" in card and "95 % interval" in card and "model.static_int8.tflite" in card


def test_vectors_can_be_repeated_with_an_artifact(exported):
    from export.runtime import open_artifact

    out, _ = exported
    listed = json.loads((out / vectors.DIRECTORY / "vectors.json").read_text())
    run = open_artifact(out / "model.float32.tflite")
    assert len(listed["vectors"]) == 3
    for row in listed["vectors"]:
        given = np.load(out / vectors.DIRECTORY / row["input"])
        assert given.shape == (1, 96, 96, 3) and given.dtype == np.uint8
        for name, value in run(given).items():
            expected = np.load(out / vectors.DIRECTORY / row["outputs"][name])
            np.testing.assert_allclose(value, expected, atol=listed["tolerances"][name])


def test_the_crop_of_a_vector_is_that_of_its_box(exported):
    import cv2

    from dr_edge.fundus.crop import crop_square
    from dr_edge.fundus.fov import FieldOfView

    directory = exported[0] / vectors.DIRECTORY
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


def test_a_threshold_makes_the_export_fail_and_leaves_nothing(run_dir, tmp_path):
    strict = Settings(max_probability_difference={"dynamic_int8": 0.0})
    with pytest.raises(bundle.ParityFailure, match="dynamic_int8") as caught:
        bundle.export_run(run_dir, tmp_path / "out", ["dynamic_int8"], settings=strict)
    assert "model.dynamic_int8.tflite" in caught.value.report["artifacts"]
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


def test_nan_fails():
    outputs = {"probabilities": np.array([[0.5, 0.5], [np.nan, 0.5]], np.float32)}
    with pytest.raises(FloatingPointError, match="1 of 2 images .first: number 1"):
        parity.check_finite(outputs, "model.static_int8.tflite")


def test_a_row_without_a_value_cannot_pass_a_threshold():
    fmt = FORMATS["static_int8"]
    row = {"drop": {"auc": float("nan")}, "max_probability_difference": float("nan")}
    report = {"artifacts": {fmt.file: row}, "split": "test", "images": 10}
    strict = Settings(max_auc_drop={fmt.name: 0.01}, max_probability_difference={fmt.name: 0.1})
    assert len(settings.failures(report, [fmt], strict)) == 2


@pytest.mark.parametrize(
    ("drop", "said"),
    [
        ({"auc": 0.011}, "AUC falls by 0.0110"),
        ({"auc": None}, "AUC is undefined on the 10 images"),
        ({"dice optic_cup": 0.02, "dice optic_disc": 0.0}, "Dice optic_cup falls by 0.0200"),
        ({"dice optic_cup": None}, "Dice optic_cup is undefined"),
        ({"auc": 0.01, "accuracy": 0.5, "qwk": None}, None),
    ],
)
def test_a_drop_beyond_the_threshold_or_without_a_value_fails(drop, said):
    fmt = FORMATS["static_int8"]
    row = {"drop": drop, "max_probability_difference": 0.3}
    found = settings.failures({"artifacts": {fmt.file: row}, "split": "test", "images": 10}, [fmt], Settings())
    assert len(found) == (said is not None) and (said is None or said in found[0])


@pytest.mark.parametrize(
    "wrong", [{"max_auc_drop": {"int4": 0.1}}, {"calibration_images": 0}, {"max_probability_difference": {"x": 1}}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=r"Unknown formats|calibration_images"):
        Settings(**wrong)


def test_an_unknown_operating_point_is_named(run_dir, tmp_path):
    with pytest.raises(ValueError, match="operating_point = 'best'. Known: youden"):
        bundle.export_run(run_dir, tmp_path / "out", ["float32"], settings=Settings(operating_point="best"))


def test_a_triton_model_that_answers_otherwise_stops_the_export(run_dir, tmp_path, monkeypatch):
    honest = bundle._build
    shifted = lambda run, fit, target: honest(run, dataclasses.replace(fit, temperature=3 * fit.temperature), target)  # noqa: E731
    monkeypatch.setattr(bundle, "_build", lambda run, fit, target: (honest if target.batch else shifted)(run, fit, target))
    with pytest.raises(bundle.ParityFailure, match="triton: in a batch of 8"):
        bundle.export_run(run_dir, tmp_path / "out", ["onnx_float32"], settings=LOOSE)
    assert not (tmp_path / "out").exists()


def test_an_undefined_auc_fails_float32_too():
    fmt = FORMATS["float32"]
    row = {"drop": {"auc": None}, "max_probability_difference": 0.0}
    (said,) = settings.failures({"artifacts": {fmt.file: row}, "split": "test", "images": 3}, [fmt], Settings())
    assert "AUC is undefined" in said
