"""What the page makes of a model's outputs against dr_edge.prediction.answer: the same fields in the same words."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dr_edge.fundus.crop import FieldOfView
from dr_edge.fundus.read_crop import Photograph
from dr_edge.prediction import disease, flow, pictures
from dr_edge.prediction.answer import interpret, unreadable
from dr_edge.prediction.bundle import Bundle, OperatingPoint
from dr_edge.prediction.schema import SCHEMA, SCHEMA_VERSION, Answer
from dr_edge.serve.assets import STATIC

SIDE = 40
POOR = {
    "status": "worse", "title": "Worse than guessing", "text": "Worse than guessing: AUC 0.14.", "baseline": "guessing",
    "caution": "Worse than guessing on the test images: AUC 0.14. Do not rely on this answer.", "value": 0.14,
    "interval": [0.1, 0.2], "split": "test", "images": 40, "patients": 30, "parts": [],
}  # fmt: skip
QUALITY = ["focus", "contrast", "illumination", "fov_fraction", "colour", "score"]  # an order of its own
POINT = OperatingPoint("sensitivity_90", 0.3, 0.9123, 0.7)
TASKS = {
    "two classes": ("classification", ["non-referable", "referable"]),
    "disease first": ("classification", ["glaucoma", "normal"]),
    "two diseases": ("classification", ["cataract", "glaucoma", "normal"]),
    "names that say nothing": ("classification", ["a", "b", "c"]),
    "five grades": ("classification", ["no DR", "mild NPDR", "moderate NPDR", "severe NPDR", "PDR"]),
    "diseases": ("multilabel", ["glaucoma", "diabetic_retinopathy"]),
    "masks": ("segmentation", ["optic disc", "optic cup"]),
    "masks and point": ("segmentation", ["optic disc", "optic cup", "fovea"]),
}
PROGRAM = """
import fs from 'node:fs';
const {root, input} = JSON.parse(fs.readFileSync(0, 'utf8'));
const {interpret} = await import(`${root}/answer.js`);
const words = await import(`${root}/answer_words.js`);
console.log(JSON.stringify(input.map(({manifest, facts, outputs, found}) => {
  const arrays = Object.fromEntries(Object.entries(outputs).map(([name, values]) => [name, Float32Array.from(values)]));
  const answer = interpret(manifest, facts, arrays, found);
  const {title, short, tone} = words.headline(answer, manifest);
  const heat = answer.outputs.probabilities ? words.heatTitle(answer, manifest) : null;
  const shown = answer.status === 'answered' && heat !== null ? words.heatIsShown(answer, manifest) : null;
  const texts = [words.explanation(answer, manifest), words.question(manifest), words.cropWords(answer)];
  return {answer, heat, shown, said: [title, short, tone, ...texts]};
})));
"""


def blob(centre: tuple[float, float], radius: float) -> np.ndarray:
    """Returns [SIDE, SIDE] probabilities of a disc with a soft edge."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return 1 / (1 + np.exp(np.hypot(x - centre[0], y - centre[1]) - radius))


def cases() -> list[dict[str, Any]]:
    rng = np.random.default_rng(4)
    made = []
    for name, (kind, classes) in TASKS.items():
        for index in range(8):
            outputs: dict[str, np.ndarray] = {}
            if kind == "segmentation":
                disc, cup = (blob((17, 21), radius) for radius in (rng.uniform(3, 8), rng.uniform(0.5, 4)))
                outputs["masks"] = np.stack([disc * (index != 6), cup * (index != 5)], axis=-1).astype(np.float32)
                if name == "masks and point":
                    heat = 0.6 * blob(rng.uniform(0, SIDE - 1, 2), 2.5) + rng.uniform(0, 0.02, (SIDE, SIDE))
                    outputs["masks"] = np.dstack([outputs["masks"], heat]).astype(np.float32)
                elif index == 7:
                    outputs["masks"] = outputs["masks"][..., ::-1].copy()
            else:
                values = rng.uniform(0.001, 1, len(classes)) ** 2
                outputs["probabilities"] = (values / (values.sum() if kind == "classification" else 1)).astype(
                    np.float32
                )
                outputs["ood_distance"] = np.array([rng.uniform(1, 8 if index in (3, 5) else 11)], np.float32)
            if name == "two classes" and index in (1, 2):  # above the threshold of 0.3 and below a half; below both
                outputs = {
                    "probabilities": np.array([[0.6, 0.4], [0.8, 0.2]][index - 1], np.float32),
                    "ood_distance": np.array([2], np.float32),
                }
            score = 0.1 if index == 0 else rng.uniform(0.25, 1)
            parts = rng.uniform(0.05, 1, 5).round(3).tolist()
            if index == 1:
                parts[4] = 1.0004  # what rounding puts above 1
            outputs["quality"] = np.array([*parts, score], np.float32)
            made.append(
                {
                    "name": name,
                    "kind": kind,
                    "classes": classes,
                    "outputs": outputs,
                    "poor": index in (3, 5),
                    "found": {
                        "kind": "greyscale" if index in (4, 5) else "colour",
                        "covered": index in (2, 4),
                    },
                }
            )
    return made


