"""Overlays: what is shown where, and that words fit."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from dr_edge.data import tasks
from dr_edge.drawing import captions, overlay


def photograph(side=64):
    image = np.zeros((side, side, 3), np.uint8)
    cv2.circle(image, (side // 2, side // 2), side // 2 - 2, (200, 100, 40), -1)
    return image


def test_heat_shows_where_it_is_and_nowhere_else():
    image, heat = photograph(), np.zeros((64, 64), np.float32)
    cold = overlay.lay_over(image, heat)
    heat[20:30, 20:30] = 1
    hot = overlay.lay_over(image, heat)
    changed = (hot != cold).any(axis=-1)
    assert changed[20:30, 20:30].all() and changed.sum() == 100
    assert hot[25, 25].mean() > cold[25, 25].mean() + 50  # lighter, not only another hue
    assert not np.shares_memory(cold, image) and (image == photograph()).all()


def test_lightness_rises_with_heat():
    grey = cv2.cvtColor(overlay.colours(np.linspace(0, 1, 256))[None], cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)
    assert (np.diff(grey) >= -1).all() and grey[-1] - grey[0] > 180


@pytest.mark.parametrize("heat", [np.full((64, 64), 1.5), np.full((64, 64), np.nan), np.zeros((32, 32))])
def test_bad_heat_is_refused(heat):
    with pytest.raises(ValueError):
        overlay.lay_over(photograph(), heat)


def test_masks_keep_the_picture_outside():
    image, masks = photograph(), np.zeros((64, 64, 2), bool)
    masks[20:40, 20:40, 0], masks[25:30, 25:30, 1] = True, True
    drawn = overlay.draw_masks(image, masks)
    assert (drawn[:15] == image[:15]).all() and (drawn[30, 20] != image[30, 20]).any()


@pytest.mark.parametrize("name", ["short", "a very long name of a photograph " * 8, "täglich ≥ 2 · 50 %", "日本"])
def test_words_stay_on_the_panel(name):
    caption = overlay.Caption("Grad-CAM of referable", "referable" * 9, 0.87, "labelled non-referable", False, name)
    picture = overlay.panel(photograph(), photograph(), caption)
    right = picture[
        overlay.PANEL + overlay.MARGIN :,
        overlay.MARGIN + overlay.PANEL + 6 : 2 * overlay.MARGIN + overlay.PANEL - 2,
    ]
    assert (right == overlay.BACKGROUND).all()  # nothing runs from the left column into the right one
    assert cv2.imdecode(np.frombuffer(overlay.encode_png(picture), np.uint8), cv2.IMREAD_COLOR).shape == picture.shape


def test_percent_never_claims_certainty():
    assert [overlay.percent(value) for value in (1.0, 0.995, 0.87, 0.004, 0.0)] == [
        "> 99 %",
        "> 99 %",
        "87 %",
        "< 1 %",
        "< 1 %",
    ]


def test_captions_say_answer_confidence_and_label():
    task = tasks.referable_dr()
    wrong = captions.caption(task, np.array([0.13, 0.87]), 0, "eye", "Grad-CAM")
    assert (wrong.headline, wrong.detail, wrong.correct) == (
        "referable · 87 %",
        "labelled non-referable",
        False,
    )
    unknown = captions.caption(task, np.array([0.13, 0.87]), None, "eye", "Grad-CAM")
    assert unknown.detail == captions.NO_LABEL and unknown.correct is None
    diseases = tasks.diseases(("glaucoma", "DR"))
    absent = captions.caption(diseases, np.array([0.2, 0.1]), np.array([0, -1]), "eye", "Grad-CAM")
    assert (absent.headline, absent.correct) == ("no glaucoma · 80 %", True)
    assert (absent.title, absent.explains) == ("Grad-CAM of glaucoma, probability 20 %", "glaucoma")
    missing = captions.caption(diseases, np.array([0.2, 0.9]), np.array([0, -1]), "eye", "Grad-CAM")
    assert missing.correct is None and missing.detail == "no label given for DR"


@pytest.mark.parametrize("answer", ["referable", "non-referable"])
def test_a_right_answer_is_not_green(answer):
    """Nobody may take the colour of a disease that was found rightly for that of a healthy eye."""
    captions_of = {right: overlay.Caption("", answer, 0.9, "labelled", right) for right in (True, False, None)}
    shown = {}
    for right, caption in captions_of.items():
        drawn = overlay.panel(photograph(), photograph(), caption)[overlay.MARGIN + overlay.PANEL :].astype(int)
        vivid = drawn[np.ptp(drawn, axis=-1) > 60]
        assert (vivid[:, 1] < vivid.max(axis=1)).all()
        shown[right] = tuple(np.median(vivid, axis=0)) if len(vivid) else None
    assert shown[True] != shown[False] and shown[None] is None


@pytest.mark.parametrize("page", ["drawing/style.css", "explanation/index.html.j2"])
def test_nor_is_it_green_on_a_page(page):
    rules = (Path(overlay.__file__).parents[1] / page).read_text(encoding="utf-8")
    (name,) = re.findall(r"b\.right { color: (?:rgb\()?var\((--[a-z]+)\)", rules)
    values = re.findall(rf"{name}: ([^;]+);", rules)
    assert len(values) == 2  # in light and in dark
    for value in values:
        channels = (
            [int(part, 16) for part in re.findall("..", value[1:])]
            if value.startswith("#")
            else [int(part) for part in value.split()]
        )
        assert channels[2] == max(channels) > channels[1]


def test_multilabel_explains_every_disease_and_classification_the_likeliest_class():
    scores = np.array([[0.2, 0.8], [0.9, 0.1], [0.4, 0.3]])
    diseases = tasks.diseases(("glaucoma", "DR"))
    assert [part.tolist() for part in captions.explained_classes(diseases, scores)] == [[0, 0, 0], [1, 1, 1]]
    assert [part.tolist() for part in captions.explained_classes(diseases, scores, ["DR"])] == [[1, 1, 1]]
    likeliest = captions.explained_classes(tasks.referable_dr(), scores)
    assert [part.tolist() for part in likeliest] == [[1, 0, 0]]


def test_mask_captions_state_dice_or_what_is_missing():
    task = tasks.optic_disc_and_cup()
    truth, scores = np.zeros((8, 8, 2)), np.zeros((8, 8, 2))
    truth[2:6, 2:6, :], scores[2:6, 2:6, 0] = 1, 0.9
    caption = captions.mask_caption(task, scores, truth, "eye")
    assert caption.answer == "optic cup not found" and caption.detail == "Dice: optic disc 1.00, optic cup 0.00"
    assert captions.mask_caption(task, scores, None, "eye").detail == captions.NO_LABEL


def test_a_point_is_drawn_as_a_cross_and_not_judged_as_a_mask():
    task = tasks.optic_disc_cup_and_fovea()
    y, x = np.mgrid[:64, :64]
    heat = 0.9 * np.exp(-((x - 40) ** 2 + (y - 20) ** 2) / 50)  # above a half in a disc of 30 pixels
    scores = np.dstack([np.hypot(x - 15, y - 30) < 9, np.hypot(x - 15, y - 30) < 4, heat]).astype(float)
    picture = overlay.draw_found(np.full((64, 64, 3), 100, np.uint8), scores, range(2, 3))
    pink = (picture == overlay.MASK_COLOURS[2]).all(axis=-1)
    rows, columns = np.nonzero(pink)
    assert pink[20, 37:44].all() and pink[17:24, 40].all() and len(rows) < 15
    assert (rows.mean(), columns.mean()) == (20, 40)
    disc = (picture == overlay.MASK_COLOURS[0]).all(axis=-1)
    assert disc.sum() > 30 and not disc[10:30, 30:].any()
    caption = captions.mask_caption(task, scores, scores > 0.5, "eye")
    assert caption.title == "outlines: optic disc, optic cup; cross: fovea"
    assert caption.detail == "Dice: optic disc 1.00, optic cup 1.00"
    nothing = captions.mask_caption(task, 0 * scores, None, "eye")
    assert nothing.answer == "optic disc, optic cup not found"


def test_a_point_at_the_border_is_drawn_within_the_picture():
    heat = np.zeros((64, 64, 1))
    heat[0, 63] = 1
    picture = overlay.draw_found(np.zeros((64, 64, 3), np.uint8), heat, [0])
    assert picture.shape == (64, 64, 3) and tuple(picture[0, 63]) == overlay.MASK_COLOURS[0]
