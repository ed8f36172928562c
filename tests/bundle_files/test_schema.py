"""metadata.json holds what its schema says; each field that does not is refused by name, in one sentence."""

from __future__ import annotations

import copy
import json
import re

import pytest
from resealed import reseal

from dr_edge import metadata
from dr_edge.bundle_files import schema
from dr_edge.bundle_files.read import read_bundle
from dr_edge.data import tasks
from dr_edge.fundus.appearance import TAKEN
from dr_edge.fundus.graham import PREPROCESS
from dr_edge.prediction.bundle import open_bundle
from dr_edge.prediction.predictor import Predictor

POINT = {"name": "youden", "threshold": 0.5, "sensitivity": 1.0, "specificity": 1.0}
NULL = {  # where a bundle may say that there is nothing to say
    "warning", "pictures", "calibration.caution", "task.positive_class", "task.negative_class", "task.positive_index",
    "training.best.value", "training.source", "records.fit", "records.int8_ranges", "records.parity",
    "verdict.caution", "verdict.split", "verdict.value", "verdict.interval", "verdict.images", "verdict.patients",
}  # fmt: skip


def load(bundle):
    return json.loads((bundle / "metadata.json").read_text())


def put(content, path, value):
    """Returns a copy with another value at a path; "~" is a dot."""
    content = copy.deepcopy(content)
    place = content
    *above, last = (part.replace("~", ".") for part in path.split("."))
    for key in above:
        place = place[int(key) if isinstance(place, list) else key]
    place[int(last) if isinstance(place, list) else last] = value
    return content


