"""What a gin file chooses by name: every spelling that can mean one thing only is that; the others say the form."""

from __future__ import annotations

import gin
import pytest

from dr_edge import choices, config
from dr_edge.training import loop, optimizers, preflight

config.import_names()

pytestmark = pytest.mark.usefixtures("clean_gin")


@pytest.mark.parametrize(
    ("binding", "is_now"),
    [
        ("train.optimizer = 'adam'", "train.optimizer = @optimizers.adam"),
        ("train.optimizer = 'Adam'", "train.optimizer = @optimizers.adam"),
        ("train.optimizer = '@optimizers.adam()'", "train.optimizer = @optimizers.adam"),
        ("train.optimizer = @optimizers.adam()", "train.optimizer = @optimizers.adam"),
        ("train.loss = 'focal'", "train.loss = @losses.focal()"),
        ("train.loss = @losses.focal", "train.loss = @losses.focal()"),
        ("train.loss = None", "train.loss = None"),
        ("train.model = 'mobilenet_v3_cbam'", "train.model = @models.mobilenet_v3_cbam"),
        ("train.model = @models.unet()", "train.model = @models.unet"),
        ("train.task = 'referable_dr'", "train.task = @tasks.referable_dr()"),
        ("train.task = @tasks.referable_dr", "train.task = @tasks.referable_dr()"),
        ("train.strategy = 'mirrored'", "train.strategy = @strategies.mirrored"),
        ("train.strategy = @mirrored()", "train.strategy = @mirrored"),
        ("train.learning_rate = 'cosine'", "train.learning_rate = @schedules.cosine()"),
        ("train.learning_rate = @schedules.cosine", "train.learning_rate = @schedules.cosine()"),
        ("models.cbam_classifier.backbone = 'mobilenet_v2'", "cbam_classifier.backbone = @backbones.mobilenet_v2"),
        ("models.corn.model = 'cbam_classifier'", "corn.model = @models.cbam_classifier"),
        ("models.unet.encoder = 'mobilenet_v2_encoder'", "unet.encoder = @encoders.mobilenet_v2_encoder"),
        ("training_batches.augmentation = 'augmentation'", "training_batches.augmentation = @augment.augmentation()"),
        ("augment.augmentation.photograph = @degrade.photograph", "augmentation.photograph = @degrade.photograph()"),
        ("augment.augmentation.photograph = None", "augmentation.photograph = None"),
    ],
)
def test_what_can_mean_one_thing_only_is_that(binding, is_now):
    config.parse([], [binding])
    assert is_now in gin.config_str().splitlines()


@pytest.mark.parametrize("value", ["1e-3", "%LR"])
def test_a_number_is_a_constant_learning_rate(value):
    config.parse([], ["LR = 1e-3", f"train.learning_rate = {value}"])
    (schedule,) = [gin.get_bindings("train")["learning_rate"]]
    assert schedule(10, 3) == 1e-3
    assert "train.learning_rate = @schedules.constant()" in gin.config_str()


def test_it_wins_over_the_files_own_schedule(tmp_path):
    (tmp_path / "a.gin").write_text(
        "train.learning_rate = @schedules.constant()\nschedules.constant.learning_rate = 0.5\n"
    )
    config.parse([str(tmp_path / "a.gin")], ["train.learning_rate = 1e-3"])
    assert gin.get_bindings("train")["learning_rate"](1, 1) == 1e-3


def test_two_spellings_are_one_run():
    config.parse([], ["train.optimizer = 'adam'"])
    first = gin.config_str()
    gin.clear_config()
    config.parse([], ["train.optimizer = @optimizers.adam"])
    assert gin.config_str() == first


@pytest.mark.parametrize(
    ("binding", "says"),
    [
        ("train.optimizer = 'adm'", "Did you mean train.optimizer = @optimizers.adam?"),
        ("train.optimizer = 'rmsprop'", "It takes one of @optimizers.adam, @optimizers.adamw, @optimizers.sgd."),
        ("train.optimizer = 3", "It takes one of @optimizers.adam"),
        ("train.optimizer = @losses.focal()", "that is no optimizer. It takes one of @optimizers.adam"),
        ("train.loss = 'focl'", "Did you mean train.loss = @losses.focal()?"),
        ("train.model = 'mobilenet_v2'", "models.cbam_classifier.backbone = @backbones.mobilenet_v2"),
        ("train.task = 'dr'", "It takes one of @tasks.any_dr(), @tasks.diseases()"),
        ("train.learning_rate = 'linear'", "@schedules.two_stage() or a number such as 1e-3."),
        ("train.learning_rate = 0", "must be above 0. Received: 0."),
        ("train.learning_rate = True", "or a number such as 1e-3."),
        ("optimizers.adam.learning_rate = 1e-3", "has no effect: the optimizer gets train.learning_rate"),
        ("train.frozen_backbone_epochs = %HAED", "The macro %HAED is used and nothing defines it. Did you mean %HEAD?"),
    ],
)
def test_the_others_say_the_form(binding, says):
    with pytest.raises(ValueError) as caught:
        config.parse([], ["HEAD = 3", binding])
    said = str(caught.value)
    assert says in said and "\n" not in said and said.count("Did you mean") <= 1, said


def test_a_byte_order_mark_is_no_token(tmp_path):
    (tmp_path / "a.gin").write_bytes(b"\xef\xbb\xbftrain.epochs = 3\r\ninclude 'b.gin'\r\n")
    (tmp_path / "b.gin").write_bytes(b"\xef\xbb\xbftrain.seed = 4\n")
    gin.add_config_file_search_path(str(tmp_path))
    config.parse([str(tmp_path / "a.gin")])
    assert (gin.query_parameter("train.epochs"), gin.query_parameter("train.seed")) == (3, 4)


def test_another_encoding_is_said(tmp_path):
    (tmp_path / "a.gin").write_text("train.epochs = 3\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"a\.gin is no UTF-8 text .* Save it as UTF-8\."):
        config.parse([str(tmp_path / "a.gin")])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"learning_rate": "fast"}, "train.learning_rate must be a number above 0, or a schedule"),
        ({"optimizer": "adam"}, "train.optimizer must be a function, as @optimizers.adam. Received: 'adam'."),
        ({"model": None}, "train.model must be a function"),
    ],
)
def test_a_call_from_python_is_told_too(changes, says, tmp_path):
    from dr_edge.data import tasks

    arguments = {"task": tasks.referable_dr(), "model": print, "epochs": 1, "batch_size": 1, "learning_rate": 0.1}
    with pytest.raises(ValueError) as caught:
        loop.train(records="r", run_dir=str(tmp_path / "d"), **arguments | changes)
    assert says in str(caught.value)


def test_a_number_in_python_is_a_constant_rate_too():
    assert preflight.as_schedule(0.25)(4, 5) == 0.25
    schedule = optimizers.cosine(learning_rate=1.0)
    assert preflight.as_schedule(schedule) is schedule


def test_every_choice_has_something_to_choose():
    for choice in choices.CHOICES.values():
        assert choices.known(choice.module), choice.module
