"""From folders to the answer: the ill are referred, whatever their folder's name and place in the alphabet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from resealed import reseal

pytestmark = pytest.mark.slow  # test_names.py trains on classes with names of their own, too

PER_CLASS = 24
SIDE = 64
NAMES = {"disease first": ("glaucoma", "normal"), "disease last": ("no_dr", "zz_dr")}  # class names, sorted


def draw(path: Path, seed: int, ill: bool) -> None:
    """Saves a drawn photograph; that of an ill eye holds a large pale lesion, which a tiny network finds."""
    from tfrecord_tools.synthetic.draw import draw_fundus

    picture = draw_fundus(seed, grade=0, size=128).image.copy()
    if ill:
        rng = np.random.default_rng(seed)
        x, y = (int(value) for value in rng.integers(45, 84, 2))
        cv2.circle(picture, (x, y), 14, (250, 240, 170), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1])


def small_network(image_size: int, outputs: int) -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    x = layers.Conv2D(8, 5, strides=4, activation="relu")(x)
    x = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu", name="cam_features")(x)
    x = layers.GlobalMaxPooling2D()(x)
    x = layers.Dense(8, activation="relu", name="penultimate")(x)
    return keras.Model(inputs, layers.Dense(outputs, name="logits")(x), name="small")


@pytest.fixture(scope="module", params=NAMES)
def chain(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, run_chain: Callable
) -> dict[str, Any]:
    names = NAMES[request.param]
    ill = names[0] if request.param == "disease first" else names[1]
    return run_chain(tmp_path_factory.mktemp("chain"), names, ill)


@pytest.fixture(scope="module")
def run_chain() -> Callable[[Path, tuple[str, ...], str], dict[str, Any]]:
    """run_chain(directory, class names, the ill one): builds, trains, evaluates and exports; all that was said."""
    import gin

    from dr_edge.evaluation import flow
    from dr_edge.training import loop, optimizers
    from export.bundle.write import export_run
    from export.settings import MAX_AUC_DROP, Settings
    from tfrecord_tools.assembly import build
    from tfrecord_tools.plan import BuildOptions

    def run(directory: Path, names: tuple[str, ...], ill: str) -> dict[str, Any]:
        from dr_edge.data import tasks

        photographs = directory / "photographs"
        for number, name in enumerate(names):
            for index in range(PER_CLASS if name == ill else 2 * PER_CLASS):
                draw(photographs / name / f"{name}{index:03d}.png", 1000 * number + index, name == ill)
        said = build(
            BuildOptions(
                dataset="folder", data_dir=photographs, out=directory / "records", image_size=SIDE, preprocess="crop",
                workers=1, val_fraction=0.3, test_fraction=0.3,
            )
        )  # fmt: skip
        gin.clear_config()
        trained = loop.train(
            records=str(directory / "records"), run_dir=str(directory / "run"), task=tasks.label("class"),
            model=small_network, epochs=30, batch_size=8, learning_rate=lambda steps, epochs: 0.01,
            optimizer=optimizers.adam, seed=2,
        )  # fmt: skip
        evaluation = flow.evaluate(directory / "run", flow.Settings(examples=2, heatmap_checks=False, stability=False))
        settings = Settings(max_auc_drop=dict.fromkeys(MAX_AUC_DROP, 1.0), max_graph_auc_drop=1.0)
        export_run(directory / "run", directory / "bundle", ("float32",), settings=settings)
        return {
            "directory": directory,
            "ill": ill,
            "names": names,
            "built": said,
            "run": trained,
            "evaluation": evaluation,
        }

    return run


@pytest.fixture(scope="module")
def new_eyes(chain: dict[str, Any]) -> dict[str, list[Path]]:
    """Photographs that nobody trained on: "ill" and "healthy"."""
    made: dict[str, list[Path]] = {"ill": [], "healthy": []}
    for index in range(6):
        for state, files in made.items():
            files.append(chain["directory"] / "new" / f"{state}{index}.png")
            draw(files[-1], 9000 + index, state == "ill")
    return made


def test_build_and_train_say_it(chain):
    healthy = next(name for name in chain["names"] if name != chain["ill"])
    assert f"class: Disease: {chain['ill']}; healthy: {healthy}" in chain["built"]
    records = json.loads((chain["directory"] / "records" / "dataset.json").read_text())
    assert records["labels"]["class"] == list(chain["names"]) and records["positive"] == {"class": [chain["ill"]]}
    task = chain["run"]["task"]
    assert tuple(task["class_names"]) == chain["names"] and [task["class_names"][i] for i in task["positive"]] == [
        chain["ill"]
    ]


def test_thresholds_catch_the_ill(chain):
    content = chain["evaluation"]
    assert content["positive_class"] == chain["ill"] and content["metrics"]["auc"] > 0.8
    assert {point["question"] for point in content["operating_points"]} == {chain["ill"]}
    ill = content["metrics"]["per_class"][chain["ill"]]["support"]
    for point in content["operating_points"]:
        assert point["true_positives"] + point["false_negatives"] == ill
    chosen = next(point for point in content["operating_points"] if point["name"].startswith("sensitivity ≥ 0.90"))
    assert chosen["sensitivity"] >= 0.7 and chosen["referred"] < 0.6  # a third of the eyes is ill
    page = (chain["directory"] / "run" / "evaluation" / "test" / "report.html").read_text()
    assert f"the probability of {chain['ill']} reaches it" in page and f"probability of {chain['ill']}" in page


def test_the_bundle_says_it(chain):
    bundle = chain["directory"] / "bundle"
    content = json.loads((bundle / "metadata.json").read_text())
    task, index = content["task"], chain["names"].index(chain["ill"])
    assert (task["positive_class"], task["positive_index"], task["positive_indices"]) == (chain["ill"], index, [index])
    assert content["warning"] is None
    wanted = f"Output {index} of `probabilities` (counted from 0) is the disease"
    card = (bundle / "MODEL_CARD.md").read_text()
    assert wanted in card and f"Operating point sensitivity_90: {chain['ill']} from a probability of" in card
    assert wanted in (bundle / "test_vectors" / "README.txt").read_text()


def answers(chain: dict[str, Any], files: list[Path]) -> list[Any]:
    from dr_edge.prediction.bundle import open_bundle
    from dr_edge.prediction.predictor import Predictor

    content = json.loads((chain["directory"] / "bundle" / "metadata.json").read_text())
    for part in (content, *content["artifacts"].values()):
        if "threshold" in part.get("ood", {}):
            part["ood"]["threshold"] = 1e9  # lesions that a child could see are unlike anything
    reseal(chain["directory"] / "bundle", content)
    predictor = Predictor(open_bundle(chain["directory"] / "bundle", min_quality=0.0))
    return [predictor.predict(file.read_bytes()).answer for file in files]


def test_an_ill_eye_is_answered_as_ill(chain, new_eyes):
    healthy = next(name for name in chain["names"] if name != chain["ill"])
    found = {state: answers(chain, files) for state, files in new_eyes.items()}
    for state, name in (("ill", chain["ill"]), ("healthy", healthy)):
        for answer in found[state]:
            decision = answer.decision
            assert decision.positive_class == chain["ill"] and decision.operating_point == "sensitivity_90"
            assert decision.probability == pytest.approx(answer.outputs.probabilities[chain["ill"]])
            assert decision.positive == (decision.probability >= decision.threshold)
            assert decision.class_name == (chain["ill"] if decision.positive else healthy)
            assert f"the probability of {chain['ill']}" in answer.message
        right = sum(answer.decision.class_name == name for answer in found[state])
        assert right >= len(found[state]) - 1, [answer.message for answer in found[state]]
