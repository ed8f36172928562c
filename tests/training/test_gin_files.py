"""The gin files of systems A and B: strict, as the reports state them, and system B's two stages run."""

from __future__ import annotations

from pathlib import Path

import gin
import numpy as np
import pytest
import tensorflow as tf

from dr_edge import config, metadata
from dr_edge.data import augment  # noqa: F401  (gin names)
from dr_edge.models import mobilenet_v3_cbam, ordinal, resnet_v2_slim  # noqa: F401  (gin names)
from dr_edge.training import loop

CONFIGS = Path(__file__).resolve().parents[2] / "gin_configs"


pytestmark = pytest.mark.usefixtures("clean_gin")


@pytest.mark.parametrize(
    ("name", "parameters", "epochs", "rate", "task"),
    [
        ("system_a_aptos_small", 1_142_885, 10, 1e-4, "any_dr"),
        ("system_a_aptos_large", 3_520_085, 10, 1e-4, "any_dr"),
        ("system_a_messidor_small", 1_142_885, 60, 1e-5, "messidor_any_dr"),
        ("system_a_messidor_large", 3_520_085, 30, 1e-5, "messidor_any_dr"),
    ],
)
def test_system_a_is_what_its_report_says(settings, name, parameters, epochs, rate, task):
    train = settings(name, "models.mobilenet_v3_cbam.weights = None")
    network = train["model"](512, len(train["task"].class_names))
    assert network.count_params() == parameters and network.get_layer("dropout").rate == 0.2
    assert (train["task"].name, train["epochs"], train["batch_size"]) == (task, epochs, 64)
    assert train["learning_rate"](10, 10) == rate and train["optimizer"](rate).weight_decay == 1e-4
    assert gin.query_parameter("augment.augmentation.rotation") == 180.0


def test_the_ablation_differs_by_the_attention_block_alone():
    files = [str(CONFIGS / "idrid_referable.gin"), str(CONFIGS / "models" / "mobilenet_v2_plain.gin")]
    config.parse(files, ["train.records = 'r'", "train.run_dir = 'd'", "backbones.mobilenet_v2.weights = None"])
    plain = gin.get_bindings("train")["model"](64, 2)
    gin.clear_config()
    config.parse(files[:1], ["train.records = 'r'", "train.run_dir = 'd'", "backbones.mobilenet_v2.weights = None"])
    attention = gin.get_bindings("train")["model"](64, 2)
    names = {layer.name for layer in attention.layers} - {layer.name for layer in plain.layers}
    assert plain.name == "mobilenet_v2_plain" and {
        name.split("_attention")[0] for name in names if "_attention" in name
    } == {"channel", "spatial"}
    assert attention.count_params() - plain.count_params() == 1280 * 320 + 320 + 320 * 1280 + 1280 + 99


def test_the_corn_file_puts_its_head_on_the_runs_network():
    files = [str(CONFIGS / "idrid_referable.gin"), str(CONFIGS / "models" / "corn.gin")]
    config.parse(files, ["train.records = 'r'", "train.run_dir = 'd'", "backbones.mobilenet_v2.weights = None"])
    train = gin.get_bindings("train")
    network = train["model"](64, len(train["task"].class_names))
    assert network.output.shape == (None, 5) and network.get_layer("ordinal_scores").units == 4
    assert train["task"].ordered and train["frozen_backbone_epochs"] == 2 and "Conv1" in network.backbone_layers


@pytest.mark.slow
def test_system_bs_two_stages_run_one_after_the_other(stand_in_records, tmp_path):
    first = tmp_path / "first"
    files = [str(CONFIGS / "system_b_idrid.gin")]
    bindings = [f"train.records = {str(stand_in_records)!r}", "train.epochs = 1"]
    config.parse(files, [*bindings, f"train.run_dir = {str(first)!r}"])
    train = gin.get_bindings("train")
    assert train["batch_size"] == 4 and train["checkpoint_epochs"] == 5
    assert float(train["learning_rate"](10, 150)(20)) == pytest.approx(1e-3)  # the peak, after two epochs
    assert loop.train()["model"] == {"name": "resnet_v2_slim", "parameters": 80_018}
    gin.clear_config()
    with pytest.raises(ValueError, match="train.initial_weights set to .* but not subsequently overridden"):
        config.parse([str(CONFIGS / "system_b_second_stage.gin")], bindings)
    gin.clear_config()
    second = [*bindings, f"train.run_dir = {str(tmp_path / 'second')!r}", f"train.initial_weights = {str(first)!r}"]
    config.parse([str(CONFIGS / "system_b_second_stage.gin")], second)
    run = loop.train()
    assert run["status"] == "finished" and run["initial_weights"]["sha256"] == metadata.sha256_file(
        first / "best.keras"
    )
    operative = (tmp_path / "second" / "operative_config.gin").read_text()
    for setting in (
        "learning_rate = 1e-05",
        "augmentation.cutout = 0.15",
        "augmentation.zoom = 0.25",
        "balance = 'oversample'",
    ):
        assert setting in operative


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.gin")), ids=lambda path: path.stem)
def test_every_file_for_photographs_degrades_them_in_training(path):
    """But drawn images, which come from no phone, system B, which augments by its report's list, and system E.

    System E augments unhealthy photographs alone, and a poor copy would become a sign of the disease.
    """
    config.import_names()
    required = ["train.records = 'r'", "train.run_dir = 'd'", "train.initial_weights = 'w'"]
    model = ["train.task = @tasks.any_dr()", "train.model = @models.unet", "train.epochs = 1", "train.batch_size = 1"]
    config.parse([str(path)], required + (model if path.stem == "base" else []))
    bound = gin.query_parameter("augment.augmentation.photograph")
    if path.stem in ("demo", "system_b_idrid", "system_b_second_stage", "system_e"):
        assert bound is None
    else:
        assert str(bound) == "@degrade.photograph()"
        degrade = gin.get_bindings("augment.augmentation")["photograph"]
        out = degrade(tf.zeros([16, 16, 3]) + 100.0, tf.constant([2, 5]))
        assert out.shape == (16, 16, 3) and not np.array_equal(out, np.full((16, 16, 3), 100.0))
