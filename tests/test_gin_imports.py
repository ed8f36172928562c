"""A gin file runs nobody's code: an import that was not asked for is refused before the module is touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dr_edge import gin_imports
from dr_edge.tuning import settings, trials

MODULE = """
import pathlib
import gin

pathlib.Path(__file__).with_suffix(".ran").touch()

@gin.configurable(module="models")
def own_network(image_size, outputs, width=4):
    raise AssertionError("not built here")
"""


@pytest.fixture
def place(tmp_path, monkeypatch, clean_gin) -> Path:
    """A working directory, on Python's path as under python -m, that holds the module lab_networks."""
    (tmp_path / "lab_networks.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(gin_imports, "_allowed", set())
    yield tmp_path
    if sys.modules.pop("lab_networks", None) is not None:
        import gin

        gin.config._REGISTRY.pop("models.own_network")


def has_run(place: Path) -> bool:
    return (place / "lab_networks.ran").exists()


@pytest.mark.parametrize(
    "line",
    [
        "import lab_networks",
        "import lab_networks as networks",
        "from lab_networks import own_network",
        "import pathlib",  # installed: its code is run as well
        "import dr_edge_of_others",
    ],
)
def test_an_import_that_nobody_asked_for_is_refused_in_one_sentence(line, place):
    from dr_edge import config

    config.import_names()
    (place / "part.gin").write_text(f"train.epochs = 2\n{line}\n")
    (place / "a.gin").write_text("include 'part.gin'\n")
    module = line.split()[1] + (".own_network" if line.startswith("from") else "")
    for paths, bindings in ((["part.gin"], []), (["a.gin"], []), ([], [line])):
        with pytest.raises(ValueError, match="would run the code of that module") as caught:
            config.parse(paths, bindings)
        said = str(caught.value)
        assert f"give --gin_import={module}, else take that line out." in said and "\n" not in said
        assert not paths or "part.gin, line 2" in said
    assert not has_run(place)


def test_dynamic_registration_would_make_any_function_a_setting(place):
    from dr_edge import config

    (place / "a.gin").write_text("from __gin__ import dynamic_registration\nimport dr_edge.metadata\n")
    with pytest.raises(ValueError, match="dynamic registration is off"):
        config.parse(["a.gin"])


def test_modules_of_dr_edge_need_no_flag(place):
    import gin

    from dr_edge import config

    (place / "a.gin").write_text("import dr_edge.models.unet\nimport dr_edge\ntrain.epochs = 2\n")
    config.import_names()
    config.parse(["a.gin"])
    assert gin.query_parameter("train.epochs") == 2


def test_what_is_asked_for_is_imported_and_can_be_named(place):
    import gin

    from dr_edge import config

    config.import_names()
    gin_imports.allow(["lab_networks"])
    assert has_run(place)
    (place / "a.gin").write_text(
        "import lab_networks\ntrain.model = @models.own_network\nmodels.own_network.width = 8\n"
    )
    config.parse(["a.gin"])
    assert gin.query_parameter("models.own_network.width") == 8
    with pytest.raises(ValueError, match="--gin_import=lab_losses"):
        config.parse([], ["import lab_losses"])


def test_a_module_that_cannot_be_imported_is_one_sentence(place):
    with pytest.raises(ValueError, match="--gin_import=nowhere.net cannot be imported: no module of that name"):
        gin_imports.allow(["nowhere.net"])
    (place / "broken_lab.py").write_text("import not_there_either")
    with pytest.raises(ValueError, match="--gin_import=broken_lab cannot be imported: No module named 'not_there_eith"):
        gin_imports.allow(["broken_lab"])
    (place / "worse_lab.py").write_text("1 / 0")
    with pytest.raises(ValueError, match="--gin_import=worse_lab cannot be imported: ZeroDivisionError"):
        gin_imports.allow(["worse_lab"])


def test_the_check_ends_with_the_block(place):
    import gin

    with gin_imports.checked(), pytest.raises(gin_imports.Refused):
        gin.parse_config("import lab_networks")
    gin.parse_config("import lab_networks")  # a program's own gin is its own affair
    assert has_run(place)


def test_fine_tuning_reads_a_run_of_others_without_its_imports(place, caplog):
    import types

    from export.qat import finetune

    (place / finetune.RUN_CONFIGURATION).write_text("import lab_networks\ntrain.epochs = 2\n")
    with pytest.raises(ValueError, match="give --gin_import=lab_networks"):
        finetune._configured_loss(types.SimpleNamespace(directory=place))
    assert not has_run(place)


def test_a_search_hands_the_flag_to_its_check_and_its_trials(place):
    question = {"gin_files": [], "bindings": [["import lab_networks"]]}
    assert "give --gin_import=lab_networks" in settings._answer(question)["error"]
    assert settings._answer({**question, "gin_imports": ["lab_networks"]})["error"] is None
    line = trials.command(["a.gin"], [], ["lab_networks"], None, place / "run")
    assert "--gin_import=lab_networks" in line


def test_the_installed_command_finds_a_module_of_the_working_directory_when_asked(place):
    program = (
        f"import sys; sys.path[:] = [p for p in sys.path if p not in ('', {str(place)!r})]; "
        "from dr_edge import gin_imports; gin_imports.allow(['lab_networks'])"
    )
    subprocess.run([sys.executable, "-c", program], cwd=place, check=True, timeout=120)
    assert has_run(place)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["dr_edge.train", "dr_edge.tune", "export"])
def test_every_command_that_reads_gin_files_refuses_and_takes_the_flag(command, place):
    (place / "a.gin").write_text("import lab_networks\n")
    line = [sys.executable, "-m", command, "--gin_file=a.gin", "--run_dir=run"]
    line += {"dr_edge.tune": ["--grid=train.epochs=[1]"], "export": ["--out=bundle"]}.get(command, [])
    done = subprocess.run(line, cwd=place, capture_output=True, text=True, timeout=300)
    said = " ".join(done.stderr.split())
    assert done.returncode == 1 and "give --gin_import=lab_networks" in said and "Traceback" not in said, said
    assert not has_run(place)
    done = subprocess.run([*line, "--gin_import=lab_networks"], cwd=place, capture_output=True, text=True, timeout=300)
    assert "would run the code" not in done.stderr and has_run(place)
