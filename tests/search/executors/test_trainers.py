"""How many trials run side by side, on machines that are only said to be so."""

import math
from pathlib import Path

import pytest

from pneumo_core.specs import DataSpec, DenseSpec, TrainSpec, TrialSpec
from search import launching
from search.executors import trainers
from search.executors.trainers import Choice, choose
from tests import in_process
from tests.commands import write_study

SMALL = TrialSpec(data=DataSpec(image_size_px=64), model=DenseSpec(), train=TrainSpec(batch_size=32))
LARGE = TrialSpec(data=DataSpec(image_size_px=224), model=DenseSpec(), train=TrainSpec(batch_size=32))


def chosen(
    patch: pytest.MonkeyPatch, *, cores: int, free_gb: float, n_trials: int = 50, deterministic: bool = False
) -> Choice:
    patch.setattr(trainers, "n_cores", lambda: cores)
    patch.setattr(trainers, "free_bytes", lambda: 1e9 * free_gb)
    return choose([SMALL, LARGE], n_trials, deterministic=deterministic)


@pytest.mark.parametrize(
    ("cores", "free_gb", "n"), [(1, 64, 1), (2, 20, 2), (4, 64, 4), (16, 64, 4), (4, 8.0, 2), (4, 5.0, 1), (2, 0.5, 1)]
)
def test_one_a_core_as_far_as_memory_reaches_and_four_at_most(
    monkeypatch: pytest.MonkeyPatch, cores: int, free_gb: float, n: int
) -> None:
    assert chosen(monkeypatch, cores=cores, free_gb=free_gb).n == n


def test_no_more_than_there_are_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, cores=8, free_gb=64, n_trials=1).n == 1


def test_a_deterministic_study_runs_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = chosen(monkeypatch, cores=2, free_gb=64, deterministic=True)
    assert choice.n == 1
    assert "deterministic" in choice.why


def test_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        chosen(monkeypatch, cores=2, free_gb=64).why == "2 trials side by side on 2 cores; --workers N says otherwise."
    )
    few = chosen(monkeypatch, cores=2, free_gb=4).why
    assert few.startswith("One trial at a time on 2 cores, no more because one may take 3.")
    assert "4.0 GB are free" in few


def test_the_largest_of_the_draws_decides_what_a_trainer_may_take() -> None:
    assert trainers.trainer_bytes([SMALL, LARGE]) == trainers.trainer_bytes([LARGE]) > trainers.trainer_bytes([SMALL])


def test_a_container_has_no_more_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainers, "memory_limit_bytes", lambda _pid: 1e6)
    assert trainers.free_bytes() == 1e6
    monkeypatch.setattr(trainers, "memory_limit_bytes", lambda _pid: math.inf)
    assert trainers.free_bytes() > 1e6


@pytest.mark.parametrize(("options", "n"), [((), 2), (("--workers", 1), 1)])
def test_a_launch_takes_them_and_says_so_unless_a_number_is_given(
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[object, ...],
    n: int,
) -> None:
    monkeypatch.delenv("PNEUMO_WORKERS")
    monkeypatch.setattr(trainers, "n_cores", lambda: 2)
    monkeypatch.setattr(trainers, "free_bytes", lambda: 1e11)
    machines = []
    with in_process.answering(monkeypatch):
        monkeypatch.setattr(
            launching, "make_executor", lambda machine, _: machines.append(machine) or in_process.Answering()
        )
        arguments = (write_study(tmp_path), "--data", phantoms, "--home", tmp_path / "runs", "--device", "cpu")
        _, out, said = in_process.run(capsys, "launch", *arguments, *options)

    assert [machine.workers for machine in machines] == [n]
    assert ("2 trials side by side on 2 cores" in out + said) == (not options)
