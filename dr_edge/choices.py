"""What a gin file chooses by name, in the spelling that gin needs, from the spellings that people use.

gin tells `@optimizers.adam` (the function) from `@schedules.cosine()` (what it returns) and both from the text 'adam'.
Which one a parameter needs is known here, so where only one thing can be meant it is bound as that: 'adam', '@adam',
`@optimizers.adam()` are `@optimizers.adam`; `train.learning_rate = 1e-3` is a constant schedule. Anything else is
refused with the form that is needed. Runs on gin's configuration, before it is locked, so that a run is named by what
it does.
"""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

import gin


@dataclasses.dataclass(frozen=True)
class Choice:
    """Where a parameter's value comes from.

    Attributes:
      module: gin module of what can be chosen, for example "optimizers".
      called: gin needs the brackets: `@losses.focal()`.
      what: for messages.
    """

    module: str
    called: bool
    what: str

    def form(self, name: str) -> str:
        """Returns the reference as gin needs it."""
        return f"@{self.module}.{name}{'()' if self.called else ''}"


CHOICES = {
    "task": Choice("tasks", True, "task"),
    "model": Choice("models", False, "model"),
    "optimizer": Choice("optimizers", False, "optimizer"),
    "learning_rate": Choice("schedules", True, "learning rate schedule"),
    "loss": Choice("losses", True, "loss"),
    "strategy": Choice("strategies", False, "strategy"),
    "backbone": Choice("backbones", False, "backbone"),
    "encoder": Choice("encoders", False, "encoder"),
    "augmentation": Choice("augment", True, "augmentation"),
    "photograph": Choice("degrade", True, "degradation of photographs"),
}
# Elsewhere these names mean something else: schedules.constant.learning_rate is a number.
CHOOSERS = ("training.train", "pipeline.training_batches", "augment.augmentation", "models.")
REFERENCE = gin.config.ConfigurableReference  # gin has no public name for it
MACRO = "gin.macro"


def settle() -> None:
    """Rewrites the bindings of gin's configuration that choose something.

    Raises:
      ValueError: a value that is no choice, or a learning rate bound where it has no effect.
    """
    for (scope, selector), values in list(gin.config._CONFIG.items()):
        _check_learning_rate(scope, selector, values)
        for name, value in list(values.items()):
            choice = CHOICES.get(name)
            if choice is not None and _chooses(selector):
                _settle_one(scope, selector, name, value, choice)


def known(module: str) -> list[str]:
    """Returns the names that a gin module offers, sorted."""
    return sorted(
        {selector.rpartition(".")[2] for selector, _ in gin.config._REGISTRY.items() if _module(selector) == module}
    )


def _module(selector: str) -> str:
    return selector.rpartition(".")[0].rpartition(".")[2]


def _chooses(selector: str) -> bool:
    return any(selector.endswith(name) or f".{name}" in f".{selector}" for name in CHOOSERS)


def _settle_one(scope: str, selector: str, name: str, value: Any, choice: Choice) -> None:
    where = f"{f'{scope}/' if scope else ''}{gin.config._REGISTRY.minimal_selector(selector)}.{name}"
    short = where.removeprefix("training.")
    meant = macro_value(value)
    if meant is None:
        return
    if name == "learning_rate" and isinstance(meant, int | float) and not isinstance(meant, bool):
        if not meant > 0:
            raise ValueError(f"{short} must be above 0. Received: {meant!r}.")
        number = value if value is not meant else meant  # a macro stays one
        gin.bind_parameter("schedules.constant.learning_rate", number)
        gin.parse_config(f"{where} = {choice.form('constant')}")
        return
    names = known(choice.module)
    if isinstance(meant, REFERENCE):
        module = _module(_full(meant.selector))
        if module == choice.module and meant.evaluate != choice.called:
            gin.parse_config(f"{where} = @{meant.scoped_selector}{'()' if choice.called else ''}")
        elif module != choice.module and module in {other.module for other in CHOICES.values()}:
            raise ValueError(
                f"{short} = {meant!r}: that is no {choice.what}. It takes one of {_listed(choice, names)}."
            )
        return
    chosen = _name(meant, choice, names) if isinstance(meant, str) else None
    if chosen is None:
        raise ValueError(_refusal(short, meant, choice, names))
    gin.parse_config(f"{where} = {choice.form(chosen)}")


def macro_value(value: Any) -> Any:
    """Returns the value behind a macro, or `value` itself; None where it is not defined, which gin says later."""
    while isinstance(value, REFERENCE) and value.selector == MACRO:
        value = gin.config._CONFIG.get((value.scoped_selector.rpartition("/")[0], MACRO), {}).get("value")
    return value


def _name(text: str, choice: Choice, names: list[str]) -> str | None:
    """Returns which of `names` a text stands for, None for none: 'Adam', 'optimizers.adam', '@optimizers.adam()'."""
    plain = text.strip().removeprefix("@").removesuffix("()").removeprefix(f"{choice.module}.").lower()
    return next((name for name in names if name.lower() == plain), None)


def _full(selector: str) -> str:
    """Returns the whole name of a configurable, or `name` as it is where gin knows none (and says so) or several."""
    matches = gin.config._REGISTRY.matching_selectors(selector)
    return matches[0] if len(matches) == 1 else selector


def _listed(choice: Choice, names: list[str]) -> str:
    return ", ".join(choice.form(name) for name in names)


def _refusal(where: str, value: Any, choice: Choice, names: list[str]) -> str:
    text = value.strip().removeprefix("@").removesuffix("()").rpartition(".")[2] if isinstance(value, str) else ""
    if choice.module == "models" and text in known("backbones"):
        return (
            f"{where} = {value!r}: {text} is a backbone, which a model is built on. Bind train.model = "
            f"@models.cbam_classifier and models.cbam_classifier.backbone = @backbones.{text}."
        )
    near = difflib.get_close_matches(text.lower(), names, n=1, cutoff=0.6)
    hint = f" Did you mean {where} = {choice.form(near[0])}?" if near else ""
    number = " or a number such as 1e-3" if choice.module == "schedules" else ""
    return (
        f"{where} = {value!r}: no {choice.what} of that name.{hint} It takes one of {_listed(choice, names)}{number}."
    )


def _check_learning_rate(scope: str, selector: str, values: dict[str, Any]) -> None:
    """Raises ValueError where an optimizer's own learning rate is bound: it is given by train.learning_rate, always."""
    if _module(selector) == "optimizers" and "learning_rate" in values:
        name = gin.config._REGISTRY.minimal_selector(selector)
        raise ValueError(
            f"{name}.learning_rate has no effect: the optimizer gets train.learning_rate. Bind that, for example "
            f"train.learning_rate = {values['learning_rate']!r}."
        )
