"""Real trials, killed at epochs drawn at random, come to the very numbers of the unbroken run on the CPU."""

import os
import random
import signal
import sqlite3
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest

from search import trials
from tests.commands import children_of, command, environment, pneumo, write_study
from tests.search import light

METRICS = ("recall", "specificity", "fnr", "auc", "pauc", "threshold", "best_epoch", "n_epochs")


CHEAP_FIRST = "fidelity=FidelitySpec(rungs=(Rung(scale=0.7, epochs=2),)),"


@pytest.mark.slow  # test_end_to_end kills one trial three times and compares
@pytest.mark.parametrize(
    ("n_epochs", "n_trials", "n_kills", "more"),
    [(12, 4, 8, ""), (6, 2, 4, CHEAP_FIRST)],
    ids=["four trials", "cheap trials first"],
)
@pytest.mark.timeout(900)
def test_killed_trials_come_to_the_same_numbers(
    tmp_path: Path, phantoms: Path, n_epochs: int, n_trials: int, n_kills: int, more: str
) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    for folder in (unbroken, broken):
        folder.mkdir()
        write_study(folder, epochs=n_epochs, more=more)
    arguments = ["launch", "small.py", "--data", phantoms, "--trials", n_trials, "--device", "cpu"]
    pneumo(*arguments, folder=unbroken, code=None)
    n_killed = 0
    while n_killed < n_kills:
        started = subprocess.Popen(
            command(*arguments), cwd=broken, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        goal = n_epochs_reported(broken) + random.Random(n_killed).randint(
            1, max(1, n_epochs * n_trials // n_kills - 1)
        )
        # On a busy machine it may have ended before it can be killed.
        light.wait_for(lambda goal=goal, of=started: n_epochs_reported(broken) >= goal or of.poll() is not None)
        for pid in [] if n_killed % 2 else children_of(broken):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        started.kill()
        started.wait()
        n_killed += 1
    pneumo(*arguments, folder=broken, code=None)
    assert outcome(broken) == outcome(unbroken)


def n_epochs_reported(folder: Path) -> int:
    """Return how many epochs were reported, those of a revived trial once."""
    file = folder / "runs" / "pneumo.db"
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
            return len(database.execute("SELECT DISTINCT trial_id, step FROM trial_intermediate_values").fetchall())
    except sqlite3.OperationalError:
        return 0


def outcome(folder: Path) -> list[Any]:
    """Return what each trial came to, in the order in which they were first taken."""
    study = optuna.load_study(study_name="small", storage=f"sqlite:///{folder / 'runs' / 'pneumo.db'}")
    return [
        (t.params, t.values, t.intermediate_values, {name: t.user_attrs[name] for name in METRICS})
        for t in sorted(trials.current(study.trials), key=trials.root)
    ]
