"""Every command says a mistake in one plain line of one style, with the exit status that a script can trust."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from absl import app, flags

from dr_edge import command

REPOSITORY = Path(__file__).resolve().parents[1]
COMMANDS = (
    "tfrecord_tools.build", "tfrecord_tools.verify", "tfrecord_tools.inspect", "tfrecord_tools.disc_region",
    "dr_edge.train", "dr_edge.evaluate", "dr_edge.explain", "dr_edge.predict", "dr_edge.tune", "dr_edge.demo",
    "dr_edge.serve", "dr_edge.models", "export", "android_bench",
)  # fmt: skip
build, csv = "tfrecord_tools.build", "--dataset=csv"
# module, arguments, exit status, what must be said. {tmp} is an empty directory.
WRONG = [
    (build, ["--data_dir=x"], 2, "Missing: --dataset, --out."),
    (build, ["--dataste=idrid", "--out={tmp}/r"], 2, "Unknown flag: --dataste. Did you mean --dataset?"),
    (build, ["--dataset=idird", "--out={tmp}/r"], 2, "Did you mean 'idrid'? Known: aptos, csv, "),
    (build, ["-dataset", "synthetic", "out={tmp}/r"], 2, "Missing: --out. Did you mean --out={tmp}/r?"),
    (build, ["--dataset=synthetic", "--out="], 2, "--out= has no value"),
    (build, ["--dataset=synthetic", "--out={tmp}/r", "limit=4"], 2,
     "Unexpected arguments: limit=4. Did you mean --limit=4?"),
    (build, ["--dataset=synthetic", "--out={tmp}/r", "--limit=many"], 2, "--limit=many: a whole number is needed"),
    (build, ["--dataset=synthetic", "--out={tmp}/r", "--val_fraction=0,2"], 2, "a number is needed, with a point"),
    (build, ["--dataset=synthetic", "--out={tmp}/r", "--val_fraction=15"], 1, "--val_fraction must be"),
    (build, ["--dataset=synthetic", "--out={tmp}/r", "--preprocess=grahm"], 2, "Did you mean 'graham'?"),
    (build, ["--dataset=synthetic", "--out={tmp}/r", "--image_size=3"], 2,
     "--image_size=3: 3 is not an integer in the range"),
    (build, ["--dataset=synthetic", "--out=/etc/passwd"], 1, "--out=/etc/passwd is no directory"),
    (build, ["--dataset=synthetic", "--out=/proc/x/y"], 1,
     "/proc/x: No such file or directory. Check the path. What is finished"),
    (build, ["--dataset=idrid", "--out={tmp}/r"], 1, "--dataset=idrid needs --data_dir"),
    (build, ["--dataset=idrid", "--data_dir={tmp}/nowhere", "--out={tmp}/r"], 1, "{tmp}/nowhere is no directory"),
    (build, ["--dataset=idrid", "--data_dir=/etc/passwd", "--out={tmp}/r"], 1, "/etc/passwd is no directory"),
    ("tfrecord_tools.verify", [], 2, "One directory of records is needed: python -m tfrecord_tools.verify RECORDS"),
    ("tfrecord_tools.verify", ["{tmp}/a", "{tmp}/b"], 2, "One directory of records is needed"),
    ("tfrecord_tools.verify", ["{tmp}/a"], 1, "{tmp}/a is no directory. Expected one of the kind 'dataset'"),
    ("tfrecord_tools.verify", ["/etc/passwd"], 1, "/etc/passwd is no directory"),
    ("tfrecord_tools.verify", ["{tmp}"], 1, "{tmp} holds no dataset.json"),
    ("tfrecord_tools.inspect", ["{tmp}", "--out={tmp}/x.gif"], 1, "written as .png or .jpg"),
    ("tfrecord_tools.inspect", ["--records={tmp}"], 2, "Unknown flag: --records."),
    ("tfrecord_tools.disc_region", ["--records=x"], 2, "Missing: --run_dir, --out."),
    ("dr_edge.train", [], 2, "Missing: --gin_file."),
    ("dr_edge.train", ["gin_configs/demo.gin"], 2,
     "Received without a flag: gin_configs/demo.gin. Flags are written --name=value."),
    ("dr_edge.train", ["--gin-file=x"], 2, "Unknown flag: --gin-file. Did you mean --gin_file?"),
    ("dr_edge.train", ["--gin_file"], 2, "Missing value for flag --gin_file"),
    ("dr_edge.train", ["--gin_file=x", "--gin_param", "train.epochs", "=", "3"], 2,
     "needs quotes: --gin_param='train.epochs = 30'"),
    ("dr_edge.evaluate", [], 2, "Give --run_dir=RUN, or compare RUN_A RUN_B"),
    ("dr_edge.evaluate", ["--run_dir=x", "--split=tset"], 2, "Did you mean 'test'? Known: train, val, test."),
    ("dr_edge.evaluate", ["--run_dir=x", "--batch_size=0"], 2, "--batch_size=0: 0 is not a positive integer"),
    ("dr_edge.evaluate", ["--run_dir=x", "--out=y"], 2, "--out is for compare"),
    ("dr_edge.evaluate", ["now", "{tmp}/a", "--out=y"], 2,
     "or compare RUN_A RUN_B [--out=FILE.json]. Received: now {tmp}/a."),
    ("dr_edge.evaluate", ["compare", "{tmp}/a", "--out=y"], 2,
     "Received: {tmp}/a. See python -m dr_edge.evaluate compare --help."),
    ("dr_edge.evaluate", ["compare", "{tmp}/a", "{tmp}/b"], 1, "{tmp}/a/evaluation/test is no directory"),
    ("dr_edge.explain", ["--run_dir=x"], 2, "Missing: --images, --out."),
    ("dr_edge.explain", ["--run_dir=x", "--images=a.jpg", "b.jpg", "--out=q"], 2,
     "Unexpected arguments: b.jpg. Quote the pattern"),
    ("dr_edge.predict", ["eye.jpg"], 2, "Missing: --bundle."),
    ("dr_edge.predict", ["--bundle={tmp}/a", "eye.jpg"], 1,
     "{tmp}/a is no directory. Expected one of the kind 'bundle'"),
    ("dr_edge.predict", ["--bundle={tmp}", "eye.jpg"], 1, "{tmp} holds no metadata.json"),
    ("dr_edge.predict", ["--bundle=x", "--overly=y", "eye.jpg"], 2, "Did you mean --overlay?"),
    ("dr_edge.predict", ["--bundle=x", "--min_quality=7", "eye.jpg"], 2, "not a number in the range [0.0, 1.0]"),
    ("dr_edge.tune", ["--gin_file=x"], 2, "Missing: --run_dir."),
    ("dr_edge.tune", ["--gin_file=x", "--run_dir={tmp}/t"], 1, "A search needs --grid or --search"),
    ("dr_edge.tune", ["--gin_file=x", "--run_dir={tmp}/t", "--grid=train.epochs=[1,2"], 1, "Cannot read the values of"),
    ("dr_edge.demo", ["now"], 2, "Unexpected arguments: now."),
    ("dr_edge.demo", ["--images=5"], 2, "--images=5: 5 is not integer >= 200"),
    ("dr_edge.serve", [], 2, "Missing: --bundle."),
    ("dr_edge.serve", ["--bundle={tmp}/a", "--port=0"], 1, "{tmp}/a is no directory"),
    ("dr_edge.serve", ["--bundle={tmp}/a", "--tls_key=k"], 1, "--tls_certificate and --tls_key go together"),
    ("dr_edge.serve.vendor", ["--chek"], 2,
     "error: unrecognized arguments: --chek. See python -m dr_edge.serve.vendor --help."),
    ("dr_edge.models", ["mobilnet_v2_cbam"], 2, "No network 'mobilnet_v2_cbam'. Did you mean 'mobilenet_v2_cbam'?"),
    ("export", ["--run_dir=x"], 2, "Missing: --out."),
    ("export", ["x", "y"], 2, "Missing: --run_dir, --out. Received without a flag: x y."),
    ("export", ["--run_dir=x", "--out=y", "--format=float32"], 2, "Unknown flag: --format. Did you mean --formats?"),
    ("android_bench", ["--bundle=x"], 2,
     "--bundle, --target and --out are needed. See python -m android_bench --help."),
    ("android_bench", ["--bundle=x", "--target=phone", "--out=y"], 2,
     "--target=phone: no such value. Known: adb, host."),
    ("android_bench", ["compare"], 1, "compare takes two report directories. Received: none."),
    ("android_bench", ["read", "{tmp}"], 1, "{tmp} is no file."),
]  # fmt: skip


def forked(calls: list[tuple[str, list[str], dict[str, str]]]) -> list[list]:
    """Runs commands by tests/forked.py: [exit status, standard output, standard error, heavy modules] of each."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    program = [sys.executable, str(REPOSITORY / "tests" / "forked.py")]
    done = subprocess.run(
        program, input=json.dumps(calls), capture_output=True, text=True, timeout=500, cwd=REPOSITORY, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, list]]:
    """What each wrong invocation came to, with the directory that it was given."""
    places = [tmp_path_factory.mktemp("wrong") for _ in WRONG]
    calls = [
        (module, [argument.replace("{tmp}", str(place)) for argument in arguments], {})
        for (module, arguments, _, _), place in zip(WRONG, places, strict=True)
    ]
    return list(zip(places, forked(calls), strict=True))


