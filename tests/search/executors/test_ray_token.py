"""Who may use a cluster that Ray starts for us."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from search.executors import ray_token
from tests.commands import ROOT

STARTED = """
import os, subprocess, sys
from search.executors import ray_cluster
from search.executors.devices import Machine
executor = ray_cluster.connect(None, Machine(workers=1))
address = ray_cluster.ray.get_runtime_context().gcs_address
print(subprocess.run([sys.executable, "-c", sys.argv[1], address], capture_output=True, text=True,
                     env=os.environ | {"RAY_AUTH_MODE": "disabled"}).stdout)
print(subprocess.run([sys.executable, "-c", sys.argv[1], address], capture_output=True, text=True).stdout)
executor.close()
"""
JOIN = """
import ray, sys
try:
    ray.init(sys.argv[1], log_to_driver=False, configure_logging=False)
    print("came in")
except ConnectionError:
    print("was kept out")
"""


def modes(folder: Path) -> int:
    return stat.S_IMODE((folder / "auth_token").stat().st_mode)


def test_the_token_is_for_this_user_alone(tmp_path: Path) -> None:
    ray_token.make_private(tmp_path, {})
    token = (tmp_path / "auth_token").read_text()
    assert len(token) == 64
    (tmp_path / "auth_token").chmod(0o644)  # as Ray leaves it
    ray_token.make_private(tmp_path, {})
    assert modes(tmp_path) == 0o600
    assert (tmp_path / "auth_token").read_text() == token


def test_the_token_is_never_seen_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def drawn(n: int) -> str:
        seen.append((tmp_path / "auth_token").exists())
        return "a" * 2 * n

    monkeypatch.setattr(ray_token.secrets, "token_hex", drawn)
    ray_token.make_private(tmp_path, {})
    assert seen == [False]
    assert [file.name for file in tmp_path.iterdir()] == ["auth_token"]
    monkeypatch.setattr(ray_token.secrets, "token_hex", lambda n: "b" * 2 * n)
    ray_token.make_private(tmp_path, {})
    assert (tmp_path / "auth_token").read_text() == "a" * 64


@pytest.mark.parametrize("name", ray_token.ELSEWHERE)
def test_what_the_user_arranged_is_left_alone(tmp_path: Path, name: str) -> None:
    ray_token.make_private(tmp_path, {name: "x"})
    assert not list(tmp_path.iterdir())


@pytest.mark.timeout(900)
def test_a_cluster_that_we_start_lets_nobody_in_without_the_token(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'pneumo-search[ray]')")
    clean = {name: value for name, value in os.environ.items() if name == "RAY_TMPDIR" or not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", STARTED, JOIN],
        env=clean | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=850,
    )
    assert done.stdout.split("\n\n")[:2] == ["was kept out", "came in"], done.stderr[-2000:]
    assert modes(tmp_path / ".ray") == 0o600
