"""Every gin file, binding and reference that the documents show is one that gin takes."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import gin
import pytest
import snippets
from snippets import Command

from dr_edge import config

BINDING = re.compile(r"(?:[\w%]+/)?([a-zA-Z_]\w*\.)+[a-zA-Z_]\w*\s*=\s*.+")
REFERENCE = re.compile(r"@((?:\w+\.)+\w+)(\(\))?")
NAME = re.compile(r"((?:[a-zA-Z_]\w*\.)+)([a-zA-Z_]\w*)")
# First words of gin names; `task.positive_indices` of metadata.json is no such name.
MODULES = {
    "augment", "backbones", "calibration", "degrade", "encoders", "export", "losses", "models", "optimizers",
    "pipeline", "schedules", "strategies", "tasks", "train", "training",
}  # fmt: skip


@pytest.fixture(autouse=True)
def names(clean_gin: None) -> None:
    config.import_names()
    import export.qat.finetune
    import export.settings  # noqa: F401


def spans() -> list[tuple[str, str]]:
    return [found for page in snippets.PAGES for found in snippets.spans(page)]


def parameters(selector: str) -> set[str] | None:
    """Returns the parameters of what gin calls `selector`, None where it knows no such thing."""
    configurable = gin.config._REGISTRY.get_match(selector)  # gin has no public list of what is configurable
    return None if configurable is None else set(inspect.signature(configurable.wrapped).parameters)


def problem(files: list[str], bindings: list[str]) -> str | None:
    gin.clear_config()
    try:
        config.parse(files, bindings)
    except ValueError as err:
        return str(err)
    return None


def gin_flags(entry: Command) -> tuple[list[str], list[str]]:
    """Returns (gin files, bindings) of a command, without placeholders such as F, NAME.gin and `...`."""
    files = [word.partition("=")[2] for word in entry.words if word.startswith("--gin_file=")]
    bindings = [word.partition("=")[2] for word in entry.words if word.startswith("--gin_param=")]
    # tune gives its values later; that of the file stands in for them.
    asked = [word.split("=")[1] for word in entry.words if re.match(r"--(grid|search)=[a-z]", word)]
    unknown = [name for name in asked if name.rpartition(".")[2] not in (parameters(name.rpartition(".")[0]) or ())]
    bindings += [f"{name} = 0" for name in unknown]
    return [file for file in files if not re.search(r"^[A-Z]*$|NAME|\.\.\.|\$\(", file)], bindings


def test_commands_name_gin_files_and_bindings_that_exist() -> None:
    commands = [entry for page in snippets.PAGES for entry in snippets.commands(page)] + snippets.heads_of_gin_files()
    asked = [(entry, *gin_flags(entry)) for entry in commands]
    asked = [row for row in asked if row[1] or row[2]]
    assert len(asked) > 5
    problems = [f"{entry}: {wrong}" for entry, files, bindings in asked if (wrong := problem(files, bindings))]
    assert not problems, "\n".join(problems)


def test_bindings_in_sentences_are_taken() -> None:
    shown = [
        (place, re.sub(r"^--gin_param=[\"']?|[\"']$", "", text) if "gin_param" in text else text)
        for place, text in spans()
    ]
    shown = [(place, text) for place, text in shown if BINDING.fullmatch(text) and text.partition(".")[0] in MODULES]
    assert len(shown) > 10
    problems = [f"{place}: {text}: {wrong}" for place, text in shown if (wrong := problem([], [text]))]
    assert not problems, "\n".join(problems)


def test_names_in_sentences_exist() -> None:
    """`train.batch_size` is a parameter of what gin calls train; `schedules.cosine` is a thing of its own."""
    shown = [(place, NAME.fullmatch(text)) for place, text in spans()]
    shown = [(place, name) for place, name in shown if name and name[0].partition(".")[0] in MODULES]
    files = ("csv", "ini", "json", "md", "py")
    shown = [(place, name) for place, name in shown if name[2] not in files]
    assert len(shown) > 5
    unknown = [
        f"{place}: {name[0]}"
        for place, name in shown
        if name[2] not in (parameters(name[1].rstrip(".")) or ()) and parameters(name[0]) is None
    ]
    assert not unknown, "\n".join(unknown)


def test_references_in_sentences_exist() -> None:
    shown = [
        (place, name) for place, text in spans() for name, _ in REFERENCE.findall(text) if name != "gin.configurable"
    ]
    assert len(shown) > 3
    unknown = [f"{place}: @{name}" for place, name in shown if parameters(name) is None]
    assert not unknown, "\n".join(unknown)


def test_gin_blocks_are_configurations(tmp_path: Path) -> None:
    shown = [block for page in snippets.PAGES for block in snippets.blocks(page) if block.language == "gin"]
    shown = [block for block in shown if not block.why_not]
    assert shown
    path = tmp_path / "block.gin"
    for block in shown:
        path.write_text(block.text, encoding="utf-8")
        wrong = problem([str(path)], [])
        assert wrong is None, f"{block.place}: {wrong}"


@pytest.mark.parametrize(
    "binding, wrong",
    [
        ("train.epochs = 3", None),
        ("train.epoch = 3", "Did you mean 'epochs'"),
        ("models.unett.encoder = None", "Did you mean"),
        ("train.xla = 'False'", "True or False"),
    ],
)
def test_a_wrong_binding_is_found(binding: str, wrong: str | None) -> None:
    found = problem([], [binding])
    assert found is None if wrong is None else wrong in str(found)