def manifest(case: dict[str, Any]) -> dict[str, Any]:
    """Returns what an opened bundle of the case says of itself."""
    point = {
        "name": POINT.name,
        "threshold": POINT.threshold,
        "sensitivity": POINT.sensitivity,
        "specificity": POINT.specificity,
    }
    decided = case["kind"] == "classification" and case["name"] != "names that say nothing"
    content = {
        "task": {
            "name": "dr_grade" if case["name"] == "five grades" else "any",
            "kind": case["kind"],
            "class_names": case["classes"],
            "centres": [n for n in case["classes"] if n == "fovea"],
        },
        "image_size": SIDE,
        "ood": {"threshold": 9.0},
        "quality": {"minimum": 0.2, "names": QUALITY},
        "artifacts": {},
        "verdict": POOR if case["poor"] else POOR | {"status": "better", "title": "Better than guessing"},
    }
    return disease.stated(content) | {"operating_points": [point] if decided else []}


def python_title(case: dict[str, Any], content: dict[str, Any], answer: Answer) -> str:
    """Returns what stands above the heat map that Python draws."""
    bundle = Bundle(
        Path("bundle"), content, "model.tflite", "", b"", POINT if content["operating_points"] else None, 0.2
    )
    return pictures._title(bundle, answer, {"heatmap": np.ones((2, 2), np.float32), **case["outputs"]})


def python_shows(case: dict[str, Any], content: dict[str, Any], answer: Answer) -> bool:
    bundle = Bundle(
        Path("bundle"), content, "model.tflite", "", b"", POINT if content["operating_points"] else None, 0.2
    )
    return pictures.heat_is_shown(bundle, answer, {"heatmap": np.ones((2, 2), np.float32), **case["outputs"]})


def python_answer(case: dict[str, Any], content: dict[str, Any], box: list[float], size: tuple[int, int]) -> Answer:
    point = POINT if content["operating_points"] else None
    bundle = Bundle(Path("bundle"), content, "model.tflite", "", b"", point, 0.2)
    fov = FieldOfView.from_box(*box)
    crop = np.zeros((SIDE, SIDE, 3), np.uint8)
    photograph = Photograph("ab" * 32, size, fov=fov, crop=crop, **case["found"])
    return interpret(bundle, photograph, case["outputs"])


