"""Networks that stay, and those that go."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial

from search import kept, trials
from search.kept import KeptNetworks


def finished(*values: float, constraint: float = -0.01) -> list[FrozenTrial]:
    study = optuna.create_study(direction="maximize")
    for i, value in enumerate(values):
        trial = study.ask()
        trial.set_user_attr("spec_digest", digest(i))
        trial.set_constraint(trials.CONSTRAINT, constraint)
        study.tell(trial, value)
    return study.trials


def digest(i: int) -> str:
    return f"{i:016x}"


def left(folder: Path) -> set[int]:
    return {int(file.stem, 16) for file in folder.glob("*.keras")}


@pytest.fixture
def networks(tmp_path: Path) -> KeptNetworks:
    found = KeptNetworks(tmp_path)
    for i in range(4):
        found.file(digest(i)).write_bytes(b"x" * 100)
    return found


def test_the_best_stay(networks: KeptNetworks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "N_KEPT", 2)
    networks.tidy(finished(0.1, 0.4, 0.3, 0.2))
    assert left(networks.folder) == {1, 2}


def test_they_stay_within_the_limit(networks: KeptNetworks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "LIMIT_BYTES", 350)
    networks.tidy(finished(0.1, 0.4, 0.3, 0.2))
    assert left(networks.folder) == {1, 2, 3}


def test_infeasible_ones_go_and_those_of_running_trials_stay(networks: KeptNetworks) -> None:
    networks.tidy(finished(0.1, 0.4, constraint=0.01))
    assert left(networks.folder) == {2, 3}


def test_a_missing_folder_is_nothing_to_tidy(tmp_path: Path) -> None:
    KeptNetworks(tmp_path / "none").tidy(finished(0.1))
