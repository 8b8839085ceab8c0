"""What a study of many trials costs: opening it, asking, reporting, telling, and `pneumo status`.

    python -m benchmarks.storage [--trials 10000] [--storage URL] [--measured 20] [--json FILE]

The real coordinator runs trials of `studies/cnn.py` on an executor that answers at once, in a database already filled
with finished trials. These are made by a random search in memory and stored row by row as Optuna would; `--storage`
names an empty database, by default a SQLite file in a temporary folder.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial

from pneumo_core.result import TrialResult
from pneumo_core.scoring.operating import Metrics
from pneumo_core.seeds import derive
from pneumo_core.specs import DataSpec, TrialSpec
from pneumo_core.wire import EpochDone, RunTrial, Task, TrialDone
from search import factory, fingerprint, trials
from search.coordinator import Coordinator
from search.executors.protocol import Event
from search.kept import KeptNetworks
from search.storage import artifacts
from search.storage.database import open_storage
from search.storage.owner import this_process
from search.storage.patience import PatientStorage
from search.study import load_study, open_study
from search.watching.views import View
from spaces.base import Suggest
from studies import cnn
from studies.probing import probe
from studies.spec import StudySpec

N_EPOCHS = 8  # reported by each stored trial
CHUNK = 500  # trials stored in one transaction


def main() -> None:
    """Parse, fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--storage")
    parser.add_argument("--measured", type=int, default=20)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = asked.storage or f"sqlite:///{Path(folder) / 'benchmark.db'}"
        spec = replace(cnn.STUDY, enqueue=(), budget=replace(cnn.STUDY.budget, trials=asked.trials + asked.measured))
        fill(spec, url, asked.trials)
        steps = {"`pneumo status`, the whole command": status(url)}
        steps |= measure(spec, url, Path(folder))
    print(_table(steps, asked.trials, url.split(":")[0]))
    if asked.json:
        asked.json.write_text(json.dumps({"trials": asked.trials, "steps": steps}, indent=1), "utf-8")


def fill(spec: StudySpec, url: str, n_trials: int) -> None:
    """Store `n_trials` finished trials of a random search as coordinators leave them."""
    storage = open_storage(url)
    spec = replace(spec, enqueue=())  # a queued point would take the first number
    study = open_study(spec, storage, fingerprint.of_study(spec, probe(spec)))
    memory = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(n_trials):
        trial = memory.ask()
        trials.begin(trial, spec.space(trial), this_process())
        for epoch in range(N_EPOCHS):
            trial.report(_value(number, epoch), epoch)
        trials.finish(memory, trial, _result(number, pruned=number % 3 == 0))
    found = memory.get_trials(deepcopy=False)
    for start in range(0, n_trials, CHUNK):
        with storage.engine.begin() as connection:
            _store(connection, study._study_id, found[start : start + CHUNK])
    storage.remove_session()
    storage.engine.dispose()


def status(url: str) -> list[float]:
    """Return the seconds that `pneumo status` takes, three times."""
    seconds = []
    for _ in range(3):
        began_s = time.perf_counter()
        command = [sys.executable, "-m", "search.cli", "status", cnn.STUDY.name, "--storage", url]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - began_s)
    return seconds


def measure(spec: StudySpec, url: str, folder: Path) -> dict[str, list[float]]:
    """Open the study as a launch does and run the rest of its budget; return the seconds of each step."""
    began_s = time.perf_counter()
    storage = open_storage(url)
    study = load_study(spec.name, storage)
    trials.ledger(study.get_trials(deepcopy=False), spec.budget.max_retries)
    start_up_s = time.perf_counter() - began_s
    study.pruner = factory.pruner(spec.pruner, 12)
    stopwatch = Stopwatch()
    coordinator = _coordinator(replace(spec, space=stopwatch.timed(spec)), study, storage, stopwatch, folder)
    assert coordinator.run() == "budget"
    steps = stopwatch.steps
    whole = [sum(each) for each in zip(steps["ask"], steps["report"], steps["tell"], strict=True)]
    return {
        "start-up: open, load and sort all trials": [start_up_s],
        "ask: lock, sort, take": steps["ask"],
        "suggestions of TPE for a whole spec": steps["suggest"],
        "report and prune, one epoch": steps["report"],
        "tell: files, attributes, constraint, state": steps["tell"],
        "**ask + report + tell**": whole,
        "all that a trial of one epoch costs": [a + b for a, b in zip(whole, steps["suggest"], strict=True)],
    }


@dataclass
class Stopwatch(View):
    """An executor whose trials take no time, and a view that notes when the coordinator comes to which step."""

    n_slots: int = 1
    steps: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _events: list[Event] = field(default_factory=list)
    _last_s: float = 0.0
    _suggest_s: float = 0.0

    @property
    def n_free(self) -> int:
        return 0 if self._events else 1

    def timed(self, spec: StudySpec) -> "Timed":
        return Timed(spec, self)

    def suggested(self, seconds: float) -> None:
        """Note what the sampler took, which is no part of asking."""
        self.steps["suggest"].append(seconds)
        self._suggest_s = seconds

    def submit(self, task: Task, *, alone: bool = False) -> None:
        assert isinstance(task, RunTrial)
        metrics = {"pruning_metric": _value(task.number, 0)}
        self._events = [
            EpochDone(number=task.number, epoch=0, metrics=metrics),
            TrialDone(number=task.number, result=_result(task.number, pruned=False)),
        ]

    def poll(self, timeout_s: float) -> Sequence[Event]:
        self._last_s = time.perf_counter()
        return [self._events.pop(0)] if self._events else []

    def reply(self, number: int, *, stop: bool) -> None:
        self._lap("report")

    def started(self, number: int, spec: TrialSpec) -> None:
        self._lap("ask", self._suggest_s)

    def finished(self, number: int, result: TrialResult) -> None:
        self._lap("tell")

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None: ...
    def failed(self, number: int, reason: str, message: str) -> None: ...
    def ended(self, number: int, what: str) -> None: ...
    def cancel(self, number: int) -> None: ...
    def close(self) -> None: ...

    def _lap(self, name: str, less_s: float = 0.0) -> None:
        now_s = time.perf_counter()
        self.steps[name].append(now_s - self._last_s - less_s)
        self._last_s = now_s


