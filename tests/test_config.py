"""Strict gin: what does not exist is refused with the nearest name; what does nothing is said."""

from __future__ import annotations

import errno

import gin
import pytest

from dr_edge import config, gin_files
from dr_edge.data import augment  # noqa: F401
from dr_edge.models import mobilenet_v3_cbam, resnet_v2_slim  # noqa: F401
from dr_edge.training import loop

pytestmark = pytest.mark.usefixtures("clean_gin")


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


def test_a_mistyped_file_names_the_nearest():
    with pytest.raises(ValueError, match=r"Did you mean 'gin_configs/demo.gin'\?"):
        config.parse(["gin_configs/dmeo.gin"])


@pytest.mark.parametrize(
    "binding",
    ["train.epochs = three", "train.epochs=3 HEAD_EPOCHS=1", "train.epochs = [1,", "train.epochs", "train.epochs = 'a"],
)
def test_what_is_no_binding_is_named_with_the_form_that_it_needs(binding):
    with pytest.raises(ValueError) as caught:
        config.parse([], ["train.seed = 1", binding])
    said = str(caught.value)
    assert repr(binding) in said and "text needs quotes" in said and "its own --gin_param" in said, said
    assert "ast." not in said and "train.seed" not in said


def test_a_value_without_quotes_in_a_file_is_named_with_its_place(tmp_path):
    (tmp_path / "a.gin").write_text("train.epochs = 1\ntrain.select_by = auc\n")
    with pytest.raises(ValueError, match=r"'auc', a.gin, line 2; text needs quotes") as caught:
        config.parse([str(tmp_path / "a.gin")])
    assert "ast." not in str(caught.value)


def test_an_error_through_gin_is_said_without_what_gin_adds():
    config.parse([], ["train.epochs = 3"])
    with pytest.raises(ValueError) as caught:
        loop.train(records="r", run_dir="d", task="x", model=None, batch_size=1, learning_rate=None)
    assert "In call to configurable" in str(caught.value), "gin adds nothing any more: own_message can go"
    assert config.own_message(caught.value).endswith("@tasks.referable_dr().")


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
    monkeypatch.syspath_prepend(str(gin_files.DIRECTORY.parent))
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


def test_the_flags_are_named_only_where_they_are_what_is_missing():
    missing = "Required bindings for `train` not provided in config: {}"
    assert (
        config.missing_flags(missing.format("['records', 'run_dir']")) == ". Give --records=RECORDS and --run_dir=RUN."
    )
    assert config.missing_flags(missing.format("['task', 'run_dir']")) == ". Give --run_dir=RUN."
    assert config.missing_flags(missing.format("['label']")) == config.missing_flags("Another error.") == ""
    assert config.missing_flags("Required bindings for `cross_entropy` not provided in config: ['records']") == ""


def test_other_bindings_that_are_missing_are_shown_as_one_types_them():
    said = config.missing_bindings("Required bindings for `cosine` not provided in config: ['learning_rate']")
    assert said == ". Bind them: --gin_param='cosine.learning_rate = VALUE'."
    both = config.missing_bindings("Required bindings for `train` not provided in config: ['records', 'task', 'model']")
    assert both == ". Bind them: --gin_param='train.task = VALUE' --gin_param='train.model = VALUE'."
    assert config.missing_bindings("Another error.") == ""


def test_a_file_that_gin_passes_through_keeps_its_name_and_its_reason(tmp_path):
    """gin's copy of an OSError has lost both: `[Errno 13] Permission denied: '...'`."""
    from dr_edge import command

    @gin.configurable(module="tests")
    def opens(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    @gin.configurable(module="tests")
    def calls(path):
        opens(path)

    with pytest.raises(PermissionError) as caught:
        calls(str(tmp_path / "run"))
    assert caught.value.errno is None, "gin copies it whole now: config.original can go"
    assert (
        command.words(config.original(caught.value))
        == f"{tmp_path / 'run'}: Permission denied. Change the permissions, or choose another place."
    )
