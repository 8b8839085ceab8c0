"""The examples of the docs, run as a reader runs them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from search import load_study
from tests.commands import ROOT, environment, last_json, pneumo, pneumo_here


def blocks(file: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / file).read_text(), re.DOTALL)


def test_the_examples_of_the_python_api_run_in_order(tmp_path: Path) -> None:
    checks = (
        "assert len(surest_misses) == 5, surest_misses",
        "assert list(frame.index) == [0, 1, 2], frame",
        "assert made.bundle.study == 'small'",
        "import sys; assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)",
    )
    (tmp_path / "api.py").write_text("\n".join([*blocks("api.md"), *checks]))
    done = subprocess.run(
        [sys.executable, "api.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=580
    )
    assert done.returncode == 0, done.stderr
    for file in ("history.png", "roc.svg", "bundle/bundle.json", "curves/small/trial-00003"):
        assert (tmp_path / file).exists(), file


def test_the_study_of_the_docs_runs_on_other_class_names_with_its_own_metrics(tmp_path: Path, phantoms: Path) -> None:
    (code,) = blocks("write_a_study.md")
    (tmp_path / "opacities.py").write_text(code)
    shutil.copytree(phantoms / "NORMAL", tmp_path / "images" / "clear")
    shutil.copytree(phantoms / "PNEUMONIA", tmp_path / "images" / "opacity")
    launch = ("launch", "opacities.py", "--data", "images", "--trials", 2, "--workers", 1, "--tensorboard", "curves")
    done = pneumo_here(*launch, "--json", folder=tmp_path, code=None)
    assert done.returncode in (0, 3), done.stderr  # with or without a feasible trial
    assert last_json(done)["trials"]["complete"] == 2
    assert len(list((tmp_path / "curves" / "opacities").glob("trial-0000[01]/events.out.tfevents.*"))) == 2
    result = load_study("opacities", home=tmp_path / "runs")
    assert result.study.user_attrs["objective"]["kind"] == "specificity"
    frame = result.to_dataframe()
    assert frame.params_growth[0] == 1.5
    assert (frame.metric_cost > 0).all() or (frame.auc == 1).any()
    assert frame.metric_average_precision.between(0, 1).all()
    assert "failed_metrics" not in json.dumps([trial.user_attrs for trial in result.study.trials])


def test_the_tables_of_the_objective_are_what_their_commands_print() -> None:
    text = (ROOT / "docs" / "objective.md").read_text()
    commands = re.findall(r"```\n((?:PYTHONPATH=\S+ )?python -c .*?)```", text, re.DOTALL)
    assert len(commands) == 4
    for command in commands:
        run = command.replace("python -c", f"{sys.executable} -c")
        done = subprocess.run(
            ["sh", "-c", run], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        figures = re.findall(r"\d+\.\d+|\d+", done.stdout)
        assert len(figures) >= 5
        assert [figure for figure in figures if figure not in text] == []


@pytest.mark.slow
def test_the_keras_tuner_studies_of_the_docs_run(tmp_path: Path, phantoms: Path) -> None:
    studies = dict(zip(("my_study.py", "batches.py"), blocks("keras_tuner.md"), strict=True))
    for file, code in studies.items():
        (tmp_path / file).write_text(code.replace("epochs=12", "epochs=2"))
    for file in studies:
        done = pneumo("launch", file, "--data", phantoms, "--trials", 1, "--json", folder=tmp_path, code=None)
        assert last_json(done)["trials"]["complete"] == 1, file
    assert "batch_size" in load_study("batches", home=tmp_path / "runs").study.trials[0].params


def test_the_tutorial_runs_and_shows_what_it_came_to(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert_shows_pictures(notebook)
    (tmp_path / "raw.ipynb").write_text(nbformat.writes(notebook))
    code = (
        "import nbclient, nbformat; book = nbformat.read('raw.ipynb', as_version=4)\n"
        "nbclient.NotebookClient(book, timeout=500, kernel_name='python3').execute()\n"
        "nbformat.write(book, 'done.ipynb')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=580
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert_shows_pictures(nbformat.read(tmp_path / "done.ipynb", as_version=4))
    assert (tmp_path / "bundle" / "MODEL_CARD.md").is_file()


def assert_shows_pictures(notebook: Any) -> None:
    """Check that the search ended in one line of output, and that every picture is shown."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    (launched,) = [cell.outputs for cell in cells if "launch(study" in cell.source]
    assert [output.output_type for output in launched] == ["display_data"]
    assert launched[0].data["text/plain"].startswith("6 of 6 trials · ")
    pictures = [cell.outputs for cell in cells if "plot_" in cell.source]
    assert len(pictures) == 7
    assert all("image/png" in shown.data for (shown,) in pictures)
    (predicted,) = [cell.outputs for cell in cells if "predict bundle" in cell.source]
    assert len("".join(output.text for output in predicted).split("PNEUMONIA/")) == 3
