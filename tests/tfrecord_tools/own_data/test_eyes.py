"""Eyes of one patient are told by the names that people give; strangers are not thrown together in crowds."""

from __future__ import annotations

from collections import Counter

import pytest

from tfrecord_tools.own_data.eyes import MOST_PHOTOGRAPHS, group_eyes, patients_in_words, side_of


@pytest.mark.parametrize(
    "names",
    [
        ("10_left.jpeg", "10_right.jpeg"),
        ("10_LEFT.JPG", "10_right.jpg"),
        ("10_left.jpeg", "10_right.png"),
        ("10-OS.png", "10-OD.png"),
        ("10 OS.png", "10 OD.png"),
        ("10(OS).png", "10(OD).png"),
        ("10_L.png", "10_R.png"),
        ("10_l", "10_r"),
        ("10L.png", "10R.png"),
        ("L10.png", "R10.png"),
        ("left_10.png", "right_10.png"),
        ("OD-10.tif", "OS-10.tif"),
        ("LeftEye10.png", "RightEye10.png"),
        ("10_left_eye.jpg", "10_right_eye.jpg"),
        ("10Left.jpg", "10Right.jpg"),
        ("meierLeft.jpg", "meierRight.jpg"),
        ("10_OD_20240101_1.jpg", "10_OS_20240102_1.jpg"),
        ("10_left.jpeg.jpg", "10_right.jpeg.jpg"),
        ("10.OD", "10.OS"),
        ("p10/left.jpg", "p10/right.jpg"),
        ("p10/OD_1.jpg", "p10/OS_2.jpg"),
        ("left/10.jpg", "right/10.jpg"),
        ("10_od.jpg", "10_os.jpg"),
        ("10_OD.jpg", "10_OI.jpg"),
        ("a/10_left.jpg", "b/10_right.jpg"),
        ("M\u00fcller_OS.jpg", "m\u00fcller_OD.jpg"),
    ],
)
def test_both_eyes_are_of_one_patient_and_strangers_are_not(names: tuple[str, str]):
    others = tuple(name.replace("10", "11").replace("eier", "aier").replace("ller", "hler") for name in names)
    eyes = group_eyes([*names, *others])
    assert all(eye.told for eye in eyes)
    assert eyes[0].patient == eyes[1].patient != eyes[2].patient == eyes[3].patient
    assert {eyes[0].side, eyes[1].side} == {"left", "right"}


@pytest.mark.parametrize(
    "name",
    [
        "bright.jpg", "copyright.png", "red.png", "20051020_38557_0100_PP.png", "0024cdab0c1e.png", "IDRiD_001.jpg",
        "drishtiGS_001.png", "g0001.jpg", "ordinary.png", "oslo.png", "models.png",
    ],
)  # fmt: skip
def test_other_names_say_nothing(name: str):
    assert group_eyes([name])[0].told is False and group_eyes([name])[0].patient == name


def test_a_word_before_the_side_is_no_patient():
    eyes = group_eyes([f"fundus_{side}_{number:03d}.png" for number in range(30) for side in ("left", "right")])
    assert max(Counter(eye.patient for eye in eyes).values()) == 2
    assert eyes[0].patient == eyes[1].patient


def test_many_small_folders_are_patients_in_whatever_class_they_lie():
    paths = [f"p{number}/{name}.jpg" for number in range(12) for name in ("a", "b")]
    assert len({eye.patient for eye in group_eyes(paths)}) == 12
    visits = [f"p{number}/2024-0{visit}/left.jpg" for number in range(12) for visit in (1, 2)]
    assert len({eye.patient for eye in group_eyes(visits)}) == 12
    split = [f"{('normal', 'glaucoma')[side]}/p{number}/x{side}.jpg" for number in range(12) for side in (0, 1)]
    assert len({eye.patient for eye in group_eyes(split)}) == 12


def test_large_folders_are_no_patients():
    eyes = group_eyes([f"clinic{place}/{number}.jpg" for place in range(3) for number in range(60)])
    assert not any(eye.told for eye in eyes)
    eyes = group_eyes([f"{number}/same_left.jpg" for number in range(MOST_PHOTOGRAPHS + 1)])
    assert max(Counter(eye.patient for eye in eyes).values()) == 1


def test_one_letter_at_the_end_of_a_few_names_says_nothing_of_the_side():
    eyes = group_eyes(["1_r.png", "2_r.png", *(f"{number}.png" for number in range(3, 20))])
    assert {eye.side for eye in eyes} == {""}


def test_sides_in_cells():
    cells = ["left", "OD", "Left eye", "R", " os ", "", "both", "LA", "RA", "li", "re"]
    assert [side_of(cell) for cell in cells] == [
        "left",
        "right",
        "left",
        "right",
        "left",
        "",
        None,
        "left",
        "right",
        "left",
        "right",
    ]


def test_german_marks_keep_the_eyes_of_a_patient_together():
    for left, right in (("li", "re"), ("LA", "RA"), ("links", "rechts")):
        eyes = group_eyes([f"Pat{number}_{side}.jpg" for number in range(5) for side in (left, right)])
        assert [eye.patient for eye in eyes] == [f"Pat{number}" for number in range(5) for _ in range(2)]
        assert [eye.side for eye in eyes] == ["left", "right"] * 5
    assert {eye.side for eye in group_eyes(["Li_001.jpg", "Wang_002.jpg"])} == {""}


def test_patients_in_words():
    assert "10" in patients_in_words(group_eyes(["10_left.png", "10_right.png", "x.png"]))
    assert "1 whose name says nothing" in patients_in_words(group_eyes(["10_left.png", "10_right.png", "x.png"]))
    assert "splits are by photograph" in patients_in_words(group_eyes(["a.png", "b.png"]))


@pytest.mark.parametrize(
    "names",
    [
        ("P7-20240501-L.jpg", "P7-20250612-R.jpg"), ("2024-05-01_P7_OD.jpg", "2025-06-12_P7_OS.jpg"),
        ("P7_01.05.2024_L.jpg", "P7_12.06.2025_R.jpg"), ("P7_L_20240501.jpg", "P7_R_20250612.jpg"),
        ("P7_left_20240501_2.jpg", "P7_right_2.jpg"),
    ],
)  # fmt: skip
def test_the_day_of_a_visit_is_no_part_of_the_patient(names):
    others = [name.replace("P7", "P8") for name in names]
    one, other, third, fourth = (eye.patient for eye in group_eyes([*names, *others]))
    assert one == other != third == fourth


def test_a_name_of_a_day_and_an_eye_keeps_the_day():
    assert [
        eye.patient for eye in group_eyes(["20240501_L.jpg", "20240501_R.jpg", "20250612_L.jpg", "20250612_R.jpg"])
    ] == ["20240501"] * 2 + ["20250612"] * 2
    numbers = ["20391502_L.jpg", "20391502_R.jpg", "12345678901_L.jpg", "12345678901_R.jpg"]  # no days
    assert [eye.patient for eye in group_eyes(numbers)] == ["20391502"] * 2 + ["12345678901"] * 2
