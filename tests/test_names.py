"""Names of files, folders, patients and classes in any script, and odd ones, pass through every command."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dr_edge import metadata, next_steps
from export.bundle import triton
from tfrecord_tools.items import Item, Listing, readable, with_readable_names

REPOSITORY = Path(__file__).resolve().parents[1]
NAME = "ñ 眼 Müller"
# A terminal that shows ASCII only: what is printed must not end a command.
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY), "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "TF_CPP_MIN_LOG_LEVEL": "2"}
FILES = (
    "{} ñ 眼",
    "it's {}",
    '"{}"',
    "{}, 50% #2",
    "-{}",
    "=[{}]*",
    "{}\u0301",
    "😀{}",
    "<b>{}<b>",
    "&amp;{}",
    "眼" * 70 + "{}",
    "a\tb{}",
)


def call(words: list[str], cwd: Path) -> subprocess.CompletedProcess:
    """Runs `python ...` to its end; its output is text whatever it holds."""
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=os.environ | ENVIRONMENT, capture_output=True, timeout=500,
        encoding="utf-8", errors="backslashreplace",
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, (
        f"{words}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    )
    return done


def next_command(done: subprocess.CompletedProcess) -> list[str]:
    """Returns the arguments of the command that a command says comes next, as a shell would take them apart."""
    printed = done.stdout.split("next: ")[1].splitlines()[0]
    plain = printed.encode("ascii").decode("unicode_escape")  # this terminal shows only ASCII
    words = shlex.split(plain)
    assert words[0] == "python"
    return words[1:]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A directory of photographs with odd names, and of a table that names their patients and classes."""
    from tfrecord_tools.synthetic.draw import draw_fundus

    root = tmp_path / f"{NAME} 50% #1" / "Bilder"
    root.mkdir(parents=True)
    rows = []
    for number in range(36):
        name = FILES[number % len(FILES)].format(number) + ".png"
        _, data = cv2.imencode(".png", cv2.cvtColor(draw_fundus(number, size=96).image, cv2.COLOR_RGB2BGR))
        (root / name).write_bytes(data.tobytes())
        rows.append([name, f"{NAME} {number}", ("normal", NAME)[number // 2 % 2], ("train", "val", "test")[number % 3]])
    with open(root.parent / "t ñ.csv", "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["Bild ñ", "Patient 眼", "class", "split"], *rows])
    return root


@pytest.mark.slow
def test_every_command(photographs: Path):
    place = photographs.parent
    records, run = place / "records", place / "run"
    build = [
        "-m", "tfrecord_tools.build", "--dataset=csv", f"--data_dir={photographs}", f"--csv={place / 't ñ.csv'}",
        "--image_column=Bild ñ", "--patient_column=Patient 眼", "--label_columns=class", "--split_column=split",
        "--image_size=64", "--workers=1", f"--out={records}",
    ]  # fmt: skip
    call(build, place)
    with open(records / "splits.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36 and {row["patient"] for row in rows} == {f"{NAME} {number}" for number in range(36)}
    call(["-m", "tfrecord_tools.verify", str(records)], place)
    call(["-m", "tfrecord_tools.inspect", str(records), f"--out={place / 'sheet ñ.png'}"], place)
    settings = place / "ñ.gin"
    classes = json.loads((records / "dataset.json").read_text(encoding="utf-8"))["labels"]["class"]
    settings.write_text(
        "include 'gin_configs/demo.gin'\ntrain.task = @tasks.label()\ntasks.label.name = 'class'\n"
        f"tasks.label.class_names = {tuple(classes)!r}\ntrain.epochs = 1\ntrain.batch_size = 4\n"
        "models.mobilenet_v3_cbam.stride = 32\n",
        encoding="utf-8-sig",
    )
    done = call(["-m", "dr_edge.train", f"--gin_file={settings}", f"--records={records}", f"--run_dir={run}"], place)
    evaluate = next_command(done)
    assert f"--run_dir={run}" in evaluate
    explain = next_command(call([*evaluate, "--noheatmap_checks"], place))
    with open(run / "evaluation" / "test" / "predictions.csv", newline="", encoding="utf-8") as file:
        assert all(NAME in row["patient"] for row in csv.DictReader(file))
    assert f"--images={records}" in explain
    export = next_command(call([*explain, "--methods=gradcam"], place))
    assert len(list((run / "heatmaps").glob("*.png"))) == 12
    lenient = ["--gin_param=export.settings.max_graph_auc_drop = 1.0", "--gin_param=export.settings.max_auc_drop = 1.0"]
    bench = next_command(call([*export, "--formats=float32", *lenient], place))
    bundle = place / "bundles" / "run"
    assert metadata.read_manifest(bundle, "bundle")["task"]["class_names"] == ["normal", NAME]
    assert (bundle / "labels.txt").read_text("utf-8") == f"normal\n{NAME}\n"
    done = call(
        ["-m", "dr_edge.predict", f"--bundle={bundle}", f"--overlay={place / 'Bilder ñ'}", str(photographs)], place
    )
    answers = json.loads(done.stdout)["answers"]
    assert {Path(answer["file"]).name for answer in answers} == {path.name for path in photographs.iterdir()}
    call([*bench, "--sessions=1", "--runs=5", "--min_secs=0", "--warmup_secs=0", "--warmup_runs=1"], place)
    assert (place / "bundles" / "run-bench" / "bench.md").is_file()


def latin1(directory: Path, name: bytes) -> Path:
    """Returns the path of a name whose bytes are no UTF-8, as Python reads it from a directory."""
    return directory / os.fsdecode(name)


def test_a_name_that_is_no_text_is_rejected_by_its_bytes(tmp_path: Path, save_synthetic: Callable[[Path, int], None]):
    from tfrecord_tools.assembly import build
    from tfrecord_tools.plan import BuildOptions

    for number in range(12):
        save_synthetic(tmp_path / "data" / ("normal", "glaucoma")[number % 2] / f"{number}.png", number)
    save_synthetic(latin1(tmp_path / "data" / "normal", b"M\xfcller.png"), 20)
    build(BuildOptions("folder", tmp_path / "data", tmp_path / "out", image_size=64, preprocess="crop"))
    with open(tmp_path / "out" / "rejected.csv", newline="", encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["normal/M\\xfcller.png"]


NO_TEXT = "its name is no UTF-8 text (bytes that are none stand as \\x..); rename it"
# where the odd folder lies -> the row of the photograph in it, as printed
FOLDERS = {
    "beside the classes": ([b"gesund\xfc"], "gesund\\xfc"),
    "in a class": ([b"normal", b"sub\xfc"], "normal/sub\\xfc"),
    "above": ([b"K\xf6ln", b"sick"], "K\\xf6ln/sick"),
    "deep": ([b"normal", b"a", b"\xff", b"b"], "normal/a/\\xff/b"),
}


@pytest.mark.parametrize("where", FOLDERS)
@pytest.mark.parametrize("inside", ["", "train"])
def test_photographs_in_a_folder_that_is_no_text_are_rejected_one_by_one(
    where: str, inside: str, tmp_path: Path, save_synthetic: Callable[[Path, int], None]
):
    from tfrecord_tools.assembly import build
    from tfrecord_tools.plan import BuildOptions
    from tfrecord_tools.verify import verify

    for number in range(8):
        save_synthetic(tmp_path / "data" / inside / ("normal", "sick")[number % 2] / f"{number}.png", number)
    if inside:
        for number in range(8, 12):
            save_synthetic(tmp_path / "data" / "test" / ("normal", "sick")[number % 2] / f"{number}.png", number)
    parts, shown = FOLDERS[where]
    odd = latin1(tmp_path / "data" / inside, b"/".join(parts))
    for number in range(2):  # copies of others, too
        save_synthetic(odd / f"{number}.png", number)
    build(BuildOptions("folder", tmp_path / "data", tmp_path / "out", image_size=64, preprocess="crop"))
    prefix = f"{inside}/" if inside else ""
    with open(tmp_path / "out" / "rejected.csv", newline="", encoding="utf-8") as file:
        rows = [(row["file"], row["reason"]) for row in csv.DictReader(file)]
    assert rows == [(f"{prefix}{shown}/{number}.png", NO_TEXT) for number in range(2)]
    manifest = metadata.read_manifest(tmp_path / "out", "dataset")
    assert manifest["labels"]["class"] == ["normal", "sick"]
    assert sum(part["examples"] for part in manifest["splits"].values()) == (12 if inside else 8)
    assert verify(tmp_path / "out") == []


def test_a_split_that_is_no_text_is_none(tmp_path: Path, save_synthetic: Callable[[Path, int], None]):
    from tfrecord_tools.catalogue import list_dataset
    from tfrecord_tools.items import Request

    for number in range(8):
        place = tmp_path / ("train", "test")[number // 4] / ("normal", "sick")[number % 2]
        save_synthetic(place / f"{number}.png", number)
    save_synthetic(latin1(tmp_path, b"val\xff") / "normal" / "9.png", 9)
    listing = list_dataset("folder", Request(tmp_path))
    assert sorted({item.split for item in listing.items}) == ["test", "train"] and len(listing.items) == 8
    assert listing.rejected == [("val\\xff/normal/9.png", NO_TEXT)]


@pytest.mark.parametrize("kept", [0, 1])
def test_fewer_than_two_classes_that_are_text(kept: int, tmp_path: Path, save_synthetic: Callable[[Path, int], None]):
    for number in range(2):
        save_synthetic(latin1(tmp_path / "data", b"a\xfc") / f"{number}.png", number)
        save_synthetic(latin1(tmp_path / "data", b"sick" if kept else b"b\xfc") / f"{number}.png", number + 5)
    done = subprocess.run(
        [sys.executable, "-m", "tfrecord_tools.build", "--dataset=folder", f"--data_dir={tmp_path}/data",
         f"--out={tmp_path}/out"], env=os.environ | ENVIRONMENT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"holds {kept} class folders with photographs ({'sick' if kept else ''}); two or more are" in done.stderr
    assert (
        f"{4 - 2 * kept} more lie under names that are no UTF-8 text, such as a\\xfc/0.png: rename them." in done.stderr
    )


def test_a_command_that_is_proposed_for_such_a_place_can_be_run():
    odd = f"/data/it's {os.fsdecode(b'K' + bytes([0xF6]))}ln"
    shown = next_steps.quoted(odd)
    assert shown.isascii() and shown.isprintable()
    printed = subprocess.run(["bash", "-c", f"printf %s {shown}"], capture_output=True, check=True).stdout
    assert os.fsdecode(printed) == odd


def test_a_message_with_such_a_name_is_printable(tmp_path: Path):
    place = os.fsencode(tmp_path) + b"/K\xf6ln"
    done = subprocess.run(
        [sys.executable, "-m", "tfrecord_tools.build", "--dataset=folder", b"--data_dir=" + place, b"--out=x"],
        env=os.environ | ENVIRONMENT, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 1 and rb"K\xf6ln is no directory" in done.stderr


@pytest.fixture
def save_synthetic() -> Callable[[Path, int], None]:
    """save_synthetic(path, seed): writes a drawn photograph as PNG, its folders too."""
    from tfrecord_tools.synthetic.draw import draw_fundus

    def save(path: Path, seed: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", draw_fundus(seed, size=96).image[..., ::-1])[1].tobytes())

    return save


def test_patients_and_paths_are_looked_at_too():
    odd = os.fsdecode(b"\xfc")
    items = [Item("a", "a.png", "p"), Item("b", "b.png", odd), Item("c", f"{odd}/c.png", "p"), Item(odd, "d.png", "p")]
    listing = with_readable_names(Listing({"class": ("x", "y")}, items, rejected=[(f"{odd}.txt", "no row")]))
    assert [item.image_id for item in listing.items] == ["a"]
    assert [file for file, _ in listing.rejected] == ["\\xfc.txt", "b.png", "\\xfc/c.png", "d.png"]
    assert readable("ñ 眼") == "ñ 眼"


def test_manifests_give_back_any_path(tmp_path: Path):
    odd = f"/data/{os.fsdecode(b'M' + bytes([0xFC]))}/ñ"
    metadata.write_json(tmp_path / "x.json", {"records": odd, "name": NAME})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"records": odd, "name": NAME}
    metadata.write_json(tmp_path / "y.json", {"name": NAME})
    assert NAME in (tmp_path / "y.json").read_text(encoding="utf-8"), "readable where it can be"
    metadata.write_text(tmp_path / "z.txt", odd)
    assert (tmp_path / "z.txt").read_text(encoding="utf-8") == "/data/M\\udcfc/ñ"


def test_a_manifest_that_an_editor_saved_with_a_byte_order_mark_is_read(tmp_path: Path):
    metadata.write_manifest(tmp_path, "evaluation", {"split": "test", "task": {}, "metrics": {}, "images": 1})
    path = metadata.manifest_path(tmp_path, "evaluation")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert metadata.read_manifest(tmp_path, "evaluation")["images"] == 1


@pytest.mark.parametrize("name", ["眼" * 120, "a" * 300, "../..", "M\udcfcller", "a\nb/c", "😀" * 90])
def test_a_picture_can_be_called_after_anything(name: str, tmp_path: Path):
    stem = metadata.safe_name(name, "photograph")
    assert stem and "/" not in stem and "\n" not in stem
    metadata.write_bytes(tmp_path / f"{stem}.integrated_gradients.{metadata.safe_name(name, 'x')}.png", b"")


def test_a_class_name_is_one_line_of_a_labels_file():
    assert triton.label_lines(["no DR", "PDR\nor worse", NAME]) == f"no DR\nPDR or worse\n{NAME}\n"


def test_ids_are_read_as_text():
    from dr_edge.data.records import as_text

    assert as_text(np.array([NAME.encode(), b"a"], dtype=object)).tolist() == [NAME, "a"]


def test_the_next_command_can_be_pasted(tmp_path: Path):
    run = tmp_path / f"it's {NAME}"
    words = shlex.split(next_steps.after_evaluation(run, "a b", "val"))
    assert words[:3] == ["python", "-m", "dr_edge.explain"]
    assert words[3:] == [f"--run_dir={run}", "--images=a b", "--split=val", "--limit=12", f"--out={run / 'heatmaps'}"]
    (run / "heatmaps").mkdir(parents=True)
    assert shlex.split(next_steps.after_evaluation(run, "a b", "val"))[2:] == [
        "export",
        f"--run_dir={run}",
        f"--out=bundles/{run.name}",
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_predict_answers_what_lies_in_a_folder_that_is_no_text(
    workers: int, stand_in_bundle: Path, tmp_path: Path, save_synthetic: Callable[[Path, int], None]
):
    eyes = latin1(tmp_path, b"K\xf6ln")
    for number in range(2):
        save_synthetic(eyes / f"{number}.png", number)
    (eyes / "notes.txt").write_text("no photograph")
    asked = [f"--bundle={stand_in_bundle}", f"--overlay={tmp_path / 'o'}", f"--workers={workers}", "--heatmaps=all"]
    done = call(["-m", "dr_edge.predict", *asked, str(eyes)], tmp_path)
    answers = json.loads(done.stdout)["answers"]
    assert [answer["file"] for answer in answers] == [f"{tmp_path}/K\\xf6ln/{number}.png" for number in range(2)]
    assert all(answer["status"] != "unreadable" for answer in answers)
    assert "notes.txt" in done.stderr and "\\udc" not in done.stdout + done.stderr
    assert all((tmp_path / "o" / answer["overlay"]).is_file() for answer in answers if answer.get("overlay"))
