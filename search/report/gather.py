"""From a stored study, and its images where there are some, to `ReportData`."""

import math
import platform
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib import metadata

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial, TrialState

from pneumo_core.result import TrialResult
from search import objectives, openings, records, stored, stored_trials, trials
from search.prepared import Prepared
from search.report import evidence, rows
from search.report.data import Definition, Importance, ReportData, TrialRow
from search.report.evidence import AS_USUAL, Options
from search.storage import artifacts
from search.stored import undamaged
from search.stored_trials import trials_of

N_TOP = 5  # trials with training curves
MIN_TRIALS = 10  # PED-ANOVA looks at the best tenth: with fewer there is nothing to look at
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
    every = trials_of(study).ours
    found = trials.current(every)
    by_number = {trial.number: trial for trial in found}
    table = tuple(rows.row(trial) for trial in sorted(found, key=lambda trial: trial.number))
    best = _best(found, table)
    shown = best or rows.nearest_to_feasible(table)
    wanted = [shown, *rows.top(table, N_TOP)] if shown else rows.top(table, N_TOP)
    whole = results(study, artifact_store, [by_number[row.number] for row in wanted], every)
    objective = stored.read(study).objective
    names = objectives.of(objective).values
    data = ReportData(
        study=study.study_name,
        summary=records.summarise(study, storage_url),
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
    data, split, seed = (rows.texts(mark.get(name)) for name in ("data", "split", "study"))
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
        space={name: text for name, text in rows.texts(mark.get("space")).items() if not name.startswith("(")},
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
            return Importance(target=name, shares=optuna.importance.get_param_importances(study, target=target))
