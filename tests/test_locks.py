"""One process writes a directory; the next is told which; a killed one blocks nobody."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dr_edge import locks, metadata
from dr_edge.prediction import files

REPOSITORY = Path(__file__).resolve().parents[1]
STAGING = """
import pathlib, sys
from dr_edge import metadata
with metadata.staged_directory(sys.argv[1]) as staging:
    (staging / "half").touch()
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_writer(target: Path) -> Iterator[subprocess.Popen]:
    """A process that writes `target` until its standard input ends."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "-c", STAGING, str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_second_is_told_who_writes(tmp_path):
    with another_writer(tmp_path / "ñ 眼") as other:
        with pytest.raises(locks.InUse) as caught, metadata.staged_directory(tmp_path / "ñ 眼"):
            raise AssertionError("it was let in")
        said = str(caught.value)
        assert (
            f"process {other.pid} on {socket.gethostname()} since 20" in said
            and "python -c" in said
            and said.endswith("Wait until it ends, stop it, or give another --out.")
        )
        other.communicate("")
        assert other.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["ñ 眼"], "the lock or the staging directory stayed"
    with pytest.raises(FileExistsError), metadata.staged_directory(tmp_path / "ñ 眼"):
        pass


def test_a_command_that_is_too_long_to_be_kept_shows_that_it_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(
        locks.sys, "orig_argv", ["python", "-m", "dr_edge.train", f"--run_dir=/{'a' * locks.COMMAND_LENGTH}/b"]
    )
    lock = locks.take(tmp_path / "lock", tmp_path, "trained")
    with pytest.raises(locks.InUse, match=r"\(python -m dr_edge\.train --run_dir=/a+ \.\.\.\)"):
        locks.take(tmp_path / "lock", tmp_path, "trained")
    lock.release()


def test_a_killed_process_blocks_nobody_and_its_leftovers_go(tmp_path):
    (tmp_path / ".other.12345678.tmp").mkdir()  # of another target
    with another_writer(tmp_path / "out") as other:
        other.kill()
        other.wait()
    assert any(path.name.startswith(".out.") and path.name.endswith(".tmp") for path in tmp_path.iterdir())
    with metadata.staged_directory(tmp_path / "out") as staging:
        (staging / "whole").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.12345678.tmp", "out"]


def test_where_there_are_no_locks_it_is_said_and_work_goes_on(tmp_path, monkeypatch, caplog):
    def refuse(*given: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    (tmp_path / ".out.12345678.tmp").mkdir()  # perhaps somebody's work
    with metadata.staged_directory(tmp_path / "out"):
        pass
    assert "has no locks (No locks available): nothing stops a second command" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.12345678.tmp", "out"]


def test_a_lock_file_that_was_removed_meanwhile_is_no_lock(tmp_path):
    path = tmp_path / "lock"
    first = locks.take(path, tmp_path)
    path.unlink()  # as the holder does when it lets go
    second = locks.take(path, tmp_path)
    with pytest.raises(locks.InUse):
        locks.take(path, tmp_path)
    first.release()  # must not take the other's file away
    second.release()
    second.release()


def test_pictures_of_two_commands_do_not_mix(tmp_path):
    pictures = tmp_path / "pictures"
    said = r"(?s)by process \d+ on .* Wait until it ends, stop it, or give another --overlay\.$"
    with another_writer(pictures), pytest.raises(locks.InUse, match=said), files.new_directory(pictures):
        pass
    with files.new_directory(tmp_path / "new" / "pictures") as directory:
        assert directory is not None and directory.is_dir()
    assert not (tmp_path / "new").exists()


def test_a_picture_that_was_being_written_when_its_command_was_killed_is_in_nobodys_way(tmp_path):
    half = tmp_path / "pictures" / ".eye.png.0a1b2c3d.tmp"
    half.parent.mkdir()
    half.write_bytes(b"half")
    with files.new_directory(half.parent) as directory:
        assert list(directory.iterdir()) == []
        (directory / "eye.png").touch()
    half.write_bytes(b"half")
    with pytest.raises(FileExistsError), files.new_directory(half.parent):  # it answered one: that is for people
        pass
    assert half.exists() and (half.parent / "eye.png").exists()


def test_waiting_is_possible_and_says_for_whom(tmp_path, caplog):
    with another_writer(tmp_path / "study") as other:
        assert other.stdin is not None
        other.stdin.close()  # it ends, in a moment
        with locks.held(tmp_path / "study", "opened", wait=True) as lock:
            assert lock.held
    assert "study is being opened by process" in caplog.text and "This command waits for it." in caplog.text


def test_two_evaluations_of_one_split_do_not_mix(stand_in_run, tmp_path):
    from dr_edge.evaluation import flow

    run = shutil.copytree(stand_in_run, tmp_path / "run")
    final = run / "evaluation" / "test"
    said = rf"(?s)test is being written by process {os.getpid()} on .*\. Wait until it ends, or stop it\.$"
    with locks.held(final), pytest.raises(locks.InUse, match=said):
        flow.evaluate(run, flow.Settings("test"))
