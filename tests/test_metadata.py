"""Manifests: whole or absent, and clear about what is wrong."""

from __future__ import annotations

import json

import pytest

from dr_edge import metadata

RUN = {key: {} for key in metadata.MANIFESTS["run"][2]}


def test_a_manifest_comes_back(tmp_path):
    metadata.write_manifest(tmp_path, "run", {**RUN, "note": "é"})
    assert metadata.read_manifest(tmp_path, "run")["note"] == "é"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "holds no run.json"),
        ("{", "is not valid JSON"),
        ("[]", "expected schema 'dr_edge.run', found 'list'"),
        (json.dumps({"schema": "dr_edge.bundle"}), "found 'dr_edge.bundle'"),
        (json.dumps({"schema": "dr_edge.run", "version": 99}), "version 1 of run manifests, found 99"),
        (json.dumps({"schema": "dr_edge.run", "version": 1}), "status, task, model"),
    ],
)
def test_a_bad_manifest_says_what_is_wrong(content, says, tmp_path):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(metadata.ManifestError, match=says):
        metadata.read_manifest(tmp_path, "run")


@pytest.mark.parametrize("kind", metadata.MANIFESTS)
def test_what_is_no_such_directory_is_answered_with_the_command_that_writes_it(kind, tmp_path):
    import importlib.util

    command = metadata.WRITTEN_BY[kind].split()
    module = importlib.util.find_spec(command[2])
    assert command[:2] == ["python", "-m"] and module is not None
    for directory, says in (
        (tmp_path, f"holds no {metadata.MANIFESTS[kind][0]}"),
        (tmp_path / "nowhere", "is no directory"),
    ):
        with pytest.raises(metadata.ManifestError, match=says) as caught:
            metadata.read_manifest(directory, kind)
        assert f"It is written by: python -m {command[2]}" in str(caught.value)


def test_a_file_is_answered_with_what_to_do_with_it(tmp_path):
    for name, says in (("b.zip", "Unpack it, and give"), ("b.tar.gz", "Unpack it, and give"),
                       ("metadata.json", "Give the directory that it stands in.")):  # fmt: skip
        (tmp_path / name).write_bytes(b"{}")
        with pytest.raises(metadata.ManifestError, match=f"{name} is no directory.*{says}"):
            metadata.read_manifest(tmp_path / name, "bundle")
    with pytest.raises(metadata.ManifestError) as caught:
        metadata.read_manifest(tmp_path / "nowhere.zip", "bundle")
    assert "Unpack" not in str(caught.value)


def test_nan_and_missing_keys_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        metadata.write_manifest(tmp_path, "run", {**RUN, "loss": float("nan")})
    with pytest.raises(metadata.ManifestError, match="needs best"):
        metadata.write_manifest(tmp_path, "run", {k: v for k, v in RUN.items() if k != "best"})
    assert not list(tmp_path.iterdir())


def test_a_staged_directory_appears_whole_or_not_at_all(tmp_path):
    final = tmp_path / "out"
    with pytest.raises(RuntimeError), metadata.staged_directory(final) as staging:
        (staging / "half").write_text("x")
        raise RuntimeError("stopped")
    assert not list(tmp_path.iterdir())
    with metadata.staged_directory(final) as staging:
        (staging / "whole").write_text("x")
        assert not final.exists()
    assert (final / "whole").read_text() == "x"
    with pytest.raises(FileExistsError, match="not empty"), metadata.staged_directory(final):
        raise AssertionError("never reached")


def test_a_changed_file_is_found(tmp_path):
    (tmp_path / "a").write_text("x")
    files = {"a": metadata.sha256_file(tmp_path / "a")}
    metadata.check_files(tmp_path, files)
    (tmp_path / "a").write_text("y")
    with pytest.raises(metadata.ManifestError, match="was changed after it was written"):
        metadata.check_files(tmp_path, files)
    (tmp_path / "a").unlink()
    with pytest.raises(metadata.ManifestError, match="a is missing"):
        metadata.check_files(tmp_path, files)


def test_what_the_disk_refuses_names_the_file(tmp_path):
    with pytest.raises(OSError) as caught:
        metadata.write_text(tmp_path / "nowhere" / "a.json", "{}")
    assert caught.value.filename == str(tmp_path / "nowhere" / "a.json")