def test_answers_have_the_fields_and_words_of_python(node: str) -> None:
    made, box, size = cases(), [-12.0, 30.0, 388.0, 430.0], (370, 520)
    values = []
    for case in made:
        facts = {
            "file": None, "sha256": "ab" * 32, "photograph": {"width": size[1], "height": size[0]},
            "crop": {"box": box, "size": SIDE},
        }  # fmt: skip
        outputs = {name: value.ravel().tolist() for name, value in case["outputs"].items()}
        values.append(
            {
                "manifest": manifest(case),
                "facts": facts,
                "outputs": outputs,
                "found": case["found"],
            }
        )
    data = json.dumps({"root": (STATIC / "js").as_uri(), "input": values})
    done = subprocess.run(
        [node, "--input-type=module", "--eval", PROGRAM], input=data, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    seen, headlines, titles, poor, decided, shown = set(), set(), set(), set(), set(), set()
    cautioned: list[int] = []
    for case, value, row in zip(made, values, json.loads(done.stdout), strict=True):
        said = python_answer(case, value["manifest"], box, size)
        expected = said.to_json()
        answer = row["answer"]
        seen.add((case["name"], expected["status"]))
        headlines.add(row["said"][2])
        if case["poor"] and expected["status"] == "answered":  # nobody may read the answer alone
            poor.add(case["name"])
            assert answer["message"].startswith(POOR["caution"]) and row["said"][2] == "stop"
            assert row["said"][0].startswith("Worse than guessing: ") and row["said"][1].startswith(
                "Worse than guessing: "
            )
            assert POOR["caution"] not in row["said"][3]  # the card shows it once, on a line of its own
        if (
            expected["decision"] is not None and not case["poor"]
        ):  # the disease is never green, wherever its name stands
            ill = {"glaucoma", "cataract or glaucoma", "referable", "grade >= 2"}
            assert (
                (row["said"][2] == "warn")
                == (expected["decision"]["class_name"] in ill)
                == expected["decision"]["positive"]
            )
            decided.add((case["name"], expected["decision"]["class_name"]))
        if row["heat"] is not None and expected["status"] == "answered":
            assert row["heat"] == python_title(case, value["manifest"], said)
            titles.add(row["heat"])
            assert row["shown"] == python_shows(case, value["manifest"], said)
            shown.add(row["shown"])
        cautioned.append(len(expected["cautions"]))
        assert all(caution in row["said"][3] and caution not in row["said"][0] for caution in expected["cautions"])
        keys = "status", "reason", "message", "sha256", "photograph", "prediction", "decision", "findings", "cautions"
        for key in keys:
            assert same(answer.get(key), expected[key]), (case["name"], key, answer.get(key), expected[key])
        for key in ("quality", "distribution", "outputs"):
            assert same(answer[key], expected[key], 1e-4), (case["name"], key, answer[key], expected[key])
        if expected["masks"] is not None:
            assert [mask["height"] for mask in answer["masks"]] == pytest.approx(
                [mask["height"] for mask in expected["masks"]], abs=1
            )
            assert [mask["found"] for mask in answer["masks"]] == [mask["found"] for mask in expected["masks"]]
            assert same(answer["vcdr"], expected["vcdr"], 0.02)
            title, _, _, words = row["said"][:4]
            assert ". " not in title  # one sentence, and the others below it
            assert answer["vcdr"] is not None or answer["message"].endswith(
                f"{title}. {words}".strip().removeprefix(f"{POOR['title']}: ")
            )
            assert same(answer["points"], expected["points"], 0.11) and bool(expected["points"]) == (
                "point" in case["name"]
            )
        assert all(isinstance(words, str) and "undefined" not in words and "null" not in words for words in row["said"])
    assert {(name, "answered") for name in TASKS} <= seen and set(cautioned) == {0, 1, 2}
    assert {status for _, status in seen} == {"answered", "too_poor_to_grade", "out_of_distribution"}
    assert headlines == {"good", "warn", "plain", "stop"} and poor == set(TASKS) and shown == {True, False}
    assert {
        ("disease first", "glaucoma"),
        ("disease first", "normal"),
        ("two diseases", "cataract or glaucoma"),
    } <= decided
    assert ("five grades", "grade >= 2") in decided and {name for name, _ in decided}.isdisjoint(
        {"names that say nothing"}
    )
    assert "Grad-CAM of non-referable (likelier), not of referable" in titles and "Grad-CAM of non-referable" in titles


SAVE = """
import fs from 'node:fs';
const {root, manifest} = JSON.parse(fs.readFileSync(0, 'utf8'));
const {savedDocument} = await import(`${root}/saved.js`);
const {unreadable} = await import(`${root}/answer.js`);
const decision = {class_name: 'referable', positive: true};
const decided = {status: 'answered', decision, prediction: {class_name: 'non-referable'}};
const entries = [
  {answer: unreadable({reason: 'truncated', message: 'truncated: it is.'}, 'a.jpg'), label: null},
  {answer: decided, label: 'referable'},
  {answer: null, label: null},
];
const artifact = {file: 'model.tflite', sha256: 'ab'};
const two = entries.slice(0, 2);
console.log(JSON.stringify([savedDocument(manifest, artifact, entries), savedDocument(manifest, null, two)]));
"""


def test_what_is_saved_has_every_field_of_an_answer(node: str) -> None:
    described = {
        "task": {
            "name": "referable_dr",
            "class_names": ["non-referable", "referable"],
            "positive_class": "referable",
            "positive_indices": [1],
        },
        "image_size": SIDE,
        "verdict": POOR,
    }
    data = json.dumps({"root": (STATIC / "js").as_uri(), "manifest": described})
    done = subprocess.run(
        [node, "--input-type=module", "--eval", SAVE], input=data, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    content, early = json.loads(done.stdout)
    bundle = Bundle(Path("bundle"), described, "model.tflite", "ab", b"", None, 0.2)
    assert content["bundle"] == flow.description(bundle)
    assert (content["schema"], content["schema_version"]) == (SCHEMA, SCHEMA_VERSION)
    assert (content["complete"], content["photographs"], content["unreadable"]) == (False, 2, 1)
    assert early["complete"] is True and early["bundle"]["artifact"] is None
    assert content["answers"][0] == unreadable("a.jpg", "truncated", "truncated: it is.").to_json()
    assert list(content["answers"][1]) == [field.name for field in dataclasses.fields(Answer)]
    assert content["answers"][1]["label"] == {"given": "referable", "agrees": True}


def same(ours: Any, theirs: Any, within: float = 1e-6) -> bool:
    """Whether two JSON values are equal, numbers within `within`."""
    if isinstance(theirs, dict):
        return (
            isinstance(ours, dict)
            and ours.keys() == theirs.keys()
            and all(same(ours[key], theirs[key], within) for key in theirs)
        )
    if isinstance(theirs, (list, tuple)):
        return (
            isinstance(ours, list) and len(ours) == len(theirs) and all(map(same, ours, theirs, [within] * len(ours)))
        )
    if isinstance(theirs, float):
        return isinstance(ours, (int, float)) and abs(ours - theirs) <= within
    return ours == theirs
