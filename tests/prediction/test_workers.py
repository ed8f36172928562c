"""Many photographs answered by several processes: the same document, and a death costs one of them at most."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

import dr_edge
from dr_edge import cores
from dr_edge.prediction import flow, workers
from dr_edge.prediction.bundle import open_bundle

REPOSITORY = Path(__file__).resolve().parents[2]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
# A process whose reading of some photographs fails, each in another way.
ODD_WORKER = """
import os
from dr_edge.prediction import answering, worker

plain = answering.read_file

def read(path):
    name = os.path.basename(path)
    if name.startswith("deadly"):
        os.kill(os.getpid(), 9)
    if name.startswith("once") and not os.path.exists(path + ".seen"):
        open(path + ".seen", "w").close()
        os._exit(3)
    if name.startswith("broken"):
        raise FloatingPointError("Output 'probabilities' is not finite.")
    if name.startswith("odd"):
        raise Odd(1, 2)
    return plain(path)

class Odd(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")

answering.read_file = read
main = worker.main
"""


def document(bundle: Path, arguments: list, **options) -> dict:
    """What `predict_files` writes, but for the times."""
    out = io.StringIO()
    with contextlib.suppress(Exception):
        flow.predict_files(open_bundle(bundle), [str(one) for one in arguments], out, **options)
    content = json.loads(out.getvalue())
    for answer in content["answers"]:
        answer["milliseconds"] = None
    return content


def children(pid: int) -> list[int]:
    """Process ids of the workers of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rsplit(")", 1)[1].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(stat.parent.name))
    return found


def ended(pids: list[int], seconds: float = 30) -> bool:
    until = time.monotonic() + seconds
    while any(os.path.exists(f"/proc/{pid}") for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)


@pytest.fixture
def odd_workers(tmp_path, monkeypatch) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "odd_worker.py").write_text(ODD_WORKER)
    monkeypatch.syspath_prepend(tmp_path / "modules")  # workers get the same path
    monkeypatch.setattr(workers, "PROGRAM", "odd_worker")


@pytest.fixture
def folder(photographs, tmp_path) -> Path:
    """Photographs of every kind, some of them damaged."""
    directory = shutil.copytree(photographs, tmp_path / "eyes")
    data = (photographs / "a.jpg").read_bytes()
    (directory / "cut.jpg").write_bytes(data[:5000])
    (directory / "ñ眼.jpg").write_bytes(data)
    return directory


@pytest.mark.parametrize("kind", ["bundle_dir", pytest.param("mask_bundle", marks=pytest.mark.slow)])
def test_the_document_does_not_depend_on_the_number_of_processes(kind, request, folder, tmp_path):
    bundle, named = request.getfixturevalue(kind), [folder, folder, "missing.jpg", folder / "a.jpg"]
    alone = document(bundle, named, overlay=str(tmp_path / "alone"))
    assert len({answer["status"] for answer in alone["answers"]}) == 4
    for count in (2, 3):
        many = document(bundle, named, overlay=str(tmp_path / f"{count}"), workers=count)
        assert json.dumps(many) == json.dumps(alone)
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "alone").iterdir()}
    assert len(pictures) == sum(answer["overlay"] is not None for answer in alone["answers"]) > 4
    for count in (2, 3):
        assert {path.name: path.read_bytes() for path in (tmp_path / f"{count}").iterdir()} == pictures


def test_a_photograph_that_ends_its_process_is_set_aside_and_no_other(bundle_dir, photographs, tmp_path, odd_workers):
    names = ["1.jpg", "deadly.jpg", "2.jpg", "once.jpg", "3.jpg", "deadly too.jpg", *(f"{n}.jpg" for n in range(4, 12))]
    for name in names:
        shutil.copy(photographs / "a.jpg", tmp_path / name)
    out, notes = io.StringIO(), io.StringIO()
    files = [str(tmp_path / name) for name in names]
    assert flow.predict_files(open_bundle(bundle_dir), files, out, workers=2, notes=notes) == 2
    content = json.loads(out.getvalue())
    assert content["complete"] and content["photographs"] == len(names) and content["unreadable"] == 2
    assert [answer["file"] for answer in content["answers"]] == files
    for name, answer in zip(names, content["answers"], strict=True):
        assert answer["status"] == ("unreadable" if name.startswith("deadly") else "answered"), answer
    lost = content["answers"][1]
    assert lost["reason"] == "decoder crashed" and "deadly.jpg" in lost["message"] and "signal 9" in lost["message"]


@LINUX
def test_a_process_that_somebody_kills_costs_no_photograph(bundle_dir, photographs):
    files = [str(photographs / "b.png")] * 120
    command = [sys.executable, "-m", "dr_edge.predict", f"--bundle={bundle_dir}", "--workers=2", *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=REPOSITORY) as run:
        head = ""
        while head.count('"file"') < 3:
            head += run.stdout.readline()
        killed = children(run.pid)
        assert len(killed) == 2
        os.kill(killed[0], signal.SIGKILL)
        content = json.loads(head + run.stdout.read())
    assert run.returncode == 0 and content["complete"] and content["photographs"] == 120
    assert {answer["status"] for answer in content["answers"]} == {"answered"}


