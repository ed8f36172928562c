"""Every page that the product writes fits the width of a phone, and its tables that of a desk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from page_actions import READY, grade, opened
from page_browser import Browser
from resealed import reseal

from dr_edge import demo
from dr_edge.calibration import store
from dr_edge.data import tasks
from dr_edge.evaluation import flow as evaluation
from dr_edge.evaluation.number_text import number
from dr_edge.explanation import flow as explanation
from export.bundle.write import export_run
from export.settings import Settings

PHONE, DESK = (390, 844), (1280, 800)
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
SCROLLED = (
    "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth).map((one) => "
    "one.innerText.slice(0, 80))"
)
CUT = """[...document.querySelectorAll('svg')].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter((text) => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left - 1.5 || box.right > frame.right + 1.5;
  }).map((text) => text.textContent);
})"""
PIXELS = """(() => {
  const canvas = document.querySelector('.frame.square canvas');
  const context = canvas.getContext('2d');
  const read = (x, y, width) => [...context.getImageData(x, y, width, width).data].filter((_, i) => i % 4 < 3);
  return {middle: read(120, 120, 240).reduce((sum, value) => sum + value, 0), corner: read(0, 0, 40)};
})()"""
LONG = ("proliferative_diabetic_retinopathy_with_macular_oedema", "glaucoma and suspects of it")
POOR = {
    "status": "not_told", "title": "Not told from guessing",
    "text": "Not told from guessing: AUC 0.55, guessing gives 0.50.",
    "caution": "Not told from guessing on the test images: AUC 0.55, guessing gives 0.50. Do not rely on this answer.",
    "baseline": "guessing", "value": 0.55, "interval": [0.4, 0.7], "split": "test", "images": 40, "patients": 30,
    "parts": [],
}  # fmt: skip
UNUSABLE = "The probabilities are not usable as such: the temperature 19.999 stands at an end of its range."


@pytest.fixture(scope="module")
def pages(stand_in_run, stand_in_records, write_run, make_model, bundle_dir, tmp_path_factory) -> dict[str, Path]:
    """One page of each kind; the names on them are long ones."""
    root = tmp_path_factory.mktemp("pages")
    run = shutil.copytree(
        stand_in_run, root / "demo" / "run", ignore=shutil.ignore_patterns("evaluation", store.DIRECTORY)
    )
    made = {"parity": bundle_dir / "parity.html"}
    several = write_run(
        root / f"run_{'of_a_long_name_' * 4}", tasks.diseases(("dr_grade", "glaucoma"), LONG), make_model(2)
    )
    grades = write_run(root / "grades", tasks.dr_grade(), make_model(5))
    masks = write_run(root / "masks", tasks.optic_disc_and_cup(), _mask_model())
    for name, directory in (("classes", run), ("diseases", several), ("grades", grades), ("masks", masks)):
        evaluation.evaluate(directory, evaluation.Settings(examples=2, heatmap_checks=name == "classes"))
        made[f"evaluation of {name}"] = directory / "evaluation" / "test" / "report.html"
    export_run(masks, root / "bundle", ("float32",), settings=Settings(max_graph_dice_drop=1.0, triton=False))
    made["parity of masks"] = root / "bundle" / "parity.html"
    explanation.explain(run, str(stand_in_records), ["gradcam", "saliency"], root / "demo" / "heatmaps", limit=3)
    explanation.explain(several, str(stand_in_records), ["gradcam"], root / "maps", limit=2, heat_maps="all")
    made |= {
        "heat maps": root / "demo" / "heatmaps" / "index.html",
        "heat maps of diseases": root / "maps" / "index.html",
    }
    (root / "demo" / "bench").mkdir()
    for name in ("bench/choice.png", "sheet.png"):
        cv2.imwrite(str(root / "demo" / name), np.full((500, 1900, 3), 200, np.uint8))
    rows = [
        {"name": f"model.{kind}.tflite", "accuracy": 0.97, "auc": 0.999, "drop": 0.0, "bytes": 3e5, "latency": 2.0}
        for kind in ("float32", "dynamic_int8")
    ]
    made["demo"] = demo.write_report(root / "demo", rows, 5.5)
    return made


def _mask_model():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    inputs = keras.Input((64, 64, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, layers.Conv2D(2, 1, name="logits")(x))


KINDS = (
    "evaluation of classes", "evaluation of diseases", "evaluation of grades", "evaluation of masks", "parity",
    "parity of masks", "heat maps", "heat maps of diseases", "demo",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_fits_a_phone_and_its_tables_a_desk(pages: dict[str, Path], browser: Browser, kind: str) -> None:
    assert set(pages) == set(KINDS)
    with opened(browser, pages[kind].as_uri(), width=PHONE[0], height=PHONE[1]) as tab:
        whole, seen = tab.run(WIDTHS)
        assert whole <= seen, f"{kind}: {whole} px wide in a window of {seen}"
        assert tab.run(CUT) == []
    with opened(browser, pages[kind].as_uri(), width=DESK[0], height=DESK[1]) as tab:
        whole, seen = tab.run(WIDTHS)
        assert whole <= seen and tab.run(SCROLLED) == [] and tab.run(CUT) == []


TILES = """[...document.querySelectorAll('.tile b')].filter((one) => {
  one.textContent = '>\\u00a00.999';
  const range = document.createRange();
  range.selectNodeContents(one);
  const [text, tile] = [range.getBoundingClientRect(), one.parentElement.getBoundingClientRect()];
  return range.getClientRects().length > 1 || text.right > tile.right - 8;
}).length"""


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_the_longest_number_stands_in_one_line_of_its_tile(
    pages: dict[str, Path], browser: Browser, size: tuple[int, int]
) -> None:
    assert "\u00a0" in number(0.99999)
    for kind in ("evaluation of classes", "evaluation of grades", "evaluation of masks", "demo"):
        with opened(browser, pages[kind].as_uri(), width=size[0], height=size[1]) as tab:
            assert tab.run("document.querySelectorAll('.tile b').length") > 2 and tab.run(TILES) == 0, kind


def test_the_verdict_is_the_first_thing_on_a_report(pages: dict[str, Path], browser: Browser) -> None:
    for kind in KINDS:
        with opened(browser, pages[kind].as_uri(), width=PHONE[0], height=PHONE[1]) as tab:
            top = tab.run("document.querySelector('.verdict').getBoundingClientRect().top")
            assert 0 < top < PHONE[1] / 2, kind  # seen without scrolling
            others = (
                "[...document.querySelectorAll('table, .tiles, figure, svg')].every((one) => "
                "one.getBoundingClientRect().top > %f)"
            )
            assert tab.run(others % top), kind


def test_parity_of_masks_shows_cup_and_ratio(pages: dict[str, Path]) -> None:
    page = pages["parity of masks"].read_text()
    for words in ("Dice of the optic disc", "Dice of the optic cup", "vCDR error"):
        assert f"<th>{words}</th>" in page and page.count(words) >= 3, words


@pytest.fixture(scope="module")
def poor_server(start_server, vendored: Path, bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    poor = shutil.copytree(bundle_dir, tmp_path_factory.mktemp("poor") / "bundle")
    content = json.loads((poor / "metadata.json").read_text())
    for point in content["operating_points"]:
        point["threshold"] = 1.0  # no answer is positive
    reseal(poor, content | {"verdict": POOR, "calibration": content["calibration"] | {"caution": UNUSABLE}})
    with start_server(poor, "--workers=1") as running:
        yield running


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_the_page_of_a_poor_model_says_so_and_fits(
    poor_server, browser: Browser, synthetic, size: tuple[int, int]
) -> None:
    with opened(browser, poor_server.url, width=size[0], height=size[1]) as tab:
        tab.wait(READY)
        assert tab.run("document.getElementById('verdict').innerText") == POOR["text"]
        whole, seen = tab.run(WIDTHS)
        assert whole <= seen
        (answer,) = grade(tab, synthetic[0])
        assert answer["message"].startswith(POOR["caution"])
        tab.wait("!document.getElementById('shown').hidden")
        shown = tab.run("document.querySelector('.card .verdict').innerText")
        assert shown.lower().index("not told from guessing: ") < shown.index(POOR["caution"])
        assert tab.run("document.querySelector('.card .verdict').dataset.tone") == "stop"
        assert "Not told from guessing: " in tab.run("document.querySelector('.item-said').innerText")
        facts = tab.run("document.querySelector('.card .facts').innerText")
        assert (
            UNUSABLE in facts
            and "not calibrated: probabilities" in facts.lower()
            and "\ncalibrated" not in facts.lower()
        )
        whole, seen = tab.run(WIDTHS)
        assert whole <= seen
    with opened(browser, f"{poor_server.url}/docs", width=size[0], height=size[1]) as tab:
        whole, seen = tab.run(WIDTHS)
        assert whole <= seen


def test_a_good_model_has_no_banner(server, browser: Browser) -> None:
    with opened(browser, server.url) as tab:
        tab.wait(READY)
        assert tab.run("document.getElementById('verdict').hidden")


def test_a_heat_map_of_no_disease_is_shown_on_request(poor_server, browser: Browser, synthetic) -> None:
    with opened(browser, poor_server.url) as tab:
        tab.wait(READY)
        (answer,) = grade(tab, synthetic[0])
        assert answer["status"] == "answered" and answer["decision"]["positive"] is False
        tab.wait("!document.getElementById('shown').hidden")
        pictures = "document.querySelector('.pictures').innerText"
        assert "No heat map" in tab.run(pictures) and "Grad-CAM" not in tab.run(pictures)
        assert tab.run("document.querySelectorAll('.slider').length") == 0
        plain = tab.run(PIXELS)
        button = (
            "[...document.querySelectorAll('figure button')].find((one) => one.textContent === 'Show the heat map "
            "anyway')"
        )
        tab.run(f"{button}.click()")
        assert "Grad-CAM" in tab.run(pictures) and tab.run("document.querySelectorAll('.slider').length") == 1
        heated = tab.run(PIXELS)
        # Nothing lies on the black around the eye.
        assert heated["middle"] != plain["middle"] and max(heated["corner"]) < 30
