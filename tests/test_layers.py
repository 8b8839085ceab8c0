"""Imports point down only, read from the sources and seen in a running interpreter."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEVER = {
    "search": {"keras", "tensorflow", "jax", "keras_tuner"},
    "studies": {"keras", "tensorflow", "jax", "keras_tuner", "optuna", "search"},
    "spaces": {"keras", "tensorflow", "jax", "keras_tuner", "optuna", "search", "studies"},
    "pneumo_core": {"optuna", "search", "studies", "spaces"},
}


def imported(source: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", NEVER)
def test_a_package_never_names_what_its_layer_must_not_know(package: str) -> None:
    sources = list((ROOT / package).rglob("*.py"))
    assert sources
    wrong = {str(s.relative_to(ROOT)): bad for s in sources if (bad := imported(s) & NEVER[package])}
    assert not wrong


def test_the_command_line_and_the_coordinator_never_load_a_framework() -> None:
    code = (
        "import sys, search.cli.app, search.launching, search.cli.show, search.coordinator, studies.load as load\n"
        "[load.load(name) for name in load.names() if name != 'hyper_xception']\n"  # drawn in another process
        "print(sorted({'keras', 'tensorflow', 'jax', 'keras_tuner'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_quick_commands_load_what_they_need_only() -> None:
    slow = "{'optuna', 'scipy', 'sklearn', 'matplotlib', 'importlib.metadata'}"
    code = (
        f"import sys, search.cli.app; print(sorted({slow} & set(sys.modules)))\n"  # --help
        "import contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()) as shown:\n"
        "    search.cli.app.app(['data', 'check', '--help'], standalone_mode=False)\n"
        "print('labels' in shown.getvalue(), sorted({'numpy', 'optuna', 'pydantic'} & set(sys.modules)))\n"
        "import search.cli.show; print(sorted({'optuna', 'sqlalchemy'} & set(sys.modules)))\n"  # studies
        "import search.records, search.study\n"  # status
        "print(sorted({'scipy', 'pneumo_core.result', 'pneumo_core.wire'} & set(sys.modules)))\n"
        "print(sorted({'sqlalchemy.dialects.mysql', 'sqlalchemy.dialects.postgresql'} & set(sys.modules)))\n"  # nor all
        "import pneumo_core.data.dataset; print(sorted({'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["[]", "True []", "[]", "[]", "[]", "[]"]


def test_no_two_modules_import_each_other_by_any_way_around() -> None:
    sorter = TopologicalSorter({name: within(name) for name in MODULES})
    sorter.prepare()  # raises CycleError with the modules of a circle


def test_no_two_folders_import_from_each_other() -> None:
    """A module beside folders, such as `search.records`, is a place of its own."""
    pairs = {(place(name), place(other)) for name in MODULES for other in within(name)}
    assert not {(here, there) for here, there in pairs if here != there and (there, here) in pairs}


def within(name: str) -> set[str]:
    """Return the modules of this repository that `name` imports, wherever in its source."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in MODULES else node.module for a in node.names
            }
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & MODULES.keys()) - {name}


def place(name: str) -> str:
    return ".".join(name.split(".")[:2])


MODULES = {
    ".".join(source.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): source
    for package in NEVER
    for source in (ROOT / package).rglob("*.py")
}
