"""From a stored study, and its images where there are some, to `ReportData`.

What others may have written into the database is not trusted to have its type.
"""

import math
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from importlib import metadata
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from pneumo_core.result import TrialResult
from pneumo_core.scoring.operating import Metrics
from pneumo_core.tuner.dialogue import DRAWN
from search import objectives, openings, records, stored, stored_trials, trials
from search.own_metrics import PREFIX
from search.prepared import Prepared
from search.report import evidence
from search.report.data import Definition, Importance, ReportData, State, TrialRow
from search.report.evidence import AS_USUAL, Options
from search.storage import artifacts
from search.stored import undamaged
from search.stored_trials import trials_of

N_TOP = 5  # trials with training curves
BEST_TRIALS = 8  # PED-ANOVA compares the best with all: fewer of them rank parameters by chance
MIN_TRIALS = 20
Target = Callable[[FrozenTrial], float]  # lower is better
GIVE_DATA = "Give --data the images that the study was launched with to see this."
_LIBRARIES = ("pneumo-search", "optuna", "numpy", "scikit-learn", "matplotlib")


def gather(
    study: optuna.Study,
    storage_url: str,
    artifact_store: FileSystemArtifactStore,
    *,
    prepared: Prepared | None = None,
    no_data: str = GIVE_DATA,
    options: Options = AS_USUAL,
) -> ReportData:
    """Return what a report shows of `study` now; it may still be running.

    Without `prepared`, whatever needs labels or images is left out and `no_data` says why. Of the data, only the
    train and validation roles are opened; of the others, files are counted.
    """
    read = trials_of(study)
    every = read.ours
    found = trials.current(every)
    by_number = {trial.number: trial for trial in found}
    table = tuple(row_of(trial) for trial in sorted(found, key=lambda trial: trial.number))
    best = _best(found, table)
    shown = best or nearest_to_feasible(table)
    wanted = [shown, *top(table, N_TOP)] if shown else top(table, N_TOP)
    whole = results(study, artifact_store, [by_number[row.number] for row in wanted], every)
    objective = stored.read(study).objective
    names = objectives.of(objective).values
    data = ReportData(
        study=study.study_name,
        summary=records.summarise(study, storage_url, lambda: read),
        objective=objective,
        metric_names=names,
        definition=_definition(study),
        made_at=datetime.now().astimezone(),
        trials=table,
        best=best,
        shown=shown,
        results=whole,
        importances=importances(study, every, names),
        versions=_versions(),
        n_folds=stored.read(study).folds,
        n_openings=openings.n_looks(study, "test", prepared),
        no_data=no_data,
    )
    if prepared is None:
        return data
    shown_on = stored_trials.data_of(study.study_name, by_number[shown.number]) if shown else None
    return evidence.add_images(data, prepared, shown_on, options)


def _best(found: list[FrozenTrial], table: Sequence[TrialRow]) -> TrialRow | None:
    best = records.best_feasible(found)
    return next((row for row in table if best and row.number == best.number), None)


def results(
    study: optuna.Study, store: FileSystemArtifactStore, wanted: Sequence[FrozenTrial], every: Sequence[FrozenTrial]
) -> dict[int, TrialResult]:
    """Return the whole results of `wanted` by number; a repeated trial's is that of the trial it repeats."""
    known = {trial.number: trial for trial in every}
    found: dict[int, TrialResult] = {}
    for trial in wanted:
        origin = known.get(trial.user_attrs.get("repeats", trial.number), trial)
        result = _result(study, store, origin)
        if result is not None:
            found[trial.number] = result
    return found


def _result(study: optuna.Study, store: FileSystemArtifactStore, trial: FrozenTrial) -> TrialResult | None:
    """Return a stored result; None where its file is on another machine or damaged."""
    try:
        return artifacts.load_result(store, trial, study._storage)
    except (ArtifactNotFound, ValueError):
        return None


def _definition(study: optuna.Study) -> Definition:
    known = stored.read(study)
    definition, mark = known.definition, known.fingerprint
    data, split, seed = (texts(mark.get(name)) for name in ("data", "split", "study"))
    seed.pop("fidelity", None)
    fidelity = known.fidelity
    facts = {
        "sampler": str(definition.get("sampler", "")),
        "pruner": str(definition.get("pruner", "")),
        "trials asked for": str(definition.get("trials", "")),
        **seed,
        "cheap trials first": "" if fidelity is None else fidelity.describe(),
        **{f"data: {name}": text for name, text in data.items()},
        **{f"split: {name}": text for name, text in split.items()},
    }
    return Definition(
        description=str(definition.get("description", "")),
        facts={name: text for name, text in facts.items() if text},
        space=known.space,
    )


def _versions() -> dict[str, str]:
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return {**libraries, "python": platform.python_version(), "system": platform.platform(terse=True)}


def importances(
    study: optuna.Study, every: Sequence[FrozenTrial], metric_names: Sequence[str]
) -> tuple[Importance, ...]:
    """Return the importance for each objective, then for the constraint. Of `every` trial, only complete ones count."""
    complete = [trial for trial in every if trial.state == TrialState.COMPLETE]
    if len(complete) >= MIN_TRIALS:
        study = _study_of(study, complete)
    wanted: dict[str, Target] = {name: _value(index) for index, name in enumerate(metric_names)}
    wanted["feasibility"] = _violation
    return tuple(_importance(study, complete, name, target) for name, target in wanted.items())


