"""What is opened is what was exported, and nothing else."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from dr_edge import metadata
from dr_edge.fundus.quality import DEFAULT_MIN_QUALITY
from dr_edge.prediction.bundle import open_bundle
from dr_edge.prediction.model import Model


def test_the_default_artifact_is_the_reference_and_others_go_by_any_name(stand_in_bundle):
    opened = open_bundle(stand_in_bundle)
    assert opened.artifact == "model.float32.tflite"
    assert opened.sha256 == metadata.sha256_file(stand_in_bundle / opened.artifact)
    assert opened.content == (stand_in_bundle / opened.artifact).read_bytes()
    assert opened.class_names == ("non-referable", "referable") and opened.image_size == 64
    for name in ("float16", "float16.tflite", "model.float16.tflite"):
        assert open_bundle(stand_in_bundle, name).artifact == "model.float16.tflite"


def test_operating_point_and_quality_come_from_bundle_or_caller(stand_in_bundle):
    listed = {row["name"]: row for row in metadata.read_manifest(stand_in_bundle, "bundle")["operating_points"]}
    assert open_bundle(stand_in_bundle).operating_point.name == "sensitivity_90"
    chosen = open_bundle(stand_in_bundle, operating_point="youden", min_quality=0.5)
    assert chosen.operating_point.threshold == listed["youden"]["threshold"]
    assert chosen.min_quality == 0.5 and open_bundle(stand_in_bundle).min_quality == DEFAULT_MIN_QUALITY


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"artifact": "static_int8"}, "It has: float32, float16"),
        ({"artifact": "../../etc/passwd"}, "holds no .tflite artifact"),
        ({"operating_point": "sensitivity_99"}, "It has: youden, sensitivity_80"),
        ({"min_quality": 1.5}, "0..1"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(stand_in_bundle, arguments, message):
    with pytest.raises(ValueError, match=message):
        open_bundle(stand_in_bundle, **arguments)


def test_a_changed_bit_is_refused(stand_in_bundle, tmp_path):
    copy = shutil.copytree(stand_in_bundle, tmp_path / "bundle")
    content = bytearray((copy / "model.float32.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "model.float32.tflite").write_bytes(content)
    for artifact in (None, "float16"):  # a bundle that somebody changed is not used, whichever file that was
        with pytest.raises(metadata.ManifestError, match=r"model\.float32\.tflite: sha256 .* differs"):
            open_bundle(copy, artifact)
    (copy / "model.float32.tflite").unlink()
    assert open_bundle(copy, "float16").artifact == "model.float16.tflite"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"artifacts.float32~tflite.file": "../elsewhere.tflite"}, "file beside metadata"),
        ({"task": {"kind": "regression", "class_names": ["x"]}}, "regression"),
        ({"version": 99}, "version 1"),
        ({"artifacts": {}}, "artifacts = {}; an object that is not empty"),
    ],
)
def test_a_foreign_manifest_is_refused(stand_in_bundle, changed, values, message):
    copy = changed(stand_in_bundle, values)
    with pytest.raises(ValueError, match=message):
        open_bundle(copy)


def test_no_directory_and_an_unfinished_one_are_told_apart(tmp_path):
    with pytest.raises(metadata.ManifestError, match="is no directory"):
        open_bundle(tmp_path / "nowhere")
    with pytest.raises(metadata.ManifestError, match=r"holds no metadata\.json"):
        open_bundle(tmp_path)


def test_the_model_gives_what_the_keras_graph_gave(stand_in_bundle):
    import json

    vectors = json.loads((stand_in_bundle / "test_vectors" / "vectors.json").read_text())
    model = Model(open_bundle(stand_in_bundle))
    for row in vectors["vectors"]:
        crop = np.load(stand_in_bundle / "test_vectors" / row["input"])[0]
        outputs = model.run(crop)
        assert set(outputs) == set(row["outputs"])
        for name, file in row["outputs"].items():
            expected = np.load(stand_in_bundle / "test_vectors" / file)[0]
            np.testing.assert_allclose(outputs[name], expected, atol=vectors["tolerances"][name])


def test_the_model_refuses_other_inputs_and_other_graphs(stand_in_bundle, mask_bundle, tmp_path):
    model = Model(open_bundle(stand_in_bundle))
    for crop in (np.zeros((32, 32, 3), np.uint8), np.zeros((64, 64, 3), np.float32)):
        with pytest.raises(ValueError, match="takes"):
            model.run(crop)
    import dataclasses

    opened = open_bundle(stand_in_bundle)
    swapped = dataclasses.replace(opened, content=open_bundle(mask_bundle).content)
    with pytest.raises(ValueError, match=r"metadata\.json states"):
        Model(swapped)
    with pytest.raises(ValueError, match="LiteRT cannot read it"):
        Model(dataclasses.replace(opened, content=b"TFL3 and then nothing that could be one"))


def test_names_that_are_not_as_many_as_the_outputs_of_the_artifact_are_refused(stand_in_bundle, changed):
    """metadata.json agrees with itself, and not with the network: a third name would have no probability."""
    manifest = json.loads((stand_in_bundle / "metadata.json").read_text())
    outputs = [row | ({"shape": [1, 3]} if row["name"] == "probabilities" else {}) for row in manifest["outputs"]]
    opened = open_bundle(changed(stand_in_bundle, {"task.class_names": ["a", "b", "c"], "outputs": outputs}))
    with pytest.raises(
        ValueError, match=r"gives .*probabilities \[1, 2\] float32.*; .* probabilities \[1, 3\] float32"
    ):
        Model(opened)


def test_an_artifacts_own_thresholds_win(stand_in_bundle, changed):
    point = {"name": "sensitivity_90", "threshold": 0.123, "sensitivity": 0.9, "specificity": 0.5, "split": "val"}
    manifest = json.loads((stand_in_bundle / "metadata.json").read_text())
    own = {"artifacts.float16~tflite.ood": {"threshold": 77.0}, "artifacts.float16~tflite.operating_points": [point]}
    copy = changed(stand_in_bundle, own)
    fine, plain = open_bundle(copy, "float16"), open_bundle(copy, "float32")
    assert (fine.ood_threshold, fine.operating_point.threshold) == (77.0, 0.123)
    assert (
        plain.ood_threshold == manifest["artifacts"]["float32.tflite"]["ood"]["threshold"]
        and plain.operating_point.threshold != 0.123
    )
