"""From a stored study, and its images where there are some, to `ReportData`."""

import dataclasses
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib import metadata

import numpy as np
import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial

from pneumo_core import codec
from pneumo_core.errors import StudyError
from pneumo_core.operating import Metrics
from pneumo_core.progress import Progress, silent
from pneumo_core.result import TrialResult
from pneumo_core.specs import DataSpec, ObjectiveSpec
from search import artifacts, openings, records, trials
from search.launch import Prepared
from search.report import compare, gallery, importance, performance, rows, source
from search.report.data import Definition, ReportData, TrialRow
from search.report.gallery import Overlays

N_TOP = 5  # trials with training curves
GIVE_DATA = "Give --data the images that the study was launched with to see this."
_LIBRARIES = ("pneumo-search", "optuna", "numpy", "scikit-learn", "matplotlib")

OverlaysFor = Callable[[Sequence[int]], Overlays]
"""From rows of the validation arrays to saliency overlays, for those that it can make."""


def gather(
    study: optuna.Study,
    storage_url: str,
    artifact_store: FileSystemArtifactStore,
    *,
    prepared: Prepared | None = None,
    no_data: str = GIVE_DATA,
    overlays_for: OverlaysFor | None = None,
    progress: Progress = silent,
) -> ReportData:
    """Return what a report shows of `study` now; it may still be running.

    Without `prepared`, whatever needs labels or images is left out and `no_data` says why. Of the data, only the
    train and validation roles are opened; of the others, files are counted.
    """
    found = trials.current(study.get_trials(deepcopy=False))
    by_number = {trial.number: trial for trial in found}
    table = tuple(rows.row(trial) for trial in sorted(found, key=lambda trial: trial.number))
    best = _best(found, table)
    shown = best or rows.nearest_to_feasible(table)
    wanted = [shown, *rows.top(table, N_TOP)] if shown else rows.top(table, N_TOP)
    results = _results(study, artifact_store, [by_number[row.number] for row in wanted])
    names = tuple(study.metric_names or (f"value {i}" for i in range(len(study.directions))))
    data = ReportData(
        study=study.study_name,
        summary=records.summarise(study, storage_url),
        objective=_objective(study),
        metric_names=names,
        definition=_definition(study),
        made_at=datetime.now().astimezone(),
        trials=table,
        best=best,
        shown=shown,
        results=results,
        importances=importance.importances(study, names),
        versions=_versions(),
        n_openings=len(openings.logged(study)),
        no_data=no_data,
    )
    if prepared is None:
        return data
    return _with_images(
        dataclasses.replace(data, no_data="", flow=source.flow(prepared)), prepared, by_number, overlays_for, progress
    )


def _with_images(
    data: ReportData,
    prepared: Prepared,
    by_number: Mapping[int, FrozenTrial],
    overlays_for: OverlaysFor | None,
    progress: Progress,
) -> ReportData:
    """Add what needs labels and pixels: the shown trial's performance, baselines, galleries."""
    if data.shown is None or data.shown.metrics is None:
        return dataclasses.replace(data, no_performance="No trial has finished yet.")
    result = data.results.get(data.shown.number)
    if result is None:
        return dataclasses.replace(data, no_performance=_no_scores(data.shown))
    try:
        spec = codec.from_json(DataSpec, by_number[data.shown.number].user_attrs["spec"]["data"])
    except (KeyError, TypeError, ValueError) as error:
        return dataclasses.replace(data, no_performance=f"The trial's stored specification is damaged: {error}")
    images = source.images(prepared, spec)
    scores = np.asarray(result.scores, dtype=np.float64)
    if len(scores) != len(images.validation.y):
        why = f"The trial has {len(scores)} stored scores, the validation role {len(images.validation.y)} images."
        return dataclasses.replace(data, no_performance=why)
    return _with_scores(data, images, scores, data.shown.metrics, overlays_for, progress)


def _with_scores(
    data: ReportData,
    images: source.Images,
    scores: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    stored: Metrics,
    overlays_for: OverlaysFor | None,
    progress: Progress,
) -> ReportData:
    validation = images.validation
    wrong = np.concatenate(gallery.shown_rows(validation, scores, stored.threshold)).tolist()
    overlays = overlays_for(wrong) if overlays_for else {}
    missed, false_alarms = gallery.galleries(validation, scores, stored.threshold, overlays)
    return dataclasses.replace(
        data,
        validation=validation,
        performance=performance.measure(validation, scores, stored, data.objective),
        compared=compare.compare(images, scores, data.objective, progress),
        missed=missed,
        false_alarms=false_alarms,
    )


def _best(found: list[FrozenTrial], table: Sequence[TrialRow]) -> TrialRow | None:
    best = records.best_feasible(found)
    return next((row for row in table if best and row.number == best.number), None)


def _results(
    study: optuna.Study, store: FileSystemArtifactStore, wanted: Sequence[FrozenTrial]
) -> dict[int, TrialResult]:
    """Return the whole results of `wanted` by number; a repeated trial's is that of the trial it repeats."""
    known = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
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


def _no_scores(row: TrialRow) -> str:
    return (
        f"The scores of trial {row.number} are not in this home folder: they are kept where the trial ran. "
        "Run this on that machine, or give --home its folder."
    )


def _objective(study: optuna.Study) -> ObjectiveSpec:
    try:
        return codec.from_json(ObjectiveSpec, study.user_attrs["objective"])
    except (KeyError, ValueError) as error:
        raise StudyError(f"study {study.study_name!r} was not made by this program: {error}") from error


def _definition(study: optuna.Study) -> Definition:
    stored = rows.mapping(study.user_attrs.get("definition"))
    mark = rows.mapping(study.user_attrs.get("fingerprint"))
    data, split, seed = (rows.texts(mark.get(name)) for name in ("data", "split", "study"))
    facts = {
        "sampler": str(stored.get("sampler", "")),
        "pruner": str(stored.get("pruner", "")),
        "trials asked for": str(stored.get("trials", "")),
        **seed,
        **{f"data: {name}": text for name, text in data.items()},
        **{f"split: {name}": text for name, text in split.items()},
    }
    return Definition(
        description=str(stored.get("description", "")),
        facts={name: text for name, text in facts.items() if text},
        space={name: text for name, text in rows.texts(mark.get("space")).items() if not name.startswith("(")},
    )


def _versions() -> dict[str, str]:
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return {**libraries, "python": platform.python_version(), "system": platform.platform(terse=True)}
