"""`python -m dr_edge.predict` as a user calls it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import cv2
import pytest

from dr_edge.prediction import flow
from dr_edge.prediction.bundle import open_bundle
from dr_edge.prediction.predictor import Predictor

MODULES = "tensorflow", "keras", "jax", "torch", "matplotlib", "scipy", "sklearn", "gin"
REPOSITORY = Path(__file__).resolve().parents[2]


def call(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dr_edge.predict", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=REPOSITORY, **options)


def test_a_directory_is_answered_and_what_is_unreadable_listed(bundle_dir, photographs, tmp_path):
    for path in photographs.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "cut.jpg").write_bytes((photographs / "a.jpg").read_bytes()[:5000])
    data = (photographs / "a.jpg").read_bytes()
    (tmp_path / "hole.jpg").write_bytes(data[: len(data) // 2] + data[len(data) // 2 + 3000 :])
    (tmp_path / "notes.txt").write_text("left eye")
    (tmp_path / ".hidden").write_text("not a photograph, and not looked at")
    (tmp_path / "more").mkdir()
    result = call("--bundle", bundle_dir, tmp_path, tmp_path / "notes.txt", tmp_path / "missing.jpg")
    assert result.returncode == 1
    assert "passed over more/, notes.txt (" in result.stderr  # of the directory; what is named is tried
    content = json.loads(result.stdout)
    assert (content["schema"], content["schema_version"]) == ("dr_edge.prediction", 1)
    assert content["complete"] and content["photographs"] == 10 and content["unreadable"] == 4
    assert content["bundle"]["artifact"] == "model.float32.tflite"
    found = {Path(row["file"]).name: (row["status"], row["reason"]) for row in content["answers"]}
    assert found == {
        "a.jpg": ("answered", None),
        "b.png": ("answered", None),
        "c.tif": ("answered", None),
        "black.png": ("not_a_fundus_photograph", "too dark"),
        "blurred.png": ("too_poor_to_grade", "quality"),
        "letter.png": ("not_a_fundus_photograph", "no field of view"),
        "cut.jpg": ("unreadable", "truncated"),
        "hole.jpg": ("unreadable", "damaged JPEG data"),
        "notes.txt": ("unreadable", "unsupported format"),
        "missing.jpg": ("unreadable", "no file"),
    }
    names = [Path(row["file"]).name for row in content["answers"]]
    assert names[:-2] == sorted(names[:-2]) and names[-2:] == ["notes.txt", "missing.jpg"]


def test_a_name_that_is_no_text_is_answered_by_its_bytes(bundle_dir, photographs, tmp_path):
    for name in (b"M\xfcller.jpg", b"gr\xfcn.txt", b"\xfc.png"):
        (tmp_path / os.fsdecode(name)).write_bytes((photographs / "a.jpg").read_bytes() if name[0] == 77 else b"x")
    pictures = tmp_path / "pictures"
    result = call("--bundle", bundle_dir, f"--overlay={pictures}", tmp_path)
    assert result.returncode == 1 and "Traceback" not in result.stderr and "passed over gr\\xfcn.txt" in result.stderr
    assert "\\ud" not in result.stdout, "a strict reader of JSON refuses half of a pair, and the document with it"
    found = {Path(row["file"]).name: row["status"] for row in json.loads(result.stdout)["answers"]}
    assert found == {"M\\xfcller.jpg": "answered", "\\xfc.png": "unreadable"}
    assert len(list(pictures.iterdir())) == 1


def test_an_artifact_without_a_threshold_of_the_distance_says_so(bundle_dir, changed, photographs):
    gone = changed(bundle_dir, {"artifacts.*.ood": {"reason": "the records are gone"}})
    result = call("--bundle", gone, photographs / "a.jpg")
    assert "unlike those of training: the records are gone." in result.stderr
    assert json.loads(result.stdout)["answers"][0]["distribution"] is None


def test_readable_photographs_exit_with_zero_and_leave_overlays(bundle_dir, photographs, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.jpg").write_bytes((photographs / "b.png").read_bytes())  # the same name, another photograph
    pictures = tmp_path / "pictures"
    files = [photographs / "a.jpg", other / "a.jpg", photographs / "black.png"]
    result = call("--bundle", bundle_dir, *files, "--overlay", pictures, "--artifact=float16", "--threads=2")
    assert result.returncode == 0, result.stderr
    content = json.loads(result.stdout)
    assert content["bundle"]["artifact"] == "model.float16.tflite"
    assert [row["overlay"] for row in content["answers"]] == ["a.png", "a-2.png", None]
    assert sorted(path.name for path in pictures.iterdir()) == ["a-2.png", "a.png"]
    assert cv2.imread(str(pictures / "a.png")).shape == (580, 1014, 3)
    again = call("--bundle", bundle_dir, photographs / "a.jpg", "--overlay", pictures)
    assert again.returncode == 1 and "is not empty" in again.stderr and not again.stdout


def test_it_imports_no_framework_and_answers_within_two_seconds(bundle_dir, photographs):
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['predict', '--bundle', {str(bundle_dir)!r}, {str(photographs / 'a.jpg')!r}]\n"
        "try:\n  runpy.run_module('dr_edge.predict', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as done: assert not done.code, done.code\n"
        f"print([name for name in {MODULES!r} if name in sys.modules], file=sys.stderr)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, cwd=REPOSITORY
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0 and result.stderr.strip().endswith("[]"), result.stderr
    assert json.loads(result.stdout)["answers"][0]["status"] == "answered"
    # Processor time, not the clock: the machine may have other work.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0


def test_what_does_not_exist_is_said_so_and_leaves_no_directory(bundle_dir, tmp_path):
    result = call("--bundle", bundle_dir, "more", "--overlay", tmp_path / "new" / "pictures")
    (answer,) = json.loads(result.stdout)["answers"]
    assert answer["message"] == "no file: more does not exist." and result.returncode == 1
    assert "more  unreadable: no file" in result.stderr and "No overlay" in result.stderr
    assert "1 photograph: 1 unreadable" in result.stderr
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()  # what the user made stays
    call("--bundle", bundle_dir, "more", "--overlay", tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_with_overlays_a_summary_says_what_was_answered_and_where_they_are(bundle_dir, photographs, tmp_path):
    files = [photographs / name for name in ("a.jpg", "blurred.png", "black.png")]
    result = call("--bundle", bundle_dir, *files, "--overlay", tmp_path / "pictures")
    answers = json.loads(result.stdout)["answers"]
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert lines[-5:-2] == [
        f"a.jpg        answered: {answers[0]['message']}",
        f"blurred.png  too poor to grade: {answers[1]['message']}",
        f"black.png    not a fundus photograph: {answers[2]['message']}",
    ]
    assert lines[-2] == "3 photographs: 1 answered, 1 too poor to grade, 1 not a fundus photograph"
    assert lines[-1] == f"2 overlays: {tmp_path / 'pictures'}"


def test_how_many_photographs_were_enlarged_is_said(bundle_dir, photographs, tmp_path):
    picture, side = cv2.imread(str(photographs / "a.jpg")), open_bundle(bundle_dir).image_size
    for share in (0.6, 2):
        scale = share * side / min(picture.shape[:2])
        cv2.imwrite(
            str(tmp_path / f"{share}.png"), cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        )
    both, large = call(f"--bundle={bundle_dir}", tmp_path), call(f"--bundle={bundle_dir}", tmp_path / "2.png")
    assert "1 of 2 photographs were enlarged: " in both.stderr and "enlarged" not in large.stderr


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no terminals of its own")
@pytest.mark.parametrize(("count", "terminal", "bar", "summary"), [
    (1, True, False, True), (2, True, True, True), (4, False, False, False), (6, False, True, False),
])  # fmt: skip
def test_progress_shows_where_it_is_of_use(bundle_dir, photographs, tmp_path, count, terminal, bar, summary):
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    with (tmp_path / "notes").open("w+") as file, open(theirs, "w") as screen:
        notes, out = screen if terminal else file, io.StringIO()
        flow.predict_files(open_bundle(bundle_dir), [str(photographs / "a.jpg")] * count, out, notes=notes)
        notes.flush()
        said = "" if terminal else (tmp_path / "notes").read_text()
        os.set_blocking(ours, False)
        with contextlib.suppress(BlockingIOError):
            while terminal:
                said += os.read(ours, 65536).decode()
    os.close(ours)
    assert json.loads(out.getvalue())["photographs"] == count
    # A log gets whole lines.
    shown = (f"/{count} [", "<") if terminal else (f"photographs: {count} of {count} photograph in ",)
    assert all(part in said for part in shown) == bar
    assert ("a.jpg  answered: " in said) == summary


def test_help_teaches():
    result = call("--help")
    assert "python -m dr_edge.predict --bundle=BUNDLE eye.jpg" in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bundle=nowhere", "x.jpg"], "It is written by: python -m export"),
        (["--bundle=BUNDLE"], "No photograph was given"),
        (["--bundle=BUNDLE", "--artifact=int4", "x.jpg"], "It has: float32, float16"),
        (["--bundle=BUNDLE", "EMPTY"], "holds no pictures"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_printed(bundle_dir, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    given = [word.replace("BUNDLE", str(bundle_dir)).replace("EMPTY", str(tmp_path / "empty")) for word in arguments]
    result = call(*given)
    assert result.returncode == 1 and message in result.stderr and result.stdout == ""


def test_interrupted_it_leaves_a_whole_document(bundle_dir, photographs):
    files = [str(photographs / "b.png")] * 2000
    command = [sys.executable, "-m", "dr_edge.predict", f"--bundle={bundle_dir}", *files]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY)
    head = process.stdout.readline()
    deadline = time.monotonic() + 60
    while '"file"' not in head and time.monotonic() < deadline:
        head += process.stdout.readline()
    os.kill(process.pid, signal.SIGINT)
    rest, errors = process.stdout.read(), process.stderr.read()
    assert process.wait(timeout=60) == 130 and "Interrupted" in errors
    content = json.loads(head + rest)
    assert content["complete"] is False and 0 < content["photographs"] == len(content["answers"]) < 2000


def test_an_error_in_the_middle_leaves_a_whole_document(bundle_dir, photographs, tmp_path):
    """The disk is full at the second overlay."""
    code = (
        "import sys\nfrom dr_edge import metadata\n"
        "plain, count = metadata.write_bytes, []\n"
        "def full(path, data):\n"
        "  count.append(path)\n"
        "  if len(count) == 2: raise OSError(28, 'No space left on device')\n"
        "  return plain(path, data)\n"
        "metadata.write_bytes = full\n"
        f"sys.argv = ['predict', '--bundle', {str(bundle_dir)!r}, '--overlay', {str(tmp_path / 'out')!r}, "
        f"{str(photographs)!r}]\n"
        "import runpy\nrunpy.run_module('dr_edge.predict', run_name='__main__', alter_sys=True)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, cwd=REPOSITORY
    )
    assert result.returncode == 1 and "No space left on device" in result.stderr
    content = json.loads(result.stdout)
    assert content["complete"] is False and content["photographs"] == len(content["answers"]) == 1
    assert content["error"] == "OSError: [Errno 28] No space left on device"


@pytest.mark.parametrize("error", [FloatingPointError("not finite"), KeyError("kind")])
def test_whatever_fails_the_document_is_closed(bundle_dir, photographs, monkeypatch, error):
    calls = []

    def fails(self, data, label=None):
        calls.append(data)
        if len(calls) == 2:
            raise error
        return predict(self, data, label)

    predict = Predictor.predict
    monkeypatch.setattr(Predictor, "predict", fails)
    out = io.StringIO()
    with pytest.raises(type(error)):
        flow.predict_files(open_bundle(bundle_dir), [str(photographs)], out)
    content = json.loads(out.getvalue())
    assert content["complete"] is False and content["photographs"] == 1 and type(error).__name__ in content["error"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_said_once(bundle_dir, photographs):
    command = [sys.executable, "-m", "dr_edge.predict", f"--bundle={bundle_dir}", str(photographs / "a.jpg")]
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False, cwd=REPOSITORY
        )
    assert result.returncode != 0 and "No space left" in result.stderr and "During handling" not in result.stderr


def test_a_reader_that_has_seen_enough_ends_it_quietly(bundle_dir, photographs):
    files = [str(photographs / "b.png")] * 400
    command = [sys.executable, "-m", "dr_edge.predict", f"--bundle={bundle_dir}", *files]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY)
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=60) == 1 and "Traceback" not in errors


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(bundle_dir, tmp_path):
    os.mkfifo(tmp_path / "eye.jpg")
    result = call("--bundle", bundle_dir, tmp_path / "eye.jpg")
    assert result.returncode == 1 and json.loads(result.stdout)["answers"][0]["reason"] == "no file"


ODD = {
    "unreadable": {"empty.jpeg", "truncated.dcm", "truncated.jpeg"},
    "not_a_fundus_photograph": {
        "black_1.jpeg", "black_2.jpeg", "black_3.jpeg", "dark_dirty.jpg", "not_fundus_building.jpg",
        "not_fundus_flower.jpg", "oct_1.jpg", "oct_2.jpg", "oct_3.jpg", "oct_4.jpg", "vessel_mask.png",
    },
}  # fmt: skip


def test_real_odd_files_are_told_apart(real_data, bundle_dir):
    result = call("--bundle", bundle_dir, real_data / "odd")
    content = json.loads(result.stdout)
    assert result.returncode == 1 and content["complete"] and "passed over README.md" in result.stderr
    statuses = {Path(row["file"]).name: row["status"] for row in content["answers"]}
    for status, names in ODD.items():
        assert {name for name, found in statuses.items() if found == status} == names
    assert statuses["cmyk.jpg"] == statuses["png16.png"] == statuses["exif_orientation6.jpg"] == "answered"