@pytest.mark.parametrize(
    "number", range(len(WRONG)), ids=lambda number: " ".join([WRONG[number][0], *WRONG[number][1]])[:80]
)
def test_a_wrong_invocation_is_one_line(answers, number):
    _, _, status, says = WRONG[number]
    place, (code, out, err, heavy) = answers[number]
    assert (code, out, heavy) == (status, "", []), err
    assert err.startswith("error: ") and err.count("\n") == 1 and says.replace("{tmp}", str(place)) in err, err
    assert not list(place.iterdir()), "it left something behind"


def test_every_command_shows_its_help_without_the_heavy_libraries():
    done = forked([(module, ["--help"], {}) for module in COMMANDS])
    for module, (code, out, _, heavy) in zip(COMMANDS, done, strict=True):
        assert f"python -m {module} " in out and code == 0 and not heavy, (module, code, heavy)
        # A wheel does not hold them.
        assert not re.search(r"\bdocs/|\b(README|BUILD)\.md", out), module


@pytest.mark.parametrize("arguments", [["dr_edge.train", "--help"], ["dr_edge.serve.vendor", "--check"]])
def test_a_reader_that_has_seen_enough_is_no_mistake(arguments):
    """`--help | head -1` gave a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
        cwd=REPOSITORY,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_every_command_is_run_in_the_one_way():
    for module in COMMANDS:
        path = REPOSITORY / (module.replace(".", "/") + ".py")
        text = (path if path.is_file() else path.with_suffix("") / "__main__.py").read_text(encoding="utf-8")
        assert re.search(r"^    commands?\.run\(main\)$", text, re.MULTILINE) and "app.run(" not in text, module


@pytest.mark.parametrize(
    ("err", "said"),
    [
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a.gin"),
            "a.gin: No such file or directory. Check the path.",
        ),
        (PermissionError(errno.EACCES, "Permission denied", b"/r\xe9"), "Permission denied. Change the permissions"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device. Free some space"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "runs"), "runs: Is a directory. Give a file."),
        (OSError("a sentence of our own."), "a sentence of our own."),
        (ModuleNotFoundError("No module named 'x.y'", name="x.y"), "'x.y' is missing. Install it: pip install x"),
        (ImportError("Install dr_edge[tune]."), "Install dr_edge[tune]."),
        (MemoryError(), "Out of memory. Use smaller images"),
        (ValueError(), "ValueError"),
    ],
)
def test_what_the_system_refuses_is_said_with_what_to_do(err, said):
    assert said in command.words(err) and "Errno" not in command.words(err)


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (ValueError("no such thing."), 1, "error: no such thing.\n"),
        (app.UsageError("give one."), 2, "error: give one. See "),
        (command.Failure("it is saved.", 130), 130, "error: it is saved.\n"),
        (KeyboardInterrupt(), 130, "error: Interrupted.\n"),
        (KeyboardInterrupt("it goes on."), 130, "error: it goes on.\n"),
    ],
)
def test_an_exception_becomes_a_line_and_a_status(raised, status, said, capsys):
    def main(argv: list[str]) -> int:
        raise raised

    assert command.call(main, ["x"]) == status
    assert capsys.readouterr().err.startswith(said)


def test_a_fault_of_the_program_keeps_its_traceback():
    def main(argv: list[str]) -> int:
        raise KeyError("inner")

    with pytest.raises(KeyError):
        command.call(main, ["x"])


def test_log_lines_and_warnings_carry_no_prefix_of_time_and_process(tmp_path):
    (tmp_path / "speaks.py").write_text(
        "import warnings\nfrom absl import logging\nfrom dr_edge import command\n"
        "def main(argv):\n"
        "    logging.info('%d epochs', 3)\n"
        "    logging.warning('few images')\n"
        "    warnings.warn('old form')\n"
        "    print('\\u773c \\udce9')\n"
        "command.run(main)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "speaks.py")], env=environment, capture_output=True, text=True
    )
    assert done.stderr == "3 epochs\nwarning: few images\nwarning: old form\n"
    # What a terminal cannot show is no reason to stop.
    assert done.returncode == 0 and done.stdout == "\\u773c \\udce9\n"


def test_unexpected_arguments_hint_at_the_usual_causes():
    values = flags.FLAGS
    assert "verbosity" in values, "absl's own flag, which every process has"
    assert "Did you mean --verbosity=1?" in str(command.unexpected(["verbosity=1"]))
    assert "Did you mean --verbosity=VALUE?" in str(command.unexpected(["verbosity"]))
    assert "a value with blanks needs quotes" in str(command.unexpected(["3"]))


def test_what_tensorflow_says_of_files_and_memory_is_one_line_and_what_it_says_of_a_graph_is_a_fault():
    from dr_edge.framework import tf

    said = command.words(tf.errors.UnknownError(None, None, "/full/events; No space left on device\nmore"))
    assert said == "/full/events; No space left on device (UnknownError of TensorFlow)."
    refused = type("PermissionDeniedError", (Exception,), {"__module__": "tensorflow.python.framework.errors_impl"})(
        "{{function_node __wrapped__IteratorGetNext_device_/job:localhost/task:0}} train-0.tfrecord; Permission denied "
        "[Op:IteratorGetNext] name: "
    )
    assert (
        command.words(refused)
        == "train-0.tfrecord; Permission denied (PermissionDeniedError of TensorFlow). Change the permissions, or"
        " choose another place."
    )

    def main(argv: list[str]) -> int:
        raise tf.errors.InvalidArgumentError(None, None, "shapes")

    with pytest.raises(tf.errors.InvalidArgumentError):
        command.call(main, ["x"])


def test_a_tilde_is_the_home_directory(tmp_path):
    calls = [("dr_edge.predict", ["--bundle=~/b", "eye.jpg"], {"HOME": str(tmp_path)})]
    ((_, _, err, _),) = forked(calls)
    assert err.startswith(f"error: {tmp_path}/b is no directory")