@LINUX
def test_a_parent_that_is_killed_leaves_no_process_behind(bundle_dir, photographs):
    files = [str(photographs / "b.png")] * 2000
    command = [sys.executable, "-m", "dr_edge.predict", f"--bundle={bundle_dir}", "--workers=2", *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=REPOSITORY) as run:
        while '"file"' not in run.stdout.readline():
            pass
        started = children(run.pid)
        assert len(started) == 2
        run.kill()
    assert ended(started)


@LINUX
@pytest.mark.parametrize("times", [1, 2])
def test_interrupted_no_process_is_left(bundle_dir, photographs, times):
    """As one process: the first Ctrl-C ends the document after a whole answer, a second stops at once."""
    files = [str(photographs / "b.png")] * 2000
    command = [sys.executable, "-m", "dr_edge.predict", f"--bundle={bundle_dir}", "--workers=2", *files]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, start_new_session=True
    ) as run:
        head = run.stdout.readline()
        while '"file"' not in head:
            head += run.stdout.readline()
        started = children(run.pid)
        for _ in range(times):
            os.killpg(run.pid, signal.SIGINT)  # as a terminal does, to all
        rest, errors = run.stdout.read(), run.stderr.read()
    assert run.returncode == 130 and errors.strip().endswith("Interrupted; the answers so far are complete."), errors
    assert len(started) == 2 and ended(started)
    if times == 1:
        content = json.loads(head + rest)
        assert content["complete"] is False and 0 < content["photographs"] == len(content["answers"]) < 2000


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("broken.jpg", FloatingPointError, "FloatingPointError: Output 'probabilities' is not finite."),
        ("odd.jpg", RuntimeError, "RuntimeError: Odd: 1 and 2"),  # an exception that cannot be handed over
    ],
)
def test_what_fails_in_a_process_fails_as_here(bundle_dir, photographs, tmp_path, odd_workers, name, error, said):
    for one in ("1.jpg", name, "2.jpg", "3.jpg"):
        shutil.copy(photographs / "a.jpg", tmp_path / one)
    out = io.StringIO()
    with pytest.raises(error):
        files = [str(tmp_path / one) for one in ("1.jpg", name, "2.jpg", "3.jpg")]
        flow.predict_files(open_bundle(bundle_dir), files, out, workers=2)
    content = json.loads(out.getvalue())
    assert content["complete"] is False and content["photographs"] == 1 and content["error"] == said


def test_what_cannot_start_is_said_before_anything_is_printed(bundle_dir, photographs, tmp_path, monkeypatch):
    out, files = io.StringIO(), [str(photographs / "a.jpg")] * 4
    bundle = open_bundle(bundle_dir)
    broken = type(bundle)(**{**vars(bundle), "content": b"no model"})
    with pytest.raises(ValueError, match="LiteRT cannot read it"):
        flow.predict_files(broken, files, out, workers=2)
    (tmp_path / "ends_at_once.py").write_text("import os; os._exit(7)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(workers, "PROGRAM", "ends_at_once")
    with pytest.raises(RuntimeError, match=r"cannot start \(exit status 7, exit status 7, exit status 7\)"):
        flow.predict_files(bundle, files, out, workers=2)
    assert out.getvalue() == ""


def test_few_photographs_start_no_process(bundle_dir, photographs, monkeypatch):
    monkeypatch.setattr(cores, "available", lambda: 4)
    assert [workers.sensible(count) for count in (1, 8, 15, 16, 31, 32, 1000)] == [1, 1, 1, 2, 3, 4, 4]
    monkeypatch.setattr(subprocess, "Popen", None)
    for asked, count in ((None, 1), (None, 6), (8, 1)):
        content = document(bundle_dir, [photographs / "a.jpg"] * count, workers=asked)
        assert content["complete"] and content["photographs"] == count


def test_python_programs_get_the_same_answers(bundle_dir, photographs):
    opened = dr_edge.open_bundle(bundle_dir)
    pixels = cv2.imread(str(photographs / "b.png"), cv2.IMREAD_COLOR_RGB)
    given = [photographs / "a.jpg", (photographs / "a.jpg").read_bytes(), pixels, "missing.jpg", photographs / "b.png"]
    for one, answer in zip(given, opened.answer_many(iter(given), workers=2), strict=True):
        ours = opened.answer(one)
        assert answer.to_json() | {"milliseconds": 0} == ours.to_json() | {"milliseconds": 0}
    assert list(opened.answer_many([])) == []
    with pytest.raises(TypeError, match="path of a file, its bytes, or an array"):
        list(opened.answer_many([None]))
    with pytest.raises(ValueError, match=r"\[H, W, 3\] uint8"):
        list(opened.answer_many([pixels[..., 0]], workers=1))
    with pytest.raises(ValueError, match="workers must be at least 1"):
        list(opened.answer_many([], workers=0))


@LINUX
def test_a_program_that_has_seen_enough_leaves_no_process(bundle_dir, photographs):
    answers = dr_edge.open_bundle(bundle_dir).answer_many([photographs / "a.jpg"] * 50, workers=2)
    assert next(answers).status == "answered"
    started = children(os.getpid())
    assert len(started) >= 2
    answers.close()
    assert (
        ended([pid for pid in started if pid not in children(os.getpid())])
        and len(children(os.getpid())) == len(started) - 2
    )
