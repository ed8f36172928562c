"""Gin files are found beside the working directory, beside the file that includes them, and in the package."""

from __future__ import annotations

import logging
from pathlib import Path

import gin
import pytest

from dr_edge import config, gin_files
from dr_edge.training import loop  # noqa: F401 - what the files bind

pytestmark = pytest.mark.usefixtures("clean_gin")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, which is the working directory."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """gin_configs/ as an installed wheel has it, with two files."""
    place = tmp_path / "site-packages" / "dr_edge" / "gin_configs"
    place.mkdir(parents=True)
    (place / "base.gin").write_text("train.seed = 1\n")
    (place / "top.gin").write_text("include 'gin_configs/base.gin'\ntrain.epochs = 1\n")
    monkeypatch.setattr(gin_files, "DIRECTORY", place)
    return place


def seed(*paths: str) -> int:
    config.parse(paths)
    return gin.query_parameter("train.seed")


@pytest.mark.parametrize("name", ["gin_configs/demo.gin", "demo.gin", "./gin_configs/demo.gin"])
def test_the_shipped_files_are_found_from_an_empty_directory(name, elsewhere):
    assert gin_files.find(name) == gin_files.DIRECTORY / "demo.gin"


def test_a_model_is_found_without_the_folders_name(elsewhere):
    assert gin_files.find("models/corn.gin") == gin_files.find("gin_configs/models/corn.gin")


def test_every_shipped_file_and_its_includes_are_read_from_an_empty_directory(elsewhere):
    config.import_names()
    for name in gin_files.shipped():
        gin.clear_config()
        bindings = ["train.initial_weights = 'a'"] if "second_stage" in name else []
        config.parse([Path(name).name], bindings)
    assert len(gin_files.shipped()) > 10


@pytest.mark.parametrize("name", ["/demo.gin", "../demo.gin", "other/demo.gin", "gin_configs", "", "demo"])
def test_what_leads_elsewhere_is_not_taken_for_a_shipped_file(name, elsewhere):
    with pytest.raises(ValueError, match="No gin file"):
        gin_files.find(name)


def test_the_working_directory_comes_first(elsewhere, installed):
    assert seed("top.gin") == 1
    (elsewhere / "gin_configs").mkdir()
    (elsewhere / "gin_configs" / "top.gin").write_text("train.seed = 2\n")
    gin.clear_config()
    assert seed("gin_configs/top.gin") == 2
    (elsewhere / "top.gin").write_text("train.seed = 3\n")
    gin.clear_config()
    assert seed("top.gin") == 3


def test_a_folder_of_that_name_in_the_working_directory_is_said(elsewhere, installed, caplog):
    (elsewhere / "gin_configs").mkdir()
    (elsewhere / "gin_configs" / "top.gin").write_text("train.seed = 2\n")
    with caplog.at_level(logging.INFO, logger="absl"):
        assert seed("top.gin") == 2
    assert "top.gin is gin_configs/top.gin of the working directory" in caplog.text


def test_an_include_is_found_beside_the_including_file(elsewhere, tmp_path):
    (tmp_path / "mine" / "parts").mkdir(parents=True)
    (tmp_path / "mine" / "a.gin").write_text("include 'parts/b.gin'\n")
    (tmp_path / "mine" / "parts" / "b.gin").write_text("include 'c.gin'\ninclude '../d.gin'\n")
    (tmp_path / "mine" / "parts" / "c.gin").write_text("train.seed = 5\n")
    (tmp_path / "mine" / "d.gin").write_text("train.epochs = 6\n")
    assert seed(str(tmp_path / "mine" / "a.gin")) == 5
    assert gin.query_parameter("train.epochs") == 6


def test_an_own_file_includes_a_shipped_one(elsewhere, tmp_path, installed):
    (tmp_path / "own.gin").write_text("include 'gin_configs/base.gin'\ninclude 'top.gin'\n")
    assert seed("../own.gin") == 1
    assert gin.query_parameter("train.epochs") == 1


def test_two_files_that_an_include_may_mean_are_said(elsewhere, tmp_path, caplog):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.gin").write_text("include 'b.gin'\n")
    (tmp_path / "mine" / "b.gin").write_text("train.seed = 1\n")
    (elsewhere / "b.gin").write_text("train.seed = 2\n")
    assert seed(str(tmp_path / "mine" / "a.gin")) == 2, "the working directory comes first"
    assert "'b.gin' in" in caplog.text and "is another file" in caplog.text
    caplog.clear()
    (elsewhere / "b.gin").write_text("train.seed = 1\n")
    gin.clear_config()
    seed(str(tmp_path / "mine" / "a.gin"))
    assert caplog.text == "", "the same words twice are no second meaning"


def test_a_shipped_file_includes_its_own_and_says_so_where_another_lies_around(elsewhere, installed, caplog):
    (elsewhere / "gin_configs").mkdir()
    (elsewhere / "gin_configs" / "base.gin").write_text("train.seed = 9\n")
    assert seed("top.gin") == 1
    assert "is another file" in caplog.text


def test_a_file_that_includes_itself_is_named(elsewhere):
    (elsewhere / "a.gin").write_text("include 'b.gin'\n")
    (elsewhere / "b.gin").write_text("include 'a.gin'\n")
    with pytest.raises(ValueError, match=r"a.gin includes itself.*b.gin, line 1"):
        config.parse(["a.gin"])


def test_an_unknown_include_names_the_nearest(elsewhere):
    (elsewhere / "a.gin").write_text("include 'gin_configs/dmeo.gin'\n")
    with pytest.raises(ValueError, match=r"No gin file .*Did you mean 'gin_configs/demo.gin'.*a.gin, line 1"):
        config.parse(["a.gin"])
