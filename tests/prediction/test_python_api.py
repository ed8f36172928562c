"""`import dr_edge`: a bundle answers in three lines, records are read and models built by name, and nothing is imported
before it is used.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from snippets import blocks

import dr_edge
from dr_edge import metadata
from dr_edge.data import tasks

REPOSITORY = Path(__file__).resolve().parents[2]


def run(code: str, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def opened(bundle_dir) -> dr_edge.OpenedBundle:
    return dr_edge.open_bundle(bundle_dir)


def test_import_costs_nothing(starts):
    loaded = run("import sys; before = set(sys.modules); import dr_edge; print(*set(sys.modules) - before)").split()
    assert {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names == {"dr_edge"}
    assert starts(lambda: run("import dr_edge")) < 4  # TensorFlow would be more than 100


def test_three_lines_answer_a_photograph_without_tensorflow(stand_in_bundle, photographs):
    code = (
        "import sys, dr_edge\n"
        "bundle = dr_edge.open_bundle(sys.argv[1])\n"
        "print(bundle.answer(sys.argv[2]).message)\n"
        "print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    message, heavy = run(code, str(stand_in_bundle), str(photographs / "a.jpg")).splitlines()
    assert message and heavy == "False False"


def test_an_answer_is_that_of_predict(opened, bundle_dir, photographs):
    from dr_edge.prediction import bundle, flow

    out = io.StringIO()
    flow.predict_files(bundle.open_bundle(bundle_dir), [str(photographs)], out)
    listed = json.loads(out.getvalue())["answers"]
    assert {row["status"] for row in listed} == {"answered", "too_poor_to_grade", "not_a_fundus_photograph"}
    for row in listed:
        ours = json.loads(json.dumps(opened.answer(row["file"]).to_json()))
        assert ours | {"milliseconds": 0} == row | {"milliseconds": 0}


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_bytes_of_a_file_are_answered_as_the_file(opened, photographs, kind):
    path = photographs / "b.png"
    by_path, by_bytes = opened.answer(path), opened.answer(kind(path.read_bytes()))
    assert by_path.file == str(path) and by_bytes.file is None
    assert by_bytes.outputs == by_path.outputs and by_bytes.sha256 == by_path.sha256 == metadata.sha256_file(path)


def test_an_array_is_answered_as_its_lossless_file(opened, photographs):
    pixels = cv2.imread(str(photographs / "b.png"), cv2.IMREAD_COLOR_RGB)
    by_path = opened.result(photographs / "b.png")
    for given in (pixels, pixels[:, ::-1][:, ::-1], np.asfortranarray(pixels)):
        by_array = opened.result(given)
        assert by_array.answer.outputs == by_path.answer.outputs and by_array.answer.sha256 is None
        np.testing.assert_array_equal(by_array.crop, by_path.crop)
    assert by_path.crop.shape == (opened.image_size, opened.image_size, 3)
    assert by_path.outputs["probabilities"].shape == (len(opened.class_names),)
    assert by_path.outputs["heatmap"].ndim == 2 and by_path.outputs["heatmap"].min() >= 0


def test_the_pixels_of_a_large_jpeg_are_answered_nearly_as_the_file(opened, tmp_path):
    from tfrecord_tools.synthetic.draw import draw_fundus

    path = tmp_path / "large.jpg"
    cv2.imwrite(str(path), draw_fundus(21, size=1600).image[..., ::-1])
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    answers = [opened.answer(path), opened.answer(pixels)]
    assert answers[0].photograph == answers[1].photograph and answers[0].crop.size == answers[1].crop.size
    probabilities = [list(answer.outputs.probabilities.values()) for answer in answers]
    np.testing.assert_allclose(*probabilities, atol=0.05)


def test_an_array_in_the_order_of_opencv_is_no_answer(opened, photographs):
    answer = opened.answer(cv2.imread(str(photographs / "a.jpg")))
    assert answer.status == "not_a_fundus_photograph" and answer.prediction is None and "BGR" in answer.message


@pytest.mark.parametrize(
    "image",
    [np.zeros((300, 300), np.uint8), np.zeros((300, 300, 4), np.uint8), np.zeros((1, 300, 300, 3), np.uint8),
     np.zeros((300, 300, 3), np.float32), np.zeros((3, 300, 300), np.uint8), np.zeros((300, 300, 3), np.uint16)],
    ids=lambda image: f"{image.shape} {image.dtype}",
)  # fmt: skip
def test_another_array_is_refused(opened, image):
    with pytest.raises(ValueError, match=r"\[H, W, 3\] uint8, red, green, blue.*Received: \[.*Give the file's path"):
        opened.answer(image)


@pytest.mark.parametrize("given", [None, 3, [[0, 0, 0]], io.BytesIO(b"x")])
def test_what_is_no_photograph_is_refused(opened, given):
    with pytest.raises(TypeError, match="path of a file, its bytes, or an array"):
        opened.answer(given)


def test_what_cannot_be_read_is_an_answer_that_says_so(opened, tmp_path):
    missing, text = opened.answer(tmp_path / "no.jpg"), opened.answer(b"no picture at all")
    assert (missing.status, missing.file) == ("unreadable", str(tmp_path / "no.jpg"))
    assert "does not exist" in missing.message and text.status == "unreadable" and text.file is None
    small = opened.answer(np.zeros((4, 4, 3), np.uint8))
    assert small.status == "unreadable" and small.reason == "too small"


def test_a_bundle_is_opened_with_the_choices_of_predict(bundle_dir, photographs, tmp_path):
    half = dr_edge.open_bundle(bundle_dir, artifact="float16", operating_point="youden", min_quality=1.0, threads=2)
    answer = half.answer(photographs / "a.jpg")
    assert answer.status == "too_poor_to_grade" and answer.quality.minimum == 1.0
    assert "model.float16.tflite" in repr(half) and half.verdict["status"] and half.manifest["task"]
    with pytest.raises(metadata.ManifestError):
        dr_edge.open_bundle(tmp_path)


def test_a_bundle_is_pinned_by_its_digest_and_an_address_needs_it(bundle_dir):
    digest = metadata.sha256_file(bundle_dir / "metadata.json")
    assert dr_edge.open_bundle(bundle_dir, bundle_sha256=digest).class_names
    for given, sha256, error, said in (
        (bundle_dir, "0" * 64, metadata.ManifestError, ", bundle_sha256 says 000000000000"),
        (bundle_dir, "latest", ValueError, "bundle_sha256 takes 64 hexadecimal digits"),
        ("hf://owner/name", None, ValueError, "directory=hf://owner/name is an address, .* add bundle_sha256=DIGEST"),
        ("hf://owner/name#sha256=" + "0" * 64, "1" * 64, ValueError, "bundle_sha256 and the #sha256= of directory"),
        ("file:///bundles/idrid", "0" * 64, ValueError, "directory=file:///bundles/idrid: give a directory"),
    ):
        with pytest.raises(error, match=said) as caught:
            dr_edge.open_bundle(given, bundle_sha256=sha256)
        assert "--" not in str(caught.value)  # a flag of the commands


def test_records_are_read_by_the_name_of_a_task(stand_in_records):
    batches = list(dr_edge.read_records(stand_in_records, "test", "referable_dr", batch_size=10))
    assert [len(batch["label"]) for batch in batches] == [10, 10, 10, 6]
    image = batches[0]["image"]
    assert image.shape == (10, 64, 64, 3) and image.dtype == "float32" and set(batches[0]["label"].numpy()) == {0, 1}
    masks = next(iter(dr_edge.read_records(stand_in_records, "val", "optic_disc_and_cup")))
    assert masks["label"].shape == (16, 64, 64, 2)
    named = next(iter(dr_edge.read_records(stand_in_records, "val", tasks.label("glaucoma"))))
    assert named["label"].shape == (16,)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("test", "refferable_dr"), "No task 'refferable_dr'. Did you mean 'referable_dr'\\? Known: any_dr, "),
        (("test", "label"), "dr_edge.data.tasks.label"),
        (("tset", "any_dr"), "Unknown split 'tset'"),
        (("test", "messidor_any_dr"), "reads the labels"),
        (("test", "any_dr", 0), "batch_size must be at least 1"),
    ],
)
def test_records_that_cannot_be_read_so_are_refused(stand_in_records, arguments, says):
    with pytest.raises(ValueError, match=says):
        dr_edge.read_records(stand_in_records, *arguments)


def test_a_model_is_built_by_name():
    model = dr_edge.build_model("resnet_v2_slim", image_size=96, outputs=3, stem_channels=8)
    assert model.input_shape == (None, 96, 96, 3) and model.output_shape == (None, 3)
    assert model.get_layer("stem_conv").filters == 8
    assert dr_edge.build_model("resnet_v2_slim").input_shape == (None, 256, 256, 3)
    with pytest.raises(ValueError, match="No model 'resnet_v2_slin'. Did you mean 'resnet_v2_slim'"):
        dr_edge.build_model("resnet_v2_slin")
    with pytest.raises(TypeError, match="dropuot"):
        dr_edge.build_model("mobilenet_v3_small_cbam", 64, 2, dropuot=0.1)
    for nothing in ({"image_size": 0}, {"outputs": 0}):
        with pytest.raises(ValueError, match="0"):
            dr_edge.build_model("resnet_v2_slim", **nothing)


def test_without_tensorflow_the_extra_is_named(monkeypatch, stand_in_records):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for call in (lambda: dr_edge.build_model("unet"), lambda: dr_edge.read_records(stand_in_records, "test", "any_dr")):
        with pytest.raises(ImportError, match=r'TensorFlow: pip install "dr_edge\[train\]"'):
            call()


def test_names_that_are_not_offered_are_refused_and_those_that_are_listed():
    assert {"open_bundle", "read_records", "build_model"} <= set(dir(dr_edge))
    with pytest.raises(AttributeError, match="it offers OpenedBundle, build_model, open_bundle, read_records"):
        dr_edge.open_bundel  # noqa: B018


def test_what_the_document_shows_runs(stand_in_bundle, stand_in_records, photographs, tmp_path):
    for place, made in (
        ("bundles/idrid", stand_in_bundle), ("records/idrid", stand_in_records), ("eye.jpg", photographs / "a.jpg"),
    ):  # fmt: skip
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).symlink_to(made)
    shown = [block.text for block in blocks(REPOSITORY / "docs" / "api.md") if block.language == "python"]
    assert len(shown) >= 6
    printed = run("\n".join([f"import os; os.chdir({str(tmp_path)!r})", *shown]))
    assert "(8, 64, 64, 3)" in printed and printed.splitlines()[-1].isdigit()


@pytest.mark.slow
def test_type_checkers_see_what_is_offered(tmp_path):
    (tmp_path / "program.py").write_text(
        "import dr_edge\n"
        "reveal_type(dr_edge.open_bundle('b').answer('eye.jpg'))\n"
        "reveal_type(dr_edge.build_model('unet').name)\n"
        "dr_edge.open_bundle(b=1)\n"
    )
    command = [sys.executable, "-m", "mypy", "--no-incremental", str(tmp_path / "program.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=REPOSITORY, check=False)
    assert 'Revealed type is "dr_edge.prediction.schema.Answer"' in done.stdout
    assert 'Unexpected keyword argument "b"' in done.stdout
