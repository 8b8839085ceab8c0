"""The examples of the docs, run as a reader runs them."""

import io
import json
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import nbformat
import pytest

from search import load_study
from tests import in_process
from tests.commands import ROOT, as_a_command, last_json, pneumo, pneumo_here, run_with_commands_here


def blocks(file: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / file).read_text(), re.DOTALL)


# Fewer and smaller images than a reader gets, and an objective that networks meet after a second of training.
EASY = "ObjectiveSpec(fnr_ceiling=0.9, specificity_floor=0.05)"


def changed(code: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert old in code, old
        code = code.replace(old, new)
    return code


def test_the_examples_of_the_python_api_run_in_order(tmp_path: Path, phantoms: Path) -> None:
    changes = {
        'data="phantom"': f"data={str(phantoms)!r}",
        "ObjectiveSpec(fnr_ceiling=0.2, specificity_floor=0.7)": EASY,
        "epochs=4": "epochs=2",
    }
    (tmp_path / "api.py").write_text(changed("\n".join(blocks("api.md")), changes))
    # Trainers are threads: `tests/search/test_api.py` has real ones, and asks that the program itself loads no Keras.
    with in_process.everything(), in_process.undrawn(), as_a_command(tmp_path, (), {}):
        found = runpy.run_path("api.py")
    assert len(found["surest_misses"]) == 5
    assert list(found["frame"].index) == [0, 1, 2]
    assert found["made"].bundle.study == "small"
    for file in ("history.png", "roc.svg", "bundle/bundle.json", "curves/small/trial-00003"):
        assert (tmp_path / file).exists(), file


def test_the_study_of_the_docs_runs_on_other_class_names_with_its_own_metrics(tmp_path: Path, phantoms: Path) -> None:
    (code,) = blocks("write_a_study.md")
    (tmp_path / "opacities.py").write_text(code)
    shutil.copytree(phantoms / "NORMAL", tmp_path / "images" / "clear")
    shutil.copytree(phantoms / "PNEUMONIA", tmp_path / "images" / "opacity")
    launch = ("launch", "opacities.py", "--data", "images", "--trials", 1, "--workers", 1, "--tensorboard", "curves")
    done = pneumo_here(*launch, "--json", folder=tmp_path, code=None)
    assert done.returncode in (0, 3), done.stderr  # with or without a feasible trial
    assert last_json(done)["trials"]["complete"] == 1
    assert len(list((tmp_path / "curves" / "opacities").glob("trial-00000/events.out.tfevents.*"))) == 1
    result = load_study("opacities", home=tmp_path / "runs")
    assert result.study.user_attrs["objective"]["kind"] == "specificity"
    frame = result.to_dataframe()
    assert frame.params_growth[0] == 1.5
    assert (frame.metric_cost > 0).all() or (frame.auc == 1).any()
    assert frame.metric_average_precision.between(0, 1).all()
    assert "failed_metrics" not in json.dumps([trial.user_attrs for trial in result.study.trials])


def test_the_tables_of_the_objective_are_what_their_commands_print(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "objective.md").read_text()
    commands = re.findall(r"```\n((?:PYTHONPATH=\S+ )?python -c .*?)```", text, re.DOTALL)
    assert len(commands) == 4
    for command in commands:
        *before, _, _, code = shlex.split(command)
        for folder in "".join(before).removeprefix("PYTHONPATH=").split(":"):
            monkeypatch.syspath_prepend(ROOT / folder)
        with redirect_stdout(io.StringIO()) as printed:
            exec(code, {})  # noqa: S102  (it is ours)
        figures = re.findall(r"\d+\.\d+|\d+", printed.getvalue())
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


# A trainer or a process with a bundle would load Keras for each cell: the Python interface is tested with real ones.
IN_THE_KERNEL = """
from pneumo_core import quick_keras
quick_keras.load()
from tests import in_process
held = (in_process.everything(), in_process.undrawn())
for part in held:
    part.__enter__()
"""


def test_the_tutorial_runs_and_shows_what_it_came_to(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert_shows_pictures(notebook, n_trials=6)
    small = "phantom.PhantomSpec(n_images=240, image_size_px=32)"
    changes = {
        'phantom.generate(Path("runs/cache"))': f'phantom.generate(Path("runs/cache"), {small})',
        "ObjectiveSpec(fnr_ceiling=0.05, specificity_floor=0.85)": EASY,
        "BudgetSpec(trials=6)": "BudgetSpec(trials=2)",
        "epochs=6": "epochs=2",
        'f"{sys.executable} -m search.cli"': '"pneumo"',
    }
    for cell in notebook.cells:
        for old in [old for old in changes if old in cell.source]:
            cell.source = cell.source.replace(old, changes.pop(old))
    assert not changes
    notebook.cells.insert(0, nbformat.v4.new_code_cell(IN_THE_KERNEL))
    (tmp_path / "raw.ipynb").write_text(nbformat.writes(notebook))
    code = (
        "import nbclient, nbformat; book = nbformat.read('raw.ipynb', as_version=4)\n"
        "nbclient.NotebookClient(book, timeout=500, kernel_name='python3').execute()\n"
        "nbformat.write(book, 'done.ipynb')"
    )
    kernel = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    run_with_commands_here((sys.executable, "-c", code), tmp_path, **kernel)
    assert_shows_pictures(nbformat.read(tmp_path / "done.ipynb", as_version=4), n_trials=2)
    assert (tmp_path / "bundle" / "MODEL_CARD.md").is_file()


def assert_shows_pictures(notebook: Any, n_trials: int) -> None:
    """Check that the search ended in one line of output, and that every picture is shown."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    (launched,) = [cell.outputs for cell in cells if "launch(study" in cell.source]
    assert [output.output_type for output in launched] == ["display_data"]
    assert launched[0].data["text/plain"].startswith(f"{n_trials} of {n_trials} trials · ")
    pictures = [cell.outputs for cell in cells if "plot_" in cell.source]
    assert len(pictures) == 7
    assert all("image/png" in shown.data for (shown,) in pictures)
    (predicted,) = [cell.outputs for cell in cells if "predict bundle" in cell.source]
    assert len("".join(output.text for output in predicted).split("PNEUMONIA/")) == 3
