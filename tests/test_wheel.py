"""A wheel, away from the checkout: everything that the program reads is in it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.commands import ROOT


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as an installer would lay it out."""
    folder, site = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-q", "-w", folder]
    subprocess.run(build, check=True, capture_output=True, text=True)
    [wheel] = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return site


def test_the_wheel_has_its_data_and_every_module(unpacked: Path) -> None:
    for package in ("search", "studies", "spaces", "pneumo_core"):
        assert (unpacked / package / "py.typed").is_file()
        ours = {str(file.relative_to(ROOT)) for file in (ROOT / package).rglob("*.py")}
        assert ours == {str(file.relative_to(unpacked)) for file in (unpacked / package).rglob("*.py")}
    assert (unpacked / "search" / "report" / "report.css").is_file()
    assert not (unpacked / "tests").exists()


def test_a_wheel_works_outside_a_checkout(unpacked: Path, tmp_path: Path) -> None:
    code = "import search, search.report.page as page; print(search.__file__); print(len(page.CSS.read_text()))"
    for command in ([sys.executable, "-c", code], [sys.executable, "-m", "search.cli", "spaces", "quickstart"]):
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(unpacked)}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert str(unpacked) in done.stdout or "learning_rate" in done.stdout
