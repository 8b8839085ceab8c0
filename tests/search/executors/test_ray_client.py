"""`--on ray://HOST`: a real head with a server for clients, in processes of its own."""

import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.commands import ROOT, environment, last_json, pneumo, write_study
from tests.search import light
from tests.search.executors import test_executors
from tests.search.executors.rays import N_STARTS

pytest.importorskip("ray", reason="Ray is not installed (pip install 'pneumo-search[ray]')")


@dataclass(frozen=True)
class Head:
    """Where clients find it, and the environment that says with which token."""

    address: str
    token: Mapping[str, str]


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A head that nobody else can use, gone afterwards with all that it started."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    started, port = running_head(tmp_path_factory.mktemp("head"), token)
    try:
        yield Head(f"ray://127.0.0.1:{port}", token)
    finally:
        started.terminate()  # it ends what it started
        started.wait(300)
        light.wait_for(lambda: not answers(port))


def running_head(folder: Path, token: Mapping[str, str]) -> tuple["subprocess.Popen[bytes]", int]:
    """Start a head and return it with its port; again where the port was taken meanwhile or Ray was too slow."""
    program = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--disable-usage-stats"]
    for _ in range(N_STARTS):
        port = free_port()
        options = {
            "--node-ip-address": "127.0.0.1",
            "--port": free_port(),
            "--ray-client-server-port": port,
            "--num-cpus": 2,
            "--include-dashboard": "false",
        }
        started = subprocess.Popen(
            [*program, *(str(word) for option in options.items() for word in option)],
            env=environment(**token),
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        light.wait_for(lambda port=port, of=started: answers(port) or of.poll() is not None)
        if started.poll() is None:
            return started, port
    raise AssertionError(f"no head started in {N_STARTS} tries")


@pytest.mark.timeout(900)
def test_the_contract_of_executors_holds_through_a_client(tmp_path: Path, head: Head) -> None:
    suite = [Path(test_executors.__file__), "-k", "ray", "-q", "-p", "no:cacheprovider", "--basetemp", tmp_path / "it"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *map(str, suite)],
        cwd=ROOT,
        env=environment(**head.token, **{test_executors.ADDRESS: head.address}),
        capture_output=True,
        text=True,
        timeout=850,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "skipped" not in done.stdout


def test_a_cluster_that_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    address = f"ray://127.0.0.1:{free_port()}"
    done = pneumo("launch", "quickstart", "--on", address, folder=tmp_path, code=2)
    assert f"--on {address}: nothing answers there" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_launch_and_worker_train_real_models_there(tmp_path: Path, head: Head, phantoms: Path) -> None:
    file, url = write_study(tmp_path), f"sqlite:///{tmp_path / 'shared.db'}"
    shared, there = [file, "--data", phantoms, "--storage", url], ["--on", head.address, "--workers", 1]
    done = pneumo("launch", *shared, *there, "--trials", 2, "--json", folder=tmp_path, code=None, **head.token)
    assert last_json(done)["trials"] == {"complete": 2, "pruned": 0, "failed": 0}
    pneumo("launch", *shared, "--trials", 3, "--timeout", "1s", "--device", "cpu", folder=tmp_path, code=None)
    place = ["--home", tmp_path / "worker"]
    joined = pneumo("worker", *shared, *there, *place, folder=tmp_path, code=None, **head.token)
    assert "Budget reached: 3 trials" in joined.stdout
