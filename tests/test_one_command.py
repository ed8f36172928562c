"""`dr-edge COMMAND` is `python -m MODULE` under another name, and its help a map that costs next to nothing."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dr_edge import __main__ as entry
from dr_edge import next_steps
from dr_edge.subcommands import CALLED_AS, NAMES, SUBCOMMANDS, as_called

REPOSITORY = Path(__file__).resolve().parents[1]
# What pip writes to bin/dr-edge.
SCRIPT = "import sys; sys.argv[0] = '/usr/bin/dr-edge'; from dr_edge.__main__ import main; sys.exit(main())"


def dr_edge(*arguments: str, as_module: bool = False) -> subprocess.CompletedProcess[str]:
    called = ["-m", "dr_edge"] if as_module else ["-c", SCRIPT]
    environment = {name: value for name, value in os.environ.items() if name != CALLED_AS}
    environment["PYTHONPATH"] = str(REPOSITORY)
    return subprocess.run(
        [sys.executable, *called, *arguments], capture_output=True, text=True, timeout=120, cwd=REPOSITORY,
        env=environment,
    )  # fmt: skip


def test_pip_makes_the_command():
    content = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    module, _, function = content["project"]["scripts"]["dr-edge"].partition(":")
    assert (module, function) == (entry.__name__, entry.main.__name__)


def test_every_subcommand_is_a_module_that_python_runs():
    for name, subcommand in SUBCOMMANDS.items():
        found = importlib.util.find_spec(subcommand.module)
        assert found is not None, name
        if found.submodule_search_locations is not None:
            assert importlib.util.find_spec(f"{subcommand.module}.__main__"), name


def test_the_map_names_every_command_in_the_order_of_the_chain_in_three_starts(starts):
    answers = []
    ratio = starts(lambda: answers.append(dr_edge("--help")))
    (done,) = answers
    assert done.returncode == 0 and done.stderr == ""
    assert re.findall(r"^  ([a-z]+) .*  ->  ", done.stdout, re.MULTILINE) == list(SUBCOMMANDS)
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert ratio < 4, f"--help takes {ratio:.1f} starts of Python"


def test_the_map_imports_the_standard_library_only():
    code = "import sys; from dr_edge import __main__ as entry; entry.overview('x'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert not {"absl", "numpy", "tensorflow", "gin"} & set(loaded.stdout.split())


@pytest.mark.parametrize("word", ["-h", "-help", "help"])
def test_other_ways_to_ask_for_help(word, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/bin/dr-edge", word])
    assert entry.main() == 0 and "BUNDLE" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["--version", "version"])
def test_the_version_is_what_a_report_of_a_fault_needs(word, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/bin/dr-edge", word])
    assert entry.main() == 0
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert f"dr_edge {version}, Python {platform.python_version()}, " in capsys.readouterr().out


def test_help_of_what_is_no_command_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/bin/dr-edge", "help", "trian"])
    assert entry.main() == 2 and "Did you mean dr-edge train?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("trian", "Unknown command: 'trian'. Did you mean dr-edge train? Known: build, verify, "),
        ("Train", "Did you mean dr-edge train?"),
        ("eval", "Did you mean dr-edge evaluate?"),
        ("android_bench", "Did you mean dr-edge bench?"),
        ("dr_edge.evaluate", "Did you mean dr-edge evaluate?"),
        ("xyz", "Unknown command: 'xyz'. Known: "),
        ("", "A command is needed: dr-edge COMMAND --flags."),
        ("--run_dir=x", "The command comes first, then its flags: dr-edge COMMAND --run_dir=x."),
    ],
)
def test_a_wrong_command_is_one_line_that_names_the_nearest(word, says, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/bin/dr-edge", *([word] if word else [])])
    assert entry.main() == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and says in err


def test_the_help_of_a_subcommand_is_its_own_in_the_form_that_was_typed():
    own = subprocess.run(
        [sys.executable, "-m", "dr_edge.train", "--help"], capture_output=True, text=True, cwd=REPOSITORY
    ).stdout
    assert "python -m dr_edge.train --gin_file" in own and "--gin_file" in own
    ours = dr_edge("train", "--help")
    typed = {f"python -m {module}": f"dr-edge {word}" for module, word in NAMES.items()}
    for module in sorted(typed, key=len, reverse=True):
        own = own.replace(module, typed[module])
    assert ours.returncode == 0 and ours.stdout.split() == own.split()  # lines of other lengths break elsewhere
    assert dr_edge("help", "train").stdout == dr_edge("train", "-h").stdout == ours.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["train"], 2, "error: Missing: --gin_file. See dr-edge train --help."),
        (["train", "--gin-file=x"], 2, "Unknown flag: --gin-file. Did you mean --gin_file? See dr-edge train --help."),
        (["predict", "--bundle=/nowhere", "eye.jpg"], 1, "dr-edge export --run_dir=RUN --out=BUNDLE"),
        (["compare", "a"], 2, "Received: a. See dr-edge compare --help."),
        (["compare", "a", "b", "--splt=val"], 2, "Did you mean --split? See dr-edge compare --help."),
        (["compare", "a", "b", "--run_dir=c"], 2, "give them to dr-edge evaluate --run_dir=RUN and compare then."),
        (["evaluate", "now"], 2, "Received: now. See dr-edge evaluate --help."),
        (["compare", "a", "b", "--split=val"], 1, "a/evaluation/val is no directory"),
        (["verify"], 2, "One directory of records is needed: dr-edge verify RECORDS. See dr-edge verify"),
        (["bench", "--bundle=x"], 2, "See dr-edge bench --help."),
        (["serve", "--bundle=/nowhere", "--port=0"], 1, "dr-edge export --run_dir=RUN --out=BUNDLE"),
    ],
)
def test_mistakes_are_those_of_the_module_in_the_form_that_was_typed(arguments, status, says):
    done = dr_edge(*arguments)
    assert done.returncode == status and says in done.stderr and "python -m" not in done.stderr, done.stderr


def test_python_dash_m_dr_edge_calls_itself_so():
    assert "See python -m dr_edge train --help." in dr_edge("train", as_module=True).stderr
    assert "Did you mean python -m dr_edge train?" in dr_edge("trian", as_module=True).stderr


def test_commands_in_texts_take_the_form_that_was_typed(monkeypatch, tmp_path):
    texts = (
        "Run python -m dr_edge.evaluate.", "python -m dr_edge.serve.vendor", "python -m export --out=a b",
        "python -m tfrecord_tools.disc_region", "python -m dr_edge.evaluate compare A B",
    )  # fmt: skip
    monkeypatch.delenv(CALLED_AS, raising=False)
    assert [as_called(text) for text in texts] == list(texts)
    monkeypatch.setenv(CALLED_AS, "dr-edge")
    assert [as_called(text) for text in texts] == [
        "Run dr-edge evaluate.", texts[1], "dr-edge export --out=a b", texts[3], "dr-edge compare A B",
    ]  # fmt: skip
    assert next_steps.after_explanation("runs/a b") == "dr-edge export '--run_dir=runs/a b' '--out=bundles/a b'"
    assert next_steps.after_evaluation(tmp_path, "r", "test").startswith("dr-edge explain --run_dir=")


def test_worker_processes_of_a_subcommand_start_as_those_of_its_module(tmp_path):
    """Records from two processes, which import the module that is __main__ once more."""
    arguments = ("--dataset=synthetic", "--limit=12", "--image_size=32", "--workers=2", f"--out={tmp_path / 'r'}")
    done = dr_edge("build", *arguments)
    assert done.returncode == 0 and "next: dr-edge train --gin_file=" in done.stdout, done.stdout + done.stderr
    assert dr_edge("verify", str(tmp_path / "r")).stdout.endswith("12 examples, all is well.\n")
