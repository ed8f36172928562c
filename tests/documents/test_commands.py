"""Every command that the documents show can be typed: its module, flags, values, files and targets exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
import snippets
from snippets import REPOSITORY, Command

from dr_edge.subcommands import SUBCOMMANDS

OURS = ("dr_edge", "tfrecord_tools", "export", "android_bench")
FOREIGN = ("hatchling", "pytest", "venv", "pip", "ruff", "mypy", "mkdocs", "build")
# Programs of the system, whose own manual is right about them.
SYSTEM = (
    "adb", "apt", "apt-get", "sudo", "qemu-x86_64", "pre-commit", "cd", "git", "mkdir", "test", "sha256sum", "openssl",
    "chmod", "dask",
)  # fmt: skip
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
# Flags that the documents name of other programs.
OF_OTHERS = {
    "num_threads": "benchmark_model",
    "result_file_path": "benchmark_model",
    "dispatch_library_path": "benchmark_model, inside --tool_flags",
    "require_full_delegation": "benchmark_model, inside --tool_flags",
    "ntasks-per-node": "srun",
    "gpus-per-task": "srun",
    "version": "dr-edge, without a command",
    "nthreads": "dask worker",
    "nworkers": "dask worker",
    "memory-limit": "dask worker",
    "constraint": "pip",
    "editable": "pip",
    "help": "every command",
    "verbosity": "every command, by absl",
}


def all_commands() -> list[Command]:
    shown = [entry for page in snippets.PAGES for entry in snippets.commands(page)]
    return shown + snippets.heads_of_gin_files() + snippets.of_workflows()


def module_and_words(entry: Command) -> tuple[str, tuple[str, ...]] | None:
    """Returns (module of this project, the words behind it) of a command, None where it is no such command."""
    first, *rest = entry.words
    if first == "dr-edge" and rest[:1] and rest[0] in SUBCOMMANDS:
        subcommand = SUBCOMMANDS[rest[0]]
        return subcommand.module, (*subcommand.first, *rest[1:])
    if re.fullmatch(r"(\.venv/bin/)?python", first) and rest[:1] == ["-m"] and rest[1].partition(".")[0] in OURS:
        return rest[1], tuple(rest[2:])
    return None


def wrong_with(entry: Command) -> str | None:
    """Returns what is wrong with a command that is no module of this project; None where nothing is."""
    first, *rest = entry.words
    program = first.removeprefix(".venv/bin/").rpartition("/")[2]
    if first == "dr-edge":
        return None if rest[:1] in (["--help"], ["--version"], ["help"]) else f"dr-edge has no {rest[0]}"
    if first == ".":
        return None if rest[0].endswith("bin/activate") else "unknown file to source"
    if program == "make":
        return wrong_with_make(rest)
    if program == "pip" or (program == "python" and rest[:2] == ["-m", "pip"]):
        return wrong_with_extras(rest)
    if program in ("pytest", "python", "python3"):
        if rest[:1] == ["-m"] and rest[1] not in FOREIGN:
            return f"no module {rest[1]}"
        files = [word for word in rest if word.endswith(".py") or word.startswith("tests/")]
        missing = [word for word in files if "*" not in word and not (REPOSITORY / word).exists()]
        return f"no file {missing[0]}" if missing else None
    return None if program in SYSTEM else f"unknown program {first}"


def wrong_with_make(words: list[str]) -> str | None:
    for word in words:
        variable, _, value = word.partition("=")
        if value or word.endswith("="):
            known = re.search(rf"^(export )?{variable} \??=", MAKEFILE, re.MULTILINE)
        else:
            known = re.search(rf"^{word}:", MAKEFILE, re.MULTILINE)
        if not known:
            return f"the Makefile has no {word}"
    return None


def wrong_with_extras(words: list[str]) -> str | None:
    """Says which extra of this project does not exist; other packages are their own affair."""
    known = PYPROJECT["project"]["optional-dependencies"]
    for word in words:
        named = re.fullmatch(r"(?:dr_edge|\.|.*\.whl\)?)\[([\w,]+)\]", word)
        unknown = set(named[1].split(",")) - set(known) if named else set()
        if unknown:
            return f"no extra {', '.join(sorted(unknown))}"
    return None


def ask(module: str, lines: list[dict]) -> dict[str, list] | str:
    """Returns what parse_flags.py says of a module, or its last line where it ended in an error."""
    command = [sys.executable, str(REPOSITORY / "tests" / "fixtures" / "parse_flags.py"), module]
    result = subprocess.run(command, input=json.dumps(lines), capture_output=True, text=True, cwd=REPOSITORY)
    return json.loads(result.stdout) if result.returncode == 0 else result.stderr.strip().splitlines()[-1]


def typed(entry: Command) -> dict:
    """Returns a command as parse_flags.py reads it; `...` stands for flags that are left out."""
    words = module_and_words(entry)[1]
    return {"words": [word for word in words if word != "..."], "whole": entry.whole and "..." not in words}


@pytest.fixture(scope="module")
def answers() -> dict[str, tuple[list[Command], dict[str, list] | str]]:
    """module -> its commands, and what it says of them and of its flags."""
    by_module = defaultdict(list)
    for entry in all_commands():
        if called := module_and_words(entry):
            by_module[called[0]].append(entry)
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(ask, by_module, [[typed(entry) for entry in entries] for entries in by_module.values()]))
    return dict(zip(by_module, zip(by_module.values(), said, strict=True), strict=True))


def test_commands_are_found_on_the_pages_that_show_them() -> None:
    found = {entry.place.partition(":")[0] for entry in all_commands()}
    assert {
        "README.md",
        "BUILD.md",
        "docs/quickstart.md",
        "docs/records.md",
        "docs/training.md",
        "gin_configs/idrid_referable.gin",
    } <= found
    assert sum(entry.whole for entry in all_commands()) > 30


def test_modules_take_the_flags_that_are_shown(answers) -> None:
    assert {"tfrecord_tools.build", "dr_edge.train", "dr_edge.evaluate", "export", "android_bench"} <= set(answers)
    problems = [f"{module}: {said}" for module, (_, said) in answers.items() if isinstance(said, str)]
    assert not problems, "\n".join(problems)
    for entries, said in answers.values():
        pairs = zip(entries, said["problems"], strict=True)
        problems += [f"{entry}: {problem}" for entry, problem in pairs if problem]
    assert not problems, "\n".join(problems)


def test_other_commands_have_targets_extras_and_files_that_exist() -> None:
    checked = [entry for entry in all_commands() if module_and_words(entry) is None]
    assert len(checked) > 20
    problems = [f"{entry}: {wrong}" for entry in checked if (wrong := wrong_with(entry))]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    "line, wrong",
    [
        ("make reproduce DATA=x WEIGHTS=y", None),
        ("make deploy", "no deploy"),
        ("make reproduce WEIGHT=y", "no WEIGHT=y"),
        ('pip install "dr_edge[qat]"', None),
        ('pip install "dr_edge[quantisation]"', "no extra quantisation"),
        ("python -m pytest tests/nowhere.py", "no file tests/nowhere.py"),
        ("python tests/benchmarks/nowhere.py", "no file"),
        ("dr-edge answer --bundle=B", "no answer"),
        ("docker run dr_edge", "unknown program docker"),
    ],
)
def test_what_does_not_exist_is_found(line: str, wrong: str | None) -> None:
    found = wrong_with(snippets.command("here", line, True))
    assert found is None if wrong is None else wrong in str(found)


@pytest.mark.parametrize(
    "line, wrong",
    [
        ("python -m dr_edge.predict --bundle=B --overlays=x", "overlays"),
        ("python -m tfrecord_tools.build --dataset=idrid --image_size=big --out=R", "image_size"),
        ("dr-edge predict --bundle=B --overlays=x", "overlays"),
        ("python -m dr_edge.serve.vendor --verify", "--verify"),
        ("python -m dr_edge.train --records=R", "gin_file must have a value"),
        ("python -m dr_edge.grade --bundle=B", "No module named dr_edge.grade"),
    ],
)
def test_a_wrong_flag_is_found(line: str, wrong: str) -> None:
    entry = snippets.command("here", line, True)
    said = ask(module_and_words(entry)[0], [typed(entry)])
    assert wrong in (said if isinstance(said, str) else said["problems"][0])


def test_flags_in_sentences_exist_in_some_command(answers) -> None:
    """A sentence names a flag without its command: it must be one of the commands' flags, or another program's."""
    known = {name for _, said in answers.values() for name in said["flags"]} | set(OF_OTHERS)
    shown = [
        (place, name)
        for page in snippets.PAGES
        for place, text in snippets.spans(page)
        for name in re.findall(r"(?:^|[\s=,`])--(?:no)?([a-z][\w-]*)", text)
    ]
    assert len(shown) > 60
    unknown = [f"{place}: --{name}" for place, name in shown if name not in known and f"no{name}" not in known]
    assert not unknown, "\n".join(unknown)


def test_files_in_sentences_exist() -> None:
    """`tests/fixtures/snippets.py`, `gin_configs/models/`, but not `RUN/config.gin` or `serve/static/js`."""
    top = ("dr_edge/", "tfrecord_tools/", "export/", "android_bench/", "gin_configs/", "tests/", "docs/")
    shown = [
        (place, word)
        for page in snippets.PAGES
        for place, text in snippets.spans(page)
        for word in re.findall(r"[\w./*-]+", text)
        if word.startswith(top) and not re.search(r"NAME|\.\.\.", word)
    ]
    assert len(shown) > 60
    missing = [f"{place}: {word}" for place, word in shown if not any(REPOSITORY.glob(word.rstrip("/.")))]
    assert not missing, "\n".join(missing)


def test_blocks_say_their_language_and_unchecked_ones_why() -> None:
    for page in snippets.PAGES:
        for block in snippets.blocks(page):
            assert block.language in ("bash", "python", "gin", "json", "text"), f"{block.place}: language?"
            assert block.why_not or block.language != "text" or not re.search(r"(?m)^(python|make|pip) ", block.text)
            if block.language == "json" and not block.why_not:
                json.loads(block.text)
