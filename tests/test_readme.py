"""What the README and the docs show is there: the study loads, the commands exist."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from search.cli.app import app
from studies import load

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("*.sh"))]


def test_the_study_of_the_readme_loads(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    file = tmp_path / "mine.py"
    file.write_text(code)
    study = load.load(str(file)).spec
    assert study.name == "mine"
    assert study.objective.fnr_ceiling == 0.02


@pytest.mark.parametrize("file", DOCS, ids=lambda file: file.name)
def test_every_command_in_the_docs_exists(file: Path) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    named = set(re.findall(r"^pneumo ([a-z][a-z-]*)|`pneumo ([a-z][a-z-]*)", file.read_text(), re.MULTILINE))
    unknown = {a or b for a, b in named} - set(commands)
    assert not unknown


@pytest.mark.parametrize("file", DOCS, ids=lambda file: file.name)
def test_every_link_leads_somewhere(file: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", file.read_text())
    assert [link for link in links if not (file.parent / link).exists()] == []
