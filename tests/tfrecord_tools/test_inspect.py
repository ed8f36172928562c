"""The contact sheet: what is written on it can be read, and the command writes what its --out says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dr_edge.metadata import read_manifest
from tfrecord_tools import sheet, sheet_plots
from tfrecord_tools.reading import read_examples

SIGNATURES = {".png": b"\x89PNG", ".jpg": b"\xff\xd8\xff", ".JPEG": b"\xff\xd8\xff"}
MASKS = ["optic_disc", "optic_cup", "microaneurysms", "haemorrhages", "hard_exudates", "cotton_wool_spots", "vessels"]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of eight drawn photographs."""
    out = tmp_path_factory.mktemp("inspect") / "records"
    command = ["--dataset=synthetic", "--limit=8", "--image_size=64", f"--out={out}"]
    done = subprocess.run(
        [sys.executable, "-m", "tfrecord_tools.build", *command], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return out


def inspect(records: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tfrecord_tools.inspect", str(records), f"--out={out}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("ending", SIGNATURES)
def test_the_ending_of_out_is_honoured_and_nothing_foreign_is_logged(records: Path, tmp_path: Path, ending: str):
    done = inspect(records, tmp_path / f"sheet{ending}", "--examples=1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"sheet{ending}").read_bytes().startswith(SIGNATURES[ending])
    assert "category" not in done.stderr and "categorical" not in done.stderr


@pytest.mark.parametrize("name", ["sheet.gif", "sheet"])
def test_another_ending_is_refused_before_anything_is_read(records: Path, tmp_path: Path, name: str):
    done = inspect(records, tmp_path / name)
    assert done.returncode == 1 and "written as .png or .jpg" in done.stderr and not done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", range(1, 8))
def test_every_name_on_the_legend_can_be_read_and_told_apart(count: int):
    colours = sheet.palette(MASKS[:count])
    assert list(colours) == MASKS[:count]
    for colour in [*colours.values(), sheet.CENTRE, sheet.INK, sheet.MUTED, sheet.BOX]:
        assert sheet.contrast(colour, sheet.BACKGROUND) >= 4.5  # WCAG 2.2, small letters
    distinct = np.array([*colours.values(), sheet.BOX, sheet.CENTRE], int)
    apart = np.abs(distinct[:, None] - distinct[None]).max(axis=-1)[~np.eye(len(distinct), dtype=bool)]
    assert apart.min() > 60


def test_contrast_is_that_of_wcag():
    assert sheet.contrast((255, 255, 255), (0, 0, 0)) == pytest.approx(21)
    assert sheet.contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)  # the WCAG's own example


def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[int, int]]]:
    """Returns the list that every text drawn from now on is added to."""
    texts: list[tuple[str, tuple[int, int]]] = []
    draw = sheet.cv2.putText

    def note(image: Any, text: str, place: tuple[int, int], *rest: Any) -> Any:
        texts.append((text, place))
        return draw(image, text, place, *rest)

    monkeypatch.setattr(sheet.cv2, "putText", note)
    return texts


def test_the_legend_says_marks_only_where_there_are_some(monkeypatch: pytest.MonkeyPatch):
    texts = written(monkeypatch)
    sheet.draw_legend({}, (), 1600)
    assert [text for text, _ in texts][-1] == "photograph"
    texts.clear()
    narrow = sheet.draw_legend(sheet.palette(MASKS), ("fovea",), 500)
    assert [text for text, _ in texts][2:] == [
        "photograph with marks:",
        *(name.replace("_", " ") for name in MASKS),
        "+ fovea",
    ]
    for text, (x, y) in texts:
        right = x + sheet.cv2.getTextSize(text, sheet.cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0]
        assert right <= 500 and y < len(narrow)


def test_the_size_stands_below_the_frame_and_not_on_it(records: Path, monkeypatch: pytest.MonkeyPatch):
    example = next(read_examples(records, "train"))
    texts = written(monkeypatch)
    sheet.draw_frame(example)
    assert texts == []
    sheet.draw_row("train", [example], {}, 1)
    height, width = example.numbers("image/source_size")
    caption, place = texts[-1]
    assert f"{width:.0f}x{height:.0f}" in caption and place[1] > sheet.CELL + 22


@pytest.mark.parametrize(("photographs", "panels"), [(8, 4), (6, 5)])
def test_the_panel_of_copies_is_there_where_copies_are(
    records: Path, monkeypatch: pytest.MonkeyPatch, photographs: int, panels: int
):
    from matplotlib import pyplot

    made: list[Any] = []
    close = pyplot.close
    monkeypatch.setattr(pyplot, "close", lambda figure: (made.append(figure), close(figure)))
    manifest = read_manifest(records, "dataset")
    sizes = {"1": photographs} if photographs == 8 else {"1": 4, "2": 2}
    manifest["copies"] |= {"files": 8, "photographs": photographs, "sizes": sizes}
    strip = sheet_plots.draw_plots(manifest, {"train": [(90, 80)]}, {"train": [0.9]}, 900)
    assert strip.shape == (300, 900, 3)
    (figure,) = made
    assert len(figure.axes) == panels  # dr_grade, glaucoma, size, quality, and copies
    assert ("no copies among 8 files" in figure.get_suptitle()) == (panels == 4)
    grades = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    found = sorted({int(key) for part in manifest["splits"].values() for key in part["classes"]["dr_grade"]})
    assert grades == [manifest["labels"]["dr_grade"][value] for value in found] and "0" not in grades


@pytest.mark.parametrize(("width", "turned"), [(500, True), (2400, False)])
def test_bars_are_named_by_their_classes_and_the_names_have_room(
    records: Path, monkeypatch: pytest.MonkeyPatch, width: int, turned: bool
):
    from matplotlib import pyplot

    made: list[Any] = []
    monkeypatch.setattr(pyplot, "close", made.append)
    manifest = read_manifest(records, "dataset")
    manifest["splits"]["train"]["classes"]["glaucoma"] = {"0": 4, "1": 2, "-1": 1}
    sheet_plots.draw_plots(manifest, {"train": [(90, 80)]}, {"train": [0.9]}, width)
    labels = made[0].axes[1].get_xticklabels()
    assert [label.get_text() for label in labels] == ["missing", *manifest["labels"]["glaucoma"]]
    assert (labels[0].get_rotation() != 0) == turned
    boxes = [label.get_window_extent() for label in labels]
    assert turned or all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))
