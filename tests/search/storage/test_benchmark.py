"""The benchmark's shortcut into the database stores what Optuna would, and a coordinator can continue from there."""

from dataclasses import replace
from pathlib import Path

import optuna

from benchmarks import storage as benchmark
from search.storage.database import open_storage
from studies import cnn

N_TRIALS = 12  # some of them of the benchmark's: so that TPE has begun


def test_a_study_filled_quickly_is_one_filled_by_optuna(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'filled.db'}"
    spec = replace(cnn.STUDY, enqueue=(), budget=replace(cnn.STUDY.budget, trials=N_TRIALS + 2))
    benchmark.fill(spec, url, N_TRIALS)
    filled = optuna.load_study(study_name="cnn", storage=open_storage(url)).trials
    slowly = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path / 'slow.db'}"), direction="maximize")
    slowly.add_trials(filled)
    assert slowly.trials == filled
    steps = benchmark.measure(spec, url, tmp_path)
    assert {len(seconds) for name, seconds in steps.items() if not name.startswith("start-up")} == {2}
