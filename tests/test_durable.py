"""The order in which what was written reaches the disk, and what a file system may refuse."""

from __future__ import annotations

import errno
import os
import zipfile
from pathlib import Path

import pytest

from dr_edge import durable, metadata


def named(descriptor: int) -> str:
    return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name


def test_a_staged_directory_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    events: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append(named(descriptor)), sync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda one, other: (events.append("rename"), replace(one, other)))
    with metadata.staged_directory(tmp_path / "bundle") as staging:
        (staging / "inner").mkdir()
        (staging / "inner" / "model.tflite").write_bytes(b"by a library, which syncs nothing")
        (staging / "link").symlink_to("inner")
        assert events == []
    last = len(events) - 1 - events[::-1].index("rename")
    assert set(events[:last]) == {"model.tflite", "inner", staging.name}
    assert events.index("model.tflite") < events.index("inner") < events.index(staging.name)
    assert events[last + 1] == tmp_path.name and (tmp_path / "bundle" / "inner" / "model.tflite").is_file()


def test_a_manifest_comes_after_the_names_of_what_it_speaks_for(tmp_path, monkeypatch):
    events: list[str] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append(named(descriptor)), sync(descriptor)))
    metadata.write_manifest(tmp_path, "parity", {"split": "test", "images": 1, "keras": {}, "artifacts": {}})
    assert events[0] == events[-1] == tmp_path.name and events[1].startswith(".parity.json.")


def test_a_file_system_that_cannot_sync_directories_is_enough(tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.EINVAL, "Invalid argument")

    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "fsync", refuse)
    durable.sync(tmp_path)
    with pytest.raises(OSError, match="Invalid argument") as caught:
        durable.sync(tmp_path / "file")
    assert caught.value.filename == str(tmp_path / "file")


def test_a_disk_that_fails_is_named(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
        durable.sync(tmp_path)
    assert caught.value.filename == str(tmp_path)
    with pytest.raises(OSError), metadata.staged_directory(tmp_path / "bundle") as staging:
        (staging / "a").touch()
    assert not (tmp_path / "bundle").exists() and not staging.exists()


def test_the_checksums_of_an_archive_tell_damage(tmp_path):
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", bytes(range(256)) * 20)
    assert durable.zip_damage(path) == ""
    content = bytearray(path.read_bytes())
    content[2000] ^= 4
    path.write_bytes(content)
    assert durable.zip_damage(path) == "model.weights.h5 in it differs from its checksum"
    for left in (0, 100, len(content) - 30):
        path.write_bytes(content[:left])
        assert durable.zip_damage(path)