@dataclass(frozen=True)
class Timed:
    """The study's space, with a stopwatch around it."""

    study: StudySpec
    stopwatch: Stopwatch

    def __call__(self, suggest: Suggest) -> TrialSpec:
        began_s = time.perf_counter()
        spec = self.study.space(suggest)
        self.stopwatch.suggested(time.perf_counter() - began_s)
        return spec


def _coordinator(
    spec: StudySpec, study: optuna.Study, storage: PatientStorage, stopwatch: Stopwatch, folder: Path
) -> Coordinator:
    def arrays_for(_: DataSpec) -> Path:
        return folder

    stopwatch._last_s = time.perf_counter()
    return Coordinator(
        study=study,
        storage=storage,
        spec=spec,
        parameters={},
        executor=stopwatch,
        arrays_for=arrays_for,
        checkpoints=folder / "checkpoints",
        networks=KeptNetworks(folder / "networks"),
        artifacts=artifacts.store(folder / "artifacts"),
        view=stopwatch,
        stop_asked=lambda: False,
    )


def _value(*tokens: int) -> float:
    return derive(0, "value", *tokens) / 2**31


def _result(number: int, *, pruned: bool) -> TrialResult:
    recall = _value(number)
    metrics = Metrics(recall=recall, specificity=0.9, fnr=1 - recall, auc=recall, pauc=recall, threshold=0.5)
    return TrialResult(
        values=(recall,),
        constraint=0.5 - recall,
        metrics=metrics,
        best_epoch=1,
        n_epochs=N_EPOCHS,
        n_parameters=100_000,
        seconds=60.0,
        stopped="pruned" if pruned else "completed",
        history=(),
        scores=(),
        environment={"keras": "3", "backend": "tensorflow", "device": "cpu", "python": "3.11"},
    )


def _store(connection: sqlalchemy.Connection, study_id: int, found: Sequence[FrozenTrial]) -> None:
    """Insert the rows that `optuna.Study.add_trial` would, many at a time: one by one 10,000 trials take minutes."""
    value, report = models.TrialValueModel, models.TrialIntermediateValueModel
    rows: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for trial, trial_id in zip(found, _store_trials(connection, study_id, found), strict=True):
        mine = {"trial_id": trial_id}
        for name, given in trial.params.items():
            distribution = trial.distributions[name]
            stored = {"param_name": name, "param_value": distribution.to_internal_repr(given)}
            rows[models.TrialParamModel].append(
                mine | stored | {"distribution_json": distribution_to_json(distribution)}
            )
        for objective, number in enumerate(trial.values or ()):
            shown, kind = value.value_to_stored_repr(number)
            rows[value].append(mine | {"objective": objective, "value": shown, "value_type": kind})
        for step, number in trial.intermediate_values.items():
            shown, reported = report.intermediate_value_to_stored_repr(number)
            rows[report].append(mine | {"step": step, "intermediate_value": shown, "intermediate_value_type": reported})
        rows[models.TrialUserAttributeModel] += _attributes(mine, trial.user_attrs)
        rows[models.TrialSystemAttributeModel] += _attributes(mine, trial.system_attrs)
    for model, of in rows.items():
        connection.execute(sqlalchemy.insert(model.__table__), of)


def _store_trials(connection: sqlalchemy.Connection, study_id: int, found: Sequence[FrozenTrial]) -> list[int]:
    """Insert the trials' own rows, and return the ids that the database gave them."""
    model = models.TrialModel
    states = [{"study_id": study_id, "number": trial.number, "state": trial.state} for trial in found]
    times = [{"datetime_start": t.datetime_start, "datetime_complete": t.datetime_complete} for t in found]
    connection.execute(sqlalchemy.insert(model.__table__), [a | b for a, b in zip(states, times, strict=True)])
    stored = sqlalchemy.select(model.trial_id).where(model.study_id == study_id, model.number >= found[0].number)
    return list(connection.scalars(stored.order_by(model.number)))


def _attributes(mine: Mapping[str, Any], attributes: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    return [{**mine, "key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


def _table(steps: Mapping[str, Sequence[float]], n_trials: int, kind: str) -> str:
    rows = [f"| {name} | {statistics.median(s):.3f} s | {_worst(s)} |" for name, s in steps.items()]
    return "\n".join([f"| {n_trials} trials, {kind} | median | worst |", "|---|---|---|", *rows])


def _worst(seconds: Sequence[float]) -> str:
    return f"{max(seconds):.3f} s" if len(seconds) > 1 else ""


if __name__ == "__main__":
    main()
