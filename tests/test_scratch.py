"""What killed processes leave in the temporary directory goes; what lives, and what is not ours, stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dr_edge import scratch

REPOSITORY = Path(__file__).resolve().parents[1]
HOLDS = """
import sys
from dr_edge import scratch
with scratch.directory("export") as path:
    (path / "half").mkdir()
    print(path, flush=True)
    sys.stdin.read()
"""
OF_PROCESS = """
import os, sys, tempfile
from dr_edge import scratch
scratch.of_process("tensorflow")
scratch.of_process("tensorflow")
theirs = tempfile.mkdtemp(prefix="a_library_")
child = os.fork()
if child == 0:
    sys.exit()
os.waitpid(child, 0)
assert os.path.isdir(os.environ["TMPDIR"]), "the child removed what is its parent's"
print(theirs, os.environ["TMPDIR"], sep="\\n", flush=True)
sys.stdin.read()
"""


@contextmanager
def running(program: str, place: Path) -> Iterator[subprocess.Popen]:
    """A process whose temporary directory is `place`, until its standard input ends."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(place)}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def own(place: Path) -> list[Path]:
    return sorted(place.glob("dr_edge_*"))


def test_a_killed_process_leaves_it_and_the_next_one_removes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with running(HOLDS, tmp_path) as lives, running(HOLDS, tmp_path) as dies:
        kept, left = Path(lives.stdout.readline().strip()), Path(dies.stdout.readline().strip())
        assert own(tmp_path) == sorted([kept, left]) and kept.parent == tmp_path
        dies.send_signal(signal.SIGKILL)
        dies.wait()
        assert (left / "half").is_dir()
        with scratch.directory("rounding") as mine:
            assert own(tmp_path) == sorted([kept, mine]), "another kind of command removes it as well"
        assert own(tmp_path) == [kept]
        lives.communicate("")
        assert lives.returncode == 0 and own(tmp_path) == []


def test_what_libraries_leave_behind_goes_with_the_process_or_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with running(OF_PROCESS, tmp_path) as process:
        theirs, place = (Path(process.stdout.readline().strip()) for _ in range(2))
        assert theirs.parent == place and place.parent == tmp_path and own(tmp_path) == [place]
        process.communicate("")
        assert process.returncode == 0 and own(tmp_path) == []
    with running(OF_PROCESS, tmp_path) as process:
        theirs = Path(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert theirs.is_dir()
    scratch.remove_orphans(tmp_path)
    assert own(tmp_path) == []


def test_what_is_not_ours_stays(tmp_path):
    note = json.dumps({"pid": 1, "host": os.uname().nodename})
    for name in ("dr_edge_export_abcdefgh2", "dr_edge_abcdefgh", "dr_edge_export_ABCDEFGH", "export_abcdefgh"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".lock").write_text(note)
    (tmp_path / "dr_edge_export_aaaaaaaa").mkdir()  # of an earlier release, or of somebody else: no lock
    (tmp_path / "dr_edge_export_aaaaaaaa" / "file").touch()
    (tmp_path / "dr_edge_export_bbbbbbbb").write_text("a file")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".lock").write_text(note)
    (tmp_path / "dr_edge_export_cccccccc").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "dr_edge_export_dddddddd").mkdir()
    (tmp_path / "dr_edge_export_dddddddd" / ".lock").write_text(json.dumps({"pid": 1, "host": "another-host"}))
    (tmp_path / "dr_edge_export_eeeeeeee").mkdir()  # being made now
    (tmp_path / "dr_edge_export_ffffffff").mkdir()
    (tmp_path / "dr_edge_export_ffffffff" / ".lock").touch()
    (tmp_path / "dr_edge_export_ffffffff" / "file").touch()
    day = time.time() - 86400
    os.utime(tmp_path / "dr_edge_export_ffffffff", (day, day))
    before = sorted(tmp_path.rglob("*"))
    scratch.remove_orphans(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives a directory to another user")
def test_the_directory_of_another_user_stays(tmp_path):
    place = tmp_path / "dr_edge_export_abcdefgh"
    place.mkdir()
    (place / ".lock").write_text(json.dumps({"pid": 1, "host": os.uname().nodename}))
    os.chown(place, 12345, 12345)
    scratch.remove_orphans(tmp_path)
    assert place.is_dir()
    os.chown(place, 0, 0)
    scratch.remove_orphans(tmp_path)
    assert not place.exists()


def test_one_whose_process_was_killed_before_it_held_the_lock_goes_after_an_hour(tmp_path):
    for name in ("dr_edge_export_aaaaaaaa", "dr_edge_export_bbbbbbbb"):
        (tmp_path / name).mkdir()
    (tmp_path / "dr_edge_export_bbbbbbbb" / ".lock").touch()
    scratch.remove_orphans(tmp_path)
    assert len(own(tmp_path)) == 2
    for path in own(tmp_path):
        os.utime(path, (time.time() - 2 * 3600,) * 2)
    scratch.remove_orphans(tmp_path)
    assert own(tmp_path) == []


def test_a_command_goes_on_where_no_temporary_directory_can_be_made(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    monkeypatch.setattr(scratch, "_of_process", {})
    scratch.of_process("tensorflow")
    assert tempfile.tempdir == str(tmp_path / "absent")
