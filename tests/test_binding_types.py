"""A value of another type than its parameter is refused before anything is built: 'False' is text, so true."""

from __future__ import annotations

import gin
import pytest

from dr_edge import config, gin_files

config.import_names()

pytestmark = pytest.mark.usefixtures("clean_gin")


@pytest.mark.parametrize(
    ("binding", "says"),
    [
        ("train.xla = 'False'", "train.xla = 'False': it takes True or False. Write it without quotes: "),
        ("train.freeze_batch_norm = 'true'", "freeze_batch_norm = True."),
        ("train.freeze_batch_norm = 'no'", "freeze_batch_norm = 'no': it takes True or False."),
        ("train.freeze_batch_norm = 2", "= 2: it takes True or False."),
        ("train.frozen_backbone_epochs = '2'", "it takes a whole number. Write it without quotes: "),
        ("train.early_stopping_epochs = 3.5", "= 3.5: it takes a whole number or None."),
        ("train.early_stopping_epochs = True", "= True: it takes a whole number or None."),
        ("train.seed = 'abc'", "= 'abc': it takes a whole number."),
        ("train.checkpoint_minutes = '5'", "it takes a number or None. Write it without quotes: "),
        ("train.select_by = 3", "select_by = 3: it takes text in quotes."),
        ("models.mobilenet_v3_cbam.stride = '16'", "mobilenet_v3_cbam.stride = 16."),
        ("backbones.mobilenet_v2.weights = False", "= False: it takes text in quotes or None."),
        ("head/optimizers.sgd.nesterov = 'off'", "head/sgd.nesterov = 'off': it takes True or False."),
        ("train.early_stopping_epochs = 3.0", "Write it without a point: train.early_stopping_epochs = 3."),
        (
            "tasks.diseases.labels = ('glaucoma')",
            "it takes texts in quotes in brackets. Write it in brackets: diseases.labels = ('glaucoma',).",
        ),
        ("models.resnet_v2_slim.channels = (8, '16')", "it takes whole numbers in brackets."),
        ("models.resnet_v2_slim.channels = 8", "channels = (8,)."),
        ("losses.focal.class_weights = '(1, 2.5)'", "it takes numbers in brackets or None. Write it without quotes: "),
        ("export.settings.float_layers = 'block3'", "float_layers = ('block3',)."),
        ("optimizers.sgd.nesterov = %FLAG", "= 'False': it takes True or False."),
        (
            "export.settings.triton = 'False'",
            "settings.triton = 'False': it takes True or False. Write it without quotes: ",
        ),
    ],
)
def test_another_type_is_one_sentence_that_says_what_it_takes(binding, says):
    import export.settings  # noqa: F401 - its gin names

    with pytest.raises(ValueError) as caught:
        config.parse([], ["FLAG = 'False'", binding])
    assert says in str(caught.value) and "\n" not in str(caught.value), caught.value


@pytest.mark.parametrize(
    "binding",
    [
        "train.xla = False", "train.xla = 0", "train.xla = %FLAG", "train.loss = None", "train.clip_norm = 1",
        "train.early_stopping_epochs = None", "train.ema_decay = 0.99", "train.precision = 'bfloat16'",
        "tasks.label.positive = 'sick'", "tasks.label.positive = (1, 'sick')", "tasks.label.positive = ()",
        "models.resnet_v2_slim.channels = (8, 16)", "models.resnet_v2_slim.channels = [8, %WIDTH]",
        "losses.focal.class_weights = (1, 2.5)",
    ],
)  # fmt: skip
def test_what_fits_is_taken(binding):
    config.parse([], ["FLAG = True", "WIDTH = 16", binding])


def test_a_macro_that_nothing_defines_is_said_to_be_that():
    with pytest.raises(ValueError, match="The macro %NOWHERE is used and nothing defines it"):
        config.parse([], ["train.xla = %NOWHERE"])


@pytest.mark.parametrize("path", sorted(path.name for path in gin_files.DIRECTORY.glob("*.gin")))
def test_every_gin_file_of_the_project_passes(path):
    # The second stage requires initial weights.
    config.parse([f"gin_configs/{path}"], ["train.initial_weights = 'first_stage.keras'"])
    assert gin.config_is_locked()
