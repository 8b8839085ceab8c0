"""What a user reads where the program cannot run as it is installed, and what it says of itself."""

import os
import re
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


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_each_locked_package_has_the_digests_of_all_its_files(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8")
    pinned = re.split(r"\n(?=[\w.\[\]-]+==)", text.split("\n", 2)[2])
    assert len(pinned) > 70
    assert not [entry.split()[0] for entry in pinned if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry)]
    numpy = next(entry for entry in pinned if entry.startswith("numpy=="))
    assert numpy.count("--hash=") > 30, "wheels of other systems and Pythons"
    assert "://" not in text
    assert not re.search(r"^(torch|nvidia)", text, re.MULTILINE)


def test_what_is_installed_is_what_was_locked() -> None:
    dry = subprocess.run(["make", "-B", "-n", "install-dev"], cwd=ROOT, capture_output=True, text=True, check=True)
    installs = [line for line in dry.stdout.splitlines() if "pip install" in line]
    assert len(installs) == 3
    for line in installs:
        assert "--require-hashes" in line or "--no-deps --no-build-isolation" in line
