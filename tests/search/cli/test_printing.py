"""Names from outside are shown as they are: no markup is read in them, and the terminal gets no control character."""

import ast
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import search
from pneumo_core import codec
from pneumo_core.bundles import bundle_process
from pneumo_core.data import fetch
from pneumo_core.errors import BundleError
from pneumo_core.scoring.assess import assess
from search import bundle_client, printing
from search.cli import app
from tests import in_process

MARKUP, CONTROL = "NO[red]RMAL", "ill\x1b[2J\x9b31m\u202e[red]"
SHOWN = "ill\\x1b[2J\\x9b31m\\u202e[red]"
PARAMETER = "layers [model_type=mlp]"
STUDY = f"""
from dataclasses import replace
from studies.spec import BudgetSpec, PrunerSpec, SourceSpec, StudySpec
from tests.search.finalizing import made

def space(suggest):
    suggest.suggest_categorical({PARAMETER!r}, ["[/b]", {CONTROL!r}])
    return made.space(suggest)

STUDY = StudySpec(
    name="{MARKUP}", space=space, budget=BudgetSpec(trials=3), description={CONTROL!r}, pruner=PrunerSpec(kind="none"),
    data=SourceSpec(source="images", negative={MARKUP!r}, positive={CONTROL!r}),
)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    """A folder with hostile names: of classes, files, a study and its parameter."""
    folder = tmp_path_factory.mktemp("hostile")
    for old, new in (("NORMAL", MARKUP), ("PNEUMONIA", CONTROL)):
        shutil.copytree(phantoms / old, folder / "images" / new)
    (folder / "images" / MARKUP / f"{CONTROL}.png").write_bytes(b"no image")
    (folder / "study.py").write_text(STUDY)
    return folder


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, place: Path) -> Iterator[None]:
    monkeypatch.chdir(place)
    monkeypatch.setattr(bundle_client, "ask", _answer)
    monkeypatch.setattr(fetch, "medmnist", lambda *_: Path(CONTROL))
    with in_process.answering(monkeypatch), in_process.undrawn():
        yield


def _answer(request: bundle_process.Request, _progress: object = None) -> Any:
    if request.kind not in ANSWERS:
        raise BundleError(f"{MARKUP}: {CONTROL}")
    return ANSWERS[request.kind]


def figures() -> dict[str, Any]:
    y = np.arange(40) % 2
    kinds = np.array([MARKUP if i % 4 == 1 else CONTROL for i in range(40)])
    found = assess(y, np.linspace(0, 1, 40), np.arange(40), kinds, threshold=0.5, ceiling=0.03, confidence=0.95)
    data: dict[str, Any] = codec.to_json(found)
    return data


ANSWERS: dict[str, Any] = {
    "evaluate": {**figures(), "notes": [MARKUP], "rejected": [[CONTROL, MARKUP]]},
    "predict": {
        "rows": [
            {"path": f"{CONTROL}\n0.9999  fine", "score": 0.5, "decision": MARKUP, "threshold": 0.5},
            {"path": MARKUP, "error": CONTROL},
        ],
        "drift": CONTROL,
    },
    "export": {"path": CONTROL, "format": MARKUP, "n_bytes": 1, "largest_difference": 0.0},
}
CLASSES = ("--negative", MARKUP, "--positive", CONTROL)
# In this order: each command with its arguments, its exit code and what it must show as it is.
WALK: list[tuple[str, tuple[str, ...], int, tuple[str, ...]]] = [
    ("launch", ("study.py",), 0, (MARKUP, PARAMETER)),
    ("worker", ("study.py", "--storage", "sqlite:///runs/pneumo.db"), 0, (MARKUP, PARAMETER)),
    ("status", (MARKUP,), 0, (MARKUP, PARAMETER)),
    ("status", (CONTROL,), 2, (MARKUP,)),
    ("report", ("study.py", "--out", "report"), 0, ("report.html",)),
    ("finalize", ("study.py", "--out", "[b]bundle"), 0, ("[b]bundle",)),
    ("dashboard", (CONTROL,), 2, (MARKUP,)),
    ("evaluate", ("bundle", "images"), 0, (MARKUP, SHOWN)),
    ("predict", ("bundle", "file"), 0, (MARKUP, SHOWN, "\\n0.9999")),
    ("export", ("bundle", "--format", "onnx", "--out", "x"), 0, (MARKUP, SHOWN)),
    ("certify", ("bundle", "images", "--out", "b2"), 2, (MARKUP, SHOWN)),
    ("drift", ("bundle", "images"), 2, (MARKUP, SHOWN)),
    ("train-trial", ("study.py", "99", "--out", "one"), 2, (MARKUP,)),
    ("studies", (), 0, ("quickstart",)),
    ("spaces", ("study.py",), 0, (MARKUP, PARAMETER, SHOWN)),
    ("storage copy", ("sqlite:///runs/pneumo.db", "sqlite:///copy.db"), 0, (MARKUP,)),
    ("data check", ("images", *CLASSES), 0, (MARKUP, SHOWN)),
    ("data prepare", ("images", *CLASSES, "--links", "[b]links"), 0, (MARKUP, SHOWN, "[b]links")),
    ("data cache", (), 0, ("features",)),
    ("data fetch", ("medmnist",), 0, (SHOWN,)),
    ("weights list", (), 0, ("EfficientNet",)),
    ("weights fetch", (MARKUP, "--folder", "w"), 2, (MARKUP,)),
    ("weights import", (MARKUP, "--folder", "w"), 2, (MARKUP,)),
]


def test_every_command_shows_hostile_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    for command, arguments, wanted, shown in WALK:
        code, out, err = in_process.run(capsys, *command.split(), *arguments)
        said = out + err
        assert code == wanted, (command, said)
        assert not [char for char in said if not char.isprintable() and char not in "\n "], (command, said)
        for text in shown:
            assert text in said, (command, text, said)


def test_the_walk_knows_every_command() -> None:
    assert {command for command, *_ in WALK} == set(_commands(typer.main.get_command(app.app)))


def _commands(command: click.Command, name: str = "") -> Iterator[str]:
    if not hasattr(command, "commands"):
        yield name
        return
    for key, inner in command.commands.items():
        yield from _commands(inner, f"{name} {key}".strip())


def test_nothing_else_prints() -> None:
    folder = Path(search.__path__[0])
    found = []
    for file in sorted(folder.rglob("*.py")):
        if file.name == "printing.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                called = node.func
                name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
                if name == "print":
                    found.append(f"{file.relative_to(folder)}:{node.lineno}")
    assert not found, "use search.printing"


@given(text=st.text().filter(lambda text: "\t" not in text))
def test_text_is_printed_as_it_is_but_for_what_a_terminal_would_obey(text: str) -> None:
    console = Console(file=io.StringIO(), width=10, force_terminal=False)
    printing.say(console, text)
    file = console.file
    assert isinstance(file, io.StringIO)
    assert file.getvalue().rstrip("\n") == printing.visible(text).expandtabs().rstrip("\n")
    assert all(char.isprintable() or char in "\n\t" or char.isspace() for char in printing.visible(text))


def test_names_that_are_no_text_are_shown(tmp_path: Path) -> None:
    assert printing.inline("a\udcff\nb\tc") == "a\\udcff\\nb\\tc"
