"""How long the database takes in a study of many trials, and a launch to begin on one.

python -m benchmarks.storage --trials 10000 [--storage URL]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from pneumo_core.seeds import derive
from search import factory, trials
from search.storage.database import exclusively, open_storage
from search.storage.owner import this_process
from studies.spec import PrunerSpec, SamplerSpec

DISTRIBUTIONS = {
    **{f"float_{i}": FloatDistribution(1e-5, 1.0, log=True) for i in range(4)},
    **{f"int_{i}": IntDistribution(1, 512, log=True) for i in range(2)},
    **{f"choice_{i}": CategoricalDistribution(["a", "b", "c"]) for i in range(2)},
}
N_MEASURED = 20
N_EPOCHS = 5
ATTRIBUTES = dict.fromkeys(("recall", "specificity", "fnr", "auc", "pauc", "threshold", "seconds"), 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--storage")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        url = asked.storage or f"sqlite:///{Path(folder) / 'benchmark.db'}"
        fill(url, asked.trials)
        measure(url, asked.trials)


def fill(url: str, n_trials: int) -> None:
    """Store finished trials as a search leaves them."""
    study = optuna.create_study(study_name="benchmark", storage=open_storage(url), direction="maximize")
    sampler = optuna.samplers.RandomSampler(seed=0)
    for number in range(n_trials):
        params = {
            name: sampler.sample_independent(study, None, name, distribution)  # type: ignore[arg-type]
            for name, distribution in DISTRIBUTIONS.items()
        }
        value = derive("value", number) / 2**31
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                values=[value],
                params=params,
                distributions=DISTRIBUTIONS,
                user_attrs={**ATTRIBUTES, "spec_digest": str(number)},
                system_attrs={"constraints:fnr_ceiling": 0.5 - value},
                intermediate_values=dict.fromkeys(range(N_EPOCHS), value),
            )
        )


def measure(url: str, n_trials: int) -> None:
    """Open the study anew, as a launch does, and run trials through it as a coordinator does."""
    began_s = time.perf_counter()
    storage = open_storage(url)
    study = optuna.load_study(study_name="benchmark", storage=storage)
    trials.ledger(study.get_trials(deepcopy=False), 2)
    print(f"{n_trials} trials: start-up {time.perf_counter() - began_s:.2f} s")
    study.pruner = factory.pruner(PrunerSpec(), 20)
    parts: dict[str, list[float]] = {}
    for _ in range(N_MEASURED):
        once(study, storage, parts)
    for name, seconds in parts.items():
        print(f"{name}: median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s")
    totals = [sum(each) for each in zip(*(parts[name] for name in ("ask", "report", "tell")), strict=True)]
    print(f"ask + report + tell: median {statistics.median(totals):.3f} s, worst {max(totals):.3f} s")


def once(study: optuna.Study, storage: object, parts: dict[str, list[float]]) -> None:
    clock = Clock(parts)
    n_trials = len(study.get_trials(deepcopy=False))
    study.sampler = factory.sampler(SamplerSpec(), n_trials, {})

    def take() -> optuna.Trial:
        trials.ledger(study.get_trials(deepcopy=False), 2)
        return study.ask()

    trial = exclusively(storage, take)  # type: ignore[arg-type]
    trials.beat(trial, this_process())
    clock.lap("ask")
    for name, distribution in DISTRIBUTIONS.items():
        trial._suggest(name, distribution)
    clock.lap("8 suggestions")
    trial.report(0.5, 0)
    trial.should_prune()
    clock.lap("report")
    trial.set_constraint(trials.CONSTRAINT, 0.0)
    for name, value in ATTRIBUTES.items():
        trial.set_user_attr(name, value)
    study.tell(trial, 0.5)
    clock.lap("tell")


class Clock:
    """Adds the time since the last lap to a named list."""

    def __init__(self, parts: dict[str, list[float]]) -> None:
        self._parts, self._last_s = parts, time.perf_counter()

    def lap(self, name: str) -> None:
        now_s = time.perf_counter()
        self._parts.setdefault(name, []).append(now_s - self._last_s)
        self._last_s = now_s


if __name__ == "__main__":
    main()
