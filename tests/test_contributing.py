"""The contributor's page names what is there, and all of it."""

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
PACKAGES = ("search", "studies", "spaces", "pneumo_core", "benchmarks", "tests")
BESIDE = {"bundles/", "docs/"}


def test_the_map_has_every_folder_and_no_other() -> None:
    shown = set(re.findall(r"^\| `([^`]+/)` \|", PAGE, re.MULTILINE))
    packages = {file.parent.relative_to(ROOT) for name in PACKAGES for file in (ROOT / name).glob("**/__init__.py")}
    there = {f"{folder}/" for folder in packages if folder.parts[0] != "tests" or len(folder.parts) == 1}
    assert shown == there | BESIDE
    assert all((ROOT / folder).is_dir() for folder in shown)


def test_every_file_and_name_that_the_page_gives_is_there() -> None:
    files = {name for name in re.findall(r"`([\w./*]+\.(?:py|md|toml))`", PAGE) if "NAME" not in name}
    assert len(files) > 10
    assert [name for name in files if not list(ROOT.glob(name))] == []
    named = re.findall(r"`(\w+)`[^`]{0,40}`([\w/]+\.py)`", PAGE)  # a name, and the file that it is in
    assert len(named) >= 4
    assert [(name, file) for name, file in named if name not in (ROOT / file).read_text()] == []


def test_every_target_of_make_is_there() -> None:
    container = (ROOT / "Dockerfile").read_text() + (ROOT / ".devcontainer" / "devcontainer.json").read_text()
    named = set(re.findall(r"\bmake ([a-z-]+)", PAGE + container))
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"quickstart", "install-dev", "lint", "test", "check"} <= named <= known


def test_every_link_leads_somewhere() -> None:
    assert [link for link in re.findall(r"\]\(([^)#:]+)\)", PAGE) if not (ROOT / link).exists()] == []


def test_the_container_files_can_be_read_and_agree() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"AS {container['build']['target']}\n" in dockerfile
    python = re.search(r"FROM python:(\d+\.\d+)", dockerfile)
    assert python
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {python[1]}" in project["classifiers"]
