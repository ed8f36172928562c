"""The gin files of systems C, D and E: strict, with the networks and settings of the reports; C and E run."""

from __future__ import annotations

from pathlib import Path

import gin
import pytest

from dr_edge import config  # noqa: F401  (gin names)
from dr_edge.data import augment  # noqa: F401  (gin names)
from dr_edge.evaluation import flow
from dr_edge.losses import multilabel as multilabel_losses  # noqa: F401  (gin names)
from dr_edge.losses import segmentation as segmentation_losses  # noqa: F401  (gin names)
from dr_edge.models import classifiers, multitask, unet  # noqa: F401  (gin names)
from dr_edge.training import loop

CONFIGS = Path(__file__).resolve().parents[2] / "gin_configs"


pytestmark = pytest.mark.usefixtures("clean_gin")


def test_system_d_is_what_its_report_says(settings):
    train = settings("system_d", "models.classifier.weights = None")
    assert train["task"].class_names[0] == "no DR" and len(train["task"].class_names) == 5
    rate = train["learning_rate"](7, 30)
    assert [float(rate(step)) for step in (0, 69, 70, 140)] == pytest.approx([1e-4, 1e-4, 1e-5, 1e-6])
    assert type(train["optimizer"](rate)).__name__ == "AdamW" and train["precision"] == "float16"
    network = train["model"](64, 5)
    assert network.name == "efficientnet_b4" and network.get_layer("dropout").rate == 0.3


def test_system_e_is_what_its_report_says(settings):
    train = settings("system_e", "models.multitask.weights = None")
    optimizer = train["optimizer"](train["learning_rate"](10, 10))
    assert float(optimizer.learning_rate) == pytest.approx(1e-5) and optimizer.weight_decay == 5e-4
    assert train["select_by"] == "mean_f1" and train["task"].class_names == ("glaucoma", "diabetic_retinopathy")
    assert train["model"](64, 2).name == "multitask_densenet121"
    assert gin.query_parameter("augment.augmentation.only_unhealthy") is True


def test_systems_d_and_e_with_the_backbone_of_a_phone(settings):
    train = settings("system_d_mobilenet_v2", "models.classifier.weights = None")
    network = train["model"](64, len(train["task"].class_names))
    assert network.name == "mobilenet_v2" and network.count_params() == 2_257_984 + 1280 * 64 + 64 + 64 * 5 + 5
    assert train["task"].class_names[0] == "no DR" and "Conv1" in network.backbone_layers
    assert float(train["learning_rate"](10, 16)(0)) == pytest.approx(1e-3) and train["precision"] == "float32"
    gin.clear_config()
    train = settings("system_e_phone", "models.multitask.weights = None")
    network = train["model"](64, 2)
    assert network.name == "multitask_mobilenet_v2_cbam" and "channel_attention_hidden" not in network.backbone_layers
    assert float(train["learning_rate"](10, 16)(39)) == pytest.approx(1e-3)
    assert float(train["learning_rate"](10, 16)(40)) < 3.1e-5
    # With it as in the report the validation loss rises fivefold: the network learns the augmentation (see the file).
    assert gin.query_parameter("augment.augmentation.only_unhealthy") is False


def test_your_own_folders(settings):
    train = settings("folder", "backbones.mobilenet_v2.weights = None")
    task = train["task"].resolve(("glaucoma", "normal"))
    assert (task.name, task.class_names) == ("class", ("glaucoma", "normal"))
    assert train["model"](64, 2).name == "mobilenet_v2_cbam"


def test_system_c_of_the_report_and_for_phones(settings):
    train = settings("system_c_refuge")
    network = train["model"](64, len(train["task"].class_names))
    assert network.output.shape == (None, 64, 64, 3) and not hasattr(network, "backbone_layers")
    assert train["epochs"] == 50 and gin.query_parameter("pipeline.training_batches.balance_label") == "glaucoma"
    gin.clear_config()
    weights = ("encoders.mobilenet_v2_encoder.weights = None", "encoders.mobilenet_v3_encoder.weights = None")
    phone = settings("system_c_phone", *weights)["model"](64, 2)
    assert phone.count_params() == 961_994
    assert [layer for layer in phone.layers if type(layer).__name__ == "SeparableConv2D"]
    gin.clear_config()
    assert settings("system_c", *weights[:1])["model"](64, 2).count_params() == 2_801_186


def run(name: str, records: Path, run_dir: Path, *bindings: str) -> dict:
    places = [f"train.records = {str(records)!r}", f"train.run_dir = {str(run_dir)!r}"]
    config.parse([str(CONFIGS / f"{name}.gin")], [*places, *bindings])
    return loop.train()


@pytest.mark.slow
def test_system_c_runs_and_is_evaluated(tmp_path):
    """Drawn photographs to report, with a small plain encoder: it finds the disc, the fovea's place is measured."""
    from tfrecord_tools.assembly import build
    from tfrecord_tools.plan import BuildOptions

    records = tmp_path / "records"
    build(
        BuildOptions(
            dataset="synthetic",
            data_dir=None,
            out=records,
            image_size=64,
            preprocess="crop",
            workers=1,
            limit=60,
            seed=3,
        )
    )
    small = (
        "train.task = @tasks.optic_disc_cup_and_fovea()", "unet.encoder = @plain_encoder", "plain_encoder.depth = 3",
        "plain_encoder.width = 8", "train.freeze_batch_norm = False", "schedules.cosine.learning_rate = 0.02",
        "schedules.cosine.warmup_epochs = 0.0", "train.epochs = 4", "train.batch_size = 2",
        "encoders.mobilenet_v2_encoder.weights = None", "pipeline.training_batches.balance = 'oversample'",
        "pipeline.training_batches.balance_label = 'glaucoma'",
    )  # fmt: skip
    content = run("system_c", records, tmp_path / "run", *small)
    assert content["best"]["metric"] == "dice"
    metrics = flow.evaluate(tmp_path / "run", flow.Settings(split="val", examples=1))["metrics"]
    assert metrics["per_class"]["optic disc"]["dice"] > 0.4
    assert metrics["fovea"]["images"] == metrics["vcdr"]["images"] + metrics["vcdr"]["not_found"] > 3
    assert (tmp_path / "run" / "evaluation" / "val" / "report.html").is_file()


@pytest.mark.slow
def test_system_e_runs_and_is_evaluated(stand_in_records, tmp_path):
    small = (
        "multitask.trunk = 'alexnet'", "multitask.weights = None", "multitask.hidden = 4", "train.epochs = 1",
        "train.batch_size = 12", "tasks.diseases.labels = ('glaucoma',)",
    )  # fmt: skip
    content = run("system_e", stand_in_records, tmp_path / "run", *small)
    assert content["best"]["metric"] == "mean_f1"
    metrics = flow.evaluate(tmp_path / "run", flow.Settings(examples=1, heatmap_checks=False, stability=False))[
        "metrics"
    ]
    assert metrics["images"] == 36 and 0 <= metrics["mean_f1"] <= 1
