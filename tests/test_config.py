"""Strict gin: what does not exist is refused with the nearest name; what does nothing is said."""

from __future__ import annotations

import gin
import pytest

from dr_edge import config
from dr_edge.data import augment  # noqa: F401
from dr_edge.models import mobilenet_v3_cbam, resnet_v2_slim  # noqa: F401
from dr_edge.training import loop  # noqa: F401


@pytest.fixture(autouse=True)
def clean_gin():
    gin.clear_config()
    yield
    gin.clear_config()


@pytest.mark.parametrize(
    ("binding", "says"),
    [
        ("train.epohcs = 3", "Did you mean 'epochs'?"),
        ("trian.epochs = 3", "Did you mean 'train'?"),
        ("train.model = @mobilenet_v3_cbm", "Did you mean 'mobilenet_v3_cbam'?"),
        ("train.optimiser = @adam", "Did you mean 'optimizer'?"),
        ("train.epochs = ", ""),
    ],
)
def test_a_mistyped_binding_names_the_nearest(binding, says):
    with pytest.raises(ValueError) as caught:
        config.parse([], [binding])
    assert says in str(caught.value), str(caught.value)


def test_a_missing_file_names_the_known_ones():
    with pytest.raises(ValueError, match=r"No gin file 'nowhere.gin'. Known: .*demo.gin"):
        config.parse(["nowhere.gin"])


def test_a_mistake_in_a_file_is_named_with_its_place(tmp_path):
    (tmp_path / "a.gin").write_text("train.epochs = 1\ntrian.seed = 1\n")
    with pytest.raises(ValueError, match=r"Did you mean 'train'\? \(.*a.gin, line 2\)"):
        config.parse([str(tmp_path / "a.gin")])
    (tmp_path / "b.gin").write_text("include 'nowhere.gin'\n")
    with pytest.raises(ValueError, match=r"nowhere.gin.*b.gin, line 1"):
        config.parse([str(tmp_path / "b.gin")])
    (tmp_path / "c.gin").write_text("train.epochs = [1,\n")
    with pytest.raises(ValueError, match="EOF"):
        config.parse([str(tmp_path / "c.gin")])


def test_the_projects_files_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(config.CONFIG_DIRECTORY))
    config.parse(["gin_configs/demo.gin"])
    assert gin.query_parameter("train.seed") == 0  # from base.gin, which demo.gin includes


def test_bindings_win_over_files(tmp_path):
    (tmp_path / "a.gin").write_text("train.epochs = 1\n")
    config.parse([str(tmp_path / "a.gin")], ["train.epochs = 2"])
    assert gin.query_parameter("train.epochs") == 2


def test_a_binding_that_nothing_used_is_said(caplog):
    config.parse([], ["schedules.cosine.learning_rate = 0.1", "resnet_v2_slim.stem_channels = 4"])
    from dr_edge.training import optimizers

    optimizers.cosine()
    with caplog.at_level("WARNING", logger="absl"):
        config.warn_unused()
    assert "resnet_v2_slim.stem_channels" in caplog.text and "learning_rate" not in caplog.text