def _value(index: int) -> Target:
    return lambda trial: -trial.values[index]


def _violation(trial: FrozenTrial) -> float:
    return trial.constraints.get(trials.CONSTRAINT, math.nan)


def _study_of(study: optuna.Study, complete: Sequence[FrozenTrial]) -> optuna.Study:
    """Return a study in memory with these trials alone: Optuna would take those of other programs, too."""
    made = optuna.create_study(directions=study.directions)
    with undamaged(study.study_name):
        made.add_trials(complete)
    return made


def _importance(study: optuna.Study, complete: Sequence[FrozenTrial], name: str, target: Target) -> Importance:
    usable = [found for trial in complete if math.isfinite(found := target(trial))]
    if len(usable) < MIN_TRIALS:
        return Importance(target=name, shares={}, reason=f"needs {MIN_TRIALS} complete trials, there are {len(usable)}")
    if len(set(usable)) == 1:
        return Importance(target=name, shares={}, reason="all complete trials are equal in this")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that lower is better, which holds here, and that regimes are small
        with undamaged(study.study_name):
            evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, BEST_TRIALS / len(usable)))
            shares = optuna.importance.get_param_importances(study, evaluator=evaluator, target=target)
    shown = {key.removesuffix(DRAWN): share for key, share in shares.items() if key + DRAWN not in shares}
    return Importance(target=name, shares=shown)


def row_of(trial: FrozenTrial) -> TrialRow:
    """Return what a report needs of one trial."""
    attrs = trial.user_attrs
    failure = mapping(attrs.get("failure"))
    state = _state(trial)
    return TrialRow(
        number=trial.number,
        state=state,
        values=_values(trial),
        constraint=number(trial.constraints.get(trials.CONSTRAINT)),
        params=trials.shown_params(trial),
        metrics=_metrics(attrs),
        own_metrics=_own_metrics(attrs),
        reported={step: value for step, value in trial.intermediate_values.items() if math.isfinite(value)},
        seconds=_seconds(trial),
        n_parameters=_whole(attrs.get("n_parameters")),
        n_epochs=_whole(attrs.get("n_epochs")),
        failure=str(failure.get("reason", trials.LOST)) if state == "failed" else "",
        message=str(failure.get("message", "")),
        repeats=_whole(attrs.get("repeats")),
        paused_px=None if trials.rung(trial) is None else _whole(attrs.get(trials.IMAGE_SIZE_PX)),
        environment=texts(attrs.get("environment")),
        began=trial.datetime_start,
        ended=trial.datetime_complete,
    )


def nearest_to_feasible(found: Sequence[TrialRow]) -> TrialRow | None:
    """Return the trial that violates the ceiling least, complete ones before pruned ones; None without any.

    Trials that were paused on smaller images can't be compared with the others, and are left out.
    """
    judged = [r for r in found if r.metrics is not None and r.constraint is not None and r.paused_px is None]
    return min(judged, key=lambda r: (r.state == "pruned", r.constraint, -sum(r.values), r.number), default=None)


def top(found: Sequence[TrialRow], n: int) -> list[TrialRow]:
    """Return up to `n` complete trials: feasible ones by value, then infeasible ones by value."""
    complete = [r for r in found if r.state in ("feasible", "infeasible")]
    return sorted(complete, key=lambda r: (r.state != "feasible", -sum(r.values), r.number))[:n]


def number(value: Any) -> float | None:
    """Return `value` as a finite float, None for anything else."""
    ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if ok else None


def mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a mapping, an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def texts(value: Any) -> dict[str, str]:
    """Return a mapping as texts, empty for anything else."""
    return {str(key): str(item) for key, item in mapping(value).items()}


def _state(trial: FrozenTrial) -> State:
    match trial.state:
        case TrialState.COMPLETE:
            return "feasible" if records.is_feasible(trial) else "infeasible"
        case TrialState.PRUNED:
            return "pruned"
        case TrialState.FAIL:
            return "failed"
        case TrialState.RUNNING:
            return "running"
        case _:
            return "waiting"


def _seconds(trial: FrozenTrial) -> float | None:
    """Return the time of training; that of a failed trial, which reported none, from its start to its end."""
    known = number(trial.user_attrs.get("seconds"))
    if known is None and trial.state == TrialState.FAIL and trial.duration is not None:
        return trial.duration.total_seconds()
    return known


def _values(trial: FrozenTrial) -> tuple[float, ...]:
    """Return the objective values; Optuna keeps the last reported metric as the value of a pruned trial."""
    stored = trial.values if trial.state == TrialState.COMPLETE else trial.user_attrs.get("objective_values")
    if not isinstance(stored, list | tuple):
        return ()
    values = tuple(number(value) for value in stored)
    return tuple(value for value in values if value is not None) if None not in values else ()


def _metrics(attrs: Mapping[str, Any]) -> Metrics | None:
    found = {field.name: number(attrs.get(field.name)) for field in fields(Metrics)}
    measured = {name: value for name, value in found.items() if value is not None}
    return Metrics(**measured) if len(measured) == len(found) else None


def _own_metrics(attrs: Mapping[str, Any]) -> dict[str, float]:
    found = {key: number(value) for key, value in attrs.items() if key.startswith(PREFIX)}
    return {key.removeprefix(PREFIX): value for key, value in found.items() if value is not None}


def _whole(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)