def fields(value, at=""):
    """Yields the path of every field and item below `value`."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        path = f"{at}.{str(key).replace('.', '~')}".lstrip(".")
        yield path
        yield from fields(inner, path)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("operating_points.0.threshold", 8.83, "operating_points[0].threshold = 8.83; a number from 0 to 1 is needed"),
        ("operating_points.2.sensitivity", -0.1, "operating_points[2].sensitivity = -0.1; a number from 0 to 1"),
        ("operating_points.1.specificity", "0.9", 'operating_points[1].specificity = "0.9"; a number from 0 to 1'),
        ("operating_points.1.threshold", None, "operating_points[1].threshold = null; a number from 0 to 1"),
        ("operating_points.1", 0.5, "operating_points[1] = 0.5; an object is needed"),
        ("operating_points", [POINT, POINT], "the operating points youden, youden, one of them twice"),
        ("operating_points", None, "operating_points = null; a list is needed"),
        ("task.class_names", ["a", "a"], 'task.class_names = ["a", "a"]; a list of names, none empty and none twice'),
        ("task.class_names", ["a", "a "], "none twice"),
        ("task.class_names", ["a", ""], "none empty"),
        ("task.class_names", ["a"], "class_names = ['a']; a classification has two or more"),
        ("task.class_names", ["a", "b", "c"], "3 class_names and probabilities of the shape [1, 2]; [1, 3] is needed"),
        ("task.class_names.1", None, "task.class_names = ["),
        ("task.kind", "regression", "task.kind = \"regression\"; one of classification, multilabel, segmentation"),
        ("task.kind", "segmentation", "heatmap, ood_distance, quality; a segmentation needs masks"),
        ("task.name", 7, "task.name = 7; a text that is not empty"),
        ("task", None, "task = null; an object is needed"),
        ("task.positive_indices", [True], "the class_names that are the disease is needed"),
        ("task.positive_indices", [1, 1], "the classes [1, 1] of ['non-referable', 'referable'] are the disease"),
        ("task.positive_indices", [0], "positive_index = 1 and positive_indices = [0]"),
        ("task.positive_index", None, "positive_index = None and positive_indices = [1]"),
        ("task.positive_class", None, "which classes are the disease, but lacks positive_class, their name"),
        ("task.centres", ["fovea"], "'fovea' is one of task.centres, but class_names ="),
        ("image_size", 0, "image_size = 0; a whole number from 8 to 4096 is needed"),
        ("image_size", 64.0, "image_size = 64.0; a whole number"),
        ("image_size", "64", 'image_size = "64"; a whole number'),
        ("image_size", True, "image_size = true; a whole number"),
        ("image_size", 96, "image_size = 96 and inputs of the shapes [[1, 64, 64, 3]]; one of [1, 96, 96, 3]"),
        ("inputs", [], "inputs of the shapes []"),
        ("inputs.0.dtype", "float32", 'inputs[0].dtype = "float32"; one of uint8'),
        ("outputs.0.shape", [1, 0], "outputs[0].shape = [1, 0]; a list of whole numbers from 1 on, the first of them"),
        ("outputs.0.shape", [1, 3], "2 class_names and probabilities of the shape [1, 3]; [1, 2] is needed"),
        ("outputs.0.name", "heatmap", "one of them twice"),
        ("outputs.1.shape", [1, 5], "heatmap of the shape [1, 5]"),
        ("preprocess.method", "clahe", 'preprocess.method = "clahe"; one of graham, crop, grey is needed'),
        ("preprocess", {}, "lacks method of preprocess: one of graham"),
        ("calibration.temperature", 0, "calibration.temperature = 0; a number above 0"),
        ("calibration.temperature", -1.5, "calibration.temperature = -1.5; a number above 0"),
        ("artifacts.float16~tflite.temperature", 0.0, "temperature = 0.0; a number above 0"),
        ("ood", {}, "neither a threshold of the ood_distance nor a reason"),
        ("artifacts.float32~tflite.ood", {}, "neither a threshold of the ood_distance nor a reason"),
        ("ood.threshold", "far", 'ood.threshold = "far"; a number from 0 on'),
        ("ood.threshold", -1, "ood.threshold = -1; a number from 0 on"),
        ("quality", {}, "lacks minimum of quality: a number from 0 to 1"),
        ("quality.minimum", 1.5, "quality.minimum = 1.5; a number from 0 to 1"),
        ("quality.names", ["score", "focus"], "['score', 'focus'] and quality of the shape [1, 6]; score, focus,"),
        ("quality.names", ["a", "b", "c", "d", "e", "f"], "score, focus, contrast, illumination, fov_fraction, colour"),
        ("outputs.3.shape", [1, 7], "quality of the shape [1, 7]"),
        ("artifacts.float32~tflite.file", "../x", ".file = \"../x\"; the name of a file beside metadata.json"),
        ("artifacts.float32~tflite.file", "model.float16.tflite", "one SHA-256 of model.float16.tflite in artifacts."),
        ("artifacts.float32~tflite.sha256", "0" * 64, "one SHA-256 of model.float32.tflite in artifacts."),
        ("artifacts.float32~tflite.bytes", 0, "bytes = 0; a whole number from 1 on"),
        ("artifacts.float32~tflite", "x", 'artifacts.float32.tflite = "x"; an object'),
        ("artifacts", {}, "artifacts = {}; an object that is not empty"),
        ("files.labels~txt", "abc", 'files.labels.txt = "abc"; a SHA-256 of 64 hexadecimal digits'),
        ("files.a/~~/~~/evil", "0" * 64, "'a/../../evil' is one of its files, which is no file of a bundle"),
        ("files", [], "files = []; an object that is not empty"),
        ("pictures", {"colour": -1}, 'pictures = {"colour": -1}; an object of kinds of pictures with their numbers'),
        ("warning", ["x"], 'warning = ["x"]; a text that is not empty'),
        ("verdict", None, "verdict = null; an object"),
        ("verdict.status", "good", 'verdict.status = "good"; one of worse, not_told,'),
        ("verdict", {"status": "worse", "title": "Worse", "text": ""}, "the verdict 'worse', but lacks its caution"),
        ("verdict.interval", [0.1], "verdict.interval = [0.1]; a list of two finite numbers"),
        ("created", "yesterday", 'created = "yesterday"; a time such as'),
        ("digests", "elsewhere", 'digests = "elsewhere"; one of bundle.sha256'),
        ("version", True, "version = true; a whole number"),
    ],
)  # fmt: skip
def test_a_field_that_makes_no_sense_is_named(bundle, path, value, said):
    reseal(bundle, put(load(bundle), path, value))
    with pytest.raises(metadata.ManifestError) as caught:
        open_bundle(bundle)
    text = str(caught.value)
    assert said in text and text.startswith(str(bundle / "metadata.json")), text
    assert text.endswith(schema.ADVICE) and text.count(". ") <= 2 and "\n" not in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (r'"threshold": [\d.]+', '"threshold": NaN', "NaN is no number of JSON"),
        (r'"threshold": [\d.]+', '"threshold": -Infinity', "-Infinity is no number of JSON"),
        (r'"threshold": [\d.]+', '"threshold": 1e999', "threshold = Infinity; a number from 0"),
        (r'"image_size": 64', '"image_size": 64, "image_size": 96', "'image_size' stands twice in one object"),
        (r'"image_size": 64', f'"image_size": {"9" * 5000}', "is not valid JSON"),
        (r'"image_size": 64', f'"image_size": {"[" * 100_000}', "is not valid JSON"),
        ('"created"', '"\udcff"', "is not valid JSON"),
        (r'"schema": "dr_edge\.bundle"', '"schema": "dr_edge.run"', "expected schema 'dr_edge.bundle'"),
        (r'"version": 1\b', '"version": 2', "this release reads version 1"),
        (r'"outputs":', '"results":', "outputs missing"),
        (r"^", "null", "is not valid JSON"),
    ],
)  # fmt: skip
def test_what_is_no_json_or_could_mean_two_things_is_refused(bundle, old, new, said):
    text = re.sub(old, lambda _: new, (bundle / "metadata.json").read_text(), count=1)
    (bundle / "metadata.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(metadata.ManifestError, match=re.escape(said)):
        open_bundle(bundle)


def test_every_field_may_only_hold_what_a_bundle_says_there(bundle, photograph):
    """Each field in turn holds null and values of other kinds: it is refused, or nothing that reads it fails."""
    content = load(bundle)
    for entry in content["artifacts"].values():
        entry["ood"]["threshold"] = 1e6  # the stand-in was trained on other pictures
    assert Predictor(open_bundle(reseal(bundle, content))).predict(photograph).answer.status == "answered"
    refused, taken = 0, set()
    for path in fields(content):
        for value in (None, "", "x", -1, 0, 8.83, True, [], {}, [None], {"x": None}):
            changed = put(content, path, value)
            try:
                schema.check(bundle / "metadata.json", changed)
            except metadata.ManifestError as err:
                assert len(str(err)) < 500 and "\n" not in str(err)
                refused += 1
                continue
            if value is None:
                taken.add(path)
            try:
                opened = open_bundle(reseal(bundle, changed))
                answer = Predictor(opened).predict(photograph).answer
            except ValueError as err:  # of another version, or without an artifact or output that is known here
                assert re.match("schema|version|artifacts|outputs|inputs", path), (path, value, err)
                continue
            json.dumps(answer.to_json(), allow_nan=False)
            assert answer.outputs.probabilities is not None and sum(answer.outputs.probabilities.values()) > 0.99
    assert refused > 1000
    assert {path for path in taken if not path.startswith("verdict.parts.0.")} <= NULL | {"schema"}  # read before


def of_kind(kind, names, shape, **changes):
    """Returns a manifest of as few fields as an earlier release wrote."""
    name = "masks" if kind == "segmentation" else "probabilities"
    artifact = {"file": "m.tflite", "sha256": "0" * 64, "bytes": 9, "variant": "float32", "format": "tflite"}
    return {
        "version": 1, "task": {"name": "x", "kind": kind, "class_names": names}, "image_size": 96,
        "preprocess": {"method": "crop"}, "inputs": [{"name": "image", "shape": [1, 96, 96, 3], "dtype": "uint8"}],
        "outputs": [{"name": name, "shape": shape, "dtype": "float32"}], "artifacts": {"float32.tflite": artifact},
        "files": {"m.tflite": "0" * 64}, "operating_points": [], "ood": {},
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (of_kind("segmentation", ["disc", "cup"], [1, 96, 96, 2]), None),
        (of_kind("segmentation", ["disc"], [1, 96, 96, 1]), None),
        (of_kind("multilabel", ["glaucoma"], [1, 1]), None),
        (of_kind("multilabel", ["glaucoma", "dr"], [1, 2]), None),
        (of_kind("segmentation", ["disc", "cup"], [1, 96, 96, 3]), "2 class_names and masks of the shape"),
        (of_kind("segmentation", ["disc", "cup"], [1, 48, 48, 2]), "[1, 96, 96, 2] is needed"),
        (of_kind("segmentation", ["disc", "cup"], [2, 96, 96, 2]), "the first of them 1 is needed"),
        (of_kind("multilabel", ["glaucoma", "dr"], [1, 3]), "2 class_names and probabilities of the shape [1, 3]"),
        (of_kind("multilabel", ["glaucoma", "glaucoma"], [1, 2]), "none twice"),
        (of_kind("multilabel", [], [1, 0]), "task.class_names = []; a list of names"),
        (of_kind("multilabel", ["a"], [1, 1], inputs=[]), "inputs of the shapes []"),
        (of_kind("multilabel", ["a"], [1, 1], files={"m.tflite": "0" * 64, "metadata.json": "0" * 64}), "no file of a"),
        (of_kind("multilabel", ["a"], [1, 1], files={"m.tflite": "0" * 64, "bundle.sha256": "0" * 64}), "no file of a"),
        (of_kind("multilabel", ["a"], [1, 1], files={"other": "0" * 64}), "another or none in files"),
    ],
)  # fmt: skip
def test_masks_and_diseases_have_names_as_many_as_their_outputs(content, said, tmp_path):
    path = tmp_path / "metadata.json"
    if said is None:
        schema.check(path, content)
        return
    with pytest.raises(metadata.ManifestError, match=re.escape(said)):
        schema.check(path, content)


def test_later_fields_are_left_alone_and_earlier_bundles_lack_some(bundle):
    content = load(bundle)
    later = {"colours": [1, None], "task": {**content["task"], "weight": None}}
    assert read_bundle(reseal(bundle, content | later))["colours"] == [1, None]
    for name in ("pictures", "calibration", "training", "verdict", "records", "parity", "warning", "made_with",
                 "oldest_runtime_tested", "created", "outputs_left_out", "operating_points"):  # fmt: skip
        content.pop(name)
    for name in ("positive_class", "negative_class", "positive_index", "positive_indices"):
        content["task"].pop(name)
    assert open_bundle(reseal(bundle, content)).positive == (1,)


def test_the_table_knows_what_the_project_knows():
    assert tuple(PREPROCESS) == schema.PREPROCESS and set(TAKEN) == set(schema.PREPROCESS)
    assert metadata.MANIFESTS["bundle"][1] == schema.VERSION
    of_tasks = (tasks.referable_dr(), tasks.diseases(), tasks.optic_disc_and_cup())
    assert tuple(task.kind for task in of_tasks) == schema.KINDS
    paths = [field.path for field in schema.FIELDS]
    assert len(set(paths)) == len(paths)
    for path in paths:  # what a field belongs to is checked before it
        above = re.sub(r"(\[\]|\.[^.]+)$", "", path)
        assert above == path or above.endswith("*") or above in paths[: paths.index(path)], path
