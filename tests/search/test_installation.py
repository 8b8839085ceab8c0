"""What a user reads where the program cannot run as it is installed, and what it says of itself."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import search
from pneumo_core.errors import UserError
from search import installation
from tests.commands import ROOT


def test_the_version_is_that_of_the_installed_package() -> None:
    assert search.__version__ == metadata.version("pneumo-search")


def test_another_system_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UserError, match="on Windows install and run it inside WSL"):
        installation.check()


def test_a_package_that_hides_our_spaces_is_named(tmp_path: Path) -> None:
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "__init__.py").write_text("from .zero.decorator import GPU\n")
    done = subprocess.run(
        [sys.executable, "-m", "search.cli", "studies"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "of Hugging Face" in done.stderr
    assert str(tmp_path / "spaces") in done.stderr
    assert "Traceback" not in done.stderr
