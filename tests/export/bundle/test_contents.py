"""What a bundle holds: artifacts, parity report, model card, test vectors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from dr_edge import metadata, runs
from dr_edge.calibration import store
from dr_edge.fundus.quality import DEFAULT_MIN_QUALITY
from dr_edge.fundus.quality_layer import NAMES
from export.bundle import test_vectors
from export.bundle.model_card import model_card
from export.tflite.static_int8 import float_nodes


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
    assert [output["name"] for output in content["outputs"]] == ["probabilities", "heatmap", "ood_distance", "quality"]
    assert content["quality"] == {"minimum": DEFAULT_MIN_QUALITY, "names": list(NAMES)}
    assert content["outputs"][-1]["shape"] == [1, len(NAMES)]
    assert (out / "labels.txt").read_text().splitlines() == ["non-referable", "referable"]
    assert content["ood"]["threshold"] > 0 and content["calibration"]["temperature"] > 0
    assert content["artifacts"]["static_int8.tflite"]["minimum_runtime"].startswith("TensorFlow Lite ")
    standing = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert standing == set(content["files"]) | {"metadata.json", "bundle.sha256"}
    metadata.check_files(out, content["files"])


@pytest.mark.parametrize("reader", ["prediction", "android_bench"])
def test_a_changed_byte_is_refused_by_those_who_load_it(exported, tmp_path, reader):
    import android_bench.bundle
    from dr_edge.prediction.bundle import open_bundle

    read = {"prediction": lambda path: open_bundle(path, "float32"), "android_bench": android_bench.bundle.read_bundle}[
        reader
    ]
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
        assert row["max_quality_difference"] <= 1e-4, name  # also in 8 bits: it stays in floating point
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


def test_the_table_says_which_figure_is_which(exported):
    """evaluate, Keras before the export and the exported graph have three AUCs of the same photographs."""
    code = "import sys, export.__main__ as command; from dr_edge import metadata; "  # its flags are the process's own
    code += "print(command.summary(metadata.read_manifest(sys.argv[1], 'parity')))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(exported[0])], capture_output=True, text=True, timeout=120, check=True
    )
    stored, last = metadata.read_manifest(exported[0], "parity"), done.stdout.splitlines()[-1]
    assert last.startswith(
        "All on 16 test photographs. Keras before the export, on the normalised images that evaluate reads"
    )
    assert last.endswith(f": AUC {stored['keras']['auc']:.4f} and {stored['graph']['auc']:.4f}.")


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
    assert "## Stability\n\n- Not measured: what its answers do" in card  # nobody has evaluated the run


def test_the_card_says_where_probabilities_are_not_usable(exported, run_dir):
    stored, content = (metadata.read_manifest(exported[0], kind) for kind in ("parity", "bundle"))
    assert stored["calibration_caution"] == content["calibration"]["caution"]
    run = runs.load_run(run_dir)
    fit = store.fit_of(run, run.records)
    cards = [
        model_card(run, fit, stored | {"calibration_caution": said}, content["training"])
        for said in (None, "Not usable.")
    ]
    assert "`probabilities`: calibrated on" in cards[0] and "A probability is calibrated for" in cards[0]
    assert (
        cards[1].count("- **Not usable.**") == 2
        and "calibrated on" not in cards[1]
        and "is calibrated for" not in cards[1]
    )


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
    compared = next(
        row for row in stored["graph"]["operating_points"] if row["name"] == stored["operating_point"]["name"]
    )
    assert (
        compared["sensitivity"] == stored["graph"]["sensitivity"]
        and compared["specificity"] == stored["graph"]["specificity"]
    )


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
