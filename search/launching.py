"""From a study and its data to a finished search: the steps of `pneumo launch`, as functions."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import optuna

from pneumo_core.data import folds
from pneumo_core.errors import StudyError, UserError
from pneumo_core.progress import Progress
from pneumo_core.training import feature_store
from search import factory, fingerprint, promotion, records
from search import stored as stored_study
from search import study as stored_studies
from search import warm_start as warm_starting
from search.coordinator import Coordinator, Ending
from search.executors import trainers
from search.executors.devices import Machine, is_cpu_only, slot_environments
from search.executors.local import LocalExecutor
from search.executors.protocol import Executor
from search.home import Home
from search.hooks.guarded import Guarded
from search.hooks.guarded import found as found_hooks
from search.hooks.tensorboard import TensorBoard
from search.kept import KeptNetworks
from search.prepared import Prepared, read_source, split_for
from search.stopping import Stopping, polite_stop
from search.storage import artifacts
from search.storage.database import open_storage, storage_failures
from search.storage.patience import PatientStorage
from search.stored_trials import Reader
from search.watching.views import MakeView, Views
from studies.load import Study
from studies.probing import Probes
from studies.spec import Hook, SourceSpec, StudySpec, fold_seed

RAY_PORT = 10001  # of a Ray head for clients from elsewhere


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a launch ended, and the state of the study."""

    ending: Ending
    summary: records.Summary
    diagnosis: str = ""


@dataclass(frozen=True, kw_only=True)
class Join:
    """How a worker joins a study: it must be there, or be launched within `wait_s`, and its stored budget holds."""

    wait_s: float = 0.0
    leave_after_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a study is launched."""

    storage_url: str
    home: Home
    tensorboard: Path | None = None  # folder for logs
    warm_start: str | None = None  # an earlier search: see `search.warm_start`
    extend: bool = False  # the space may have become wider
    join: Join | None = None  # None: the study is created, or resumed up to its budget
    stopping: Stopping = polite_stop


def _as_it_is(source: SourceSpec) -> SourceSpec:
    return source


def with_options(
    study: Study,
    *,
    name: str | None = None,
    data: str | None = None,
    reading: Callable[[SourceSpec], SourceSpec] = _as_it_is,
    protocol: str | None = None,
    trials: int | None = None,
    timeout_s: float | None = None,
    seed: int | None = None,
    hooks: Sequence[Hook] = (),
) -> Study:
    """Return the study with what the command line overrides; `reading` changes how its images are read.

    Raises `ValueError` for impossible values.
    """
    spec = study.spec
    budget = {k: v for k, v in {"trials": trials, "timeout_s": timeout_s}.items() if v is not None}
    split = split_for(protocol, spec.data.split)
    spec = dataclasses.replace(
        spec,
        name=name or spec.name,
        data=reading(dataclasses.replace(spec.data, split=split, source=data or spec.data.source)),
        budget=dataclasses.replace(spec.budget, **budget),  # type: ignore[arg-type]
        seed=spec.seed if seed is None else seed,
        hooks=(*spec.hooks, *hooks),
    )
    return dataclasses.replace(study, spec=spec)


def launch(
    study: Study,
    options: Options,
    machine: Machine,
    views: AbstractContextManager[tuple[MakeView, Progress]],
    on_read: Callable[[Prepared], None] = lambda _prepared: None,
) -> Outcome:
    """Read the study's images, then run or resume it up to its total budget.

    `on_read` is called with the images before the search starts. Raises `UserError`s for mistakes of the user.
    """
    options.home.check_writable()
    hooks = found_hooks(study.spec.hooks) + ([TensorBoard(options.tensorboard)] if options.tensorboard else [])
    machine, why = _with_trainers(machine, study)
    executor = make_executor(machine, options.home.logs(study.spec.name))
    with views as (make_view, progress):
        wanted = promotion.images_wanted(study.spec.fidelity, study.draws.trials)
        prepared = read_source(study.spec.data, options.home, progress, wanted)
        on_read(prepared)
        return search(study, options, prepared, executor, make_view, hooks, why)


def search(
    study: Study,
    options: Options,
    prepared: Prepared,
    executor: Executor,
    make_view: MakeView,
    hooks: Sequence[Hook] = (),
    say_first: Sequence[str] = (),
) -> Outcome:
    """Run or resume a study whose images are read; `say_first` is what people should know of the launch."""
    spec, notes = _resolved(study, options)
    mark = fingerprint.of_study(spec, study.draws) | fingerprint.of_data(prepared.manifest, prepared.split)
    storage = open_storage(options.storage_url, create=options.join is None or options.join.wait_s > 0)
    stored, spec = _opened(spec, storage, mark, options)
    longest = max(trial.train.epochs for trial in study.draws.trials)
    stored.pruner = factory.pruner(spec.pruner, longest, spec.folds, spec.fidelity)
    _check_arrays(spec, prepared, study.draws)
    home, uid = options.home, stored_study.read(stored).uid
    with options.stopping() as stop_asked:
        summary = partial(records.summarise, stored, options.storage_url)
        view = make_view(spec.budget.trials, executor.n_slots, partial(summary, Reader(stored)))
        for note in (*say_first, *notes):
            view.noted(note)
        coordinator = Coordinator(
            study=stored,
            storage=storage,
            spec=spec,
            parameters=study.draws.parameters,
            executor=executor,
            arrays_for=prepared.arrays_for,
            checkpoints=home.checkpoints(spec.name, uid),
            networks=KeptNetworks(home.networks(spec.name, uid)),
            artifacts=artifacts.store(home.artifacts),
            view=Views((view, *(Guarded(hook, view.noted) for hook in hooks))),
            stop_asked=stop_asked,
            forget_arrays=prepared.forget,
        )
        ending = _run(coordinator, storage)
    return Outcome(ending=ending, summary=summary(), diagnosis=coordinator.diagnosis)


def _with_trainers(machine: Machine, study: Study) -> tuple[Machine, list[str]]:
    """Return the machine with a number of trainers, and where the user gave none, the reason for it."""
    if machine.workers or not is_cpu_only(machine):
        return machine, []
    spec = study.spec
    choice = trainers.choose(study.draws.trials, spec.budget.trials, deterministic=spec.deterministic)
    return dataclasses.replace(machine, workers=choice.n), [choice.why]


def make_executor(machine: Machine, logs: Path) -> Executor:
    """Return the executor of a machine; `logs` is the folder for what its trainers print here."""
    on = machine.on
    if on == "local":
        return local_executor(machine, logs)
    if on != "ray" and not on.startswith("ray://"):
        raise UserError(f"--on must be local, ray or ray://HOST, got {on!r}")
    from search.executors.ray_cluster import connect

    return connect(None if on == "ray" else on if ":" in on.removeprefix("ray://") else f"{on}:{RAY_PORT}", machine)


def local_executor(machine: Machine, logs: Path) -> LocalExecutor:
    """Return an executor of child processes on this machine; raises `StorageError` for a limit that is no number."""
    feature_store.limit_bytes()
    return LocalExecutor(environments=slot_environments(machine), logs=logs, limits=machine.limits)


def _resolved(study: Study, options: Options) -> tuple[StudySpec, list[str]]:
    """Return the study with its first points and its sampler, and what people should know of them."""
    spec, notes = study.spec, study.draws.notes
    if options.warm_start is not None:
        points = warm_starting.points(options.warm_start, options.storage_url, spec, study.draws)
        spec = dataclasses.replace(spec, enqueue=(*spec.enqueue, *points))
        notes.append(f"{len(points)} points of {options.warm_start} are tried first.")
    spec = dataclasses.replace(spec, sampler=factory.resolved(spec, study.draws))
    return spec, notes + factory.notes(spec.sampler)


def _opened(
    spec: StudySpec, storage: PatientStorage, mark: fingerprint.Fingerprint, options: Options
) -> tuple[optuna.Study, StudySpec]:
    """Return the stored study, and `spec` with the budget that holds here."""
    join = options.join
    if join is None:
        return stored_studies.open_study(spec, storage, mark, extend=options.extend), spec
    stored = stored_studies.join_study(spec, storage, mark, join.wait_s)
    budget = dataclasses.replace(stored_studies.stored_budget(stored), timeout_s=join.leave_after_s)
    return stored, dataclasses.replace(spec, budget=budget)


def _check_arrays(spec: StudySpec, prepared: Prepared, draws: Probes) -> None:
    """Make the smallest arrays that a trial may need; others are made when a trial first needs them."""
    wanted = promotion.images_wanted(spec.fidelity, draws.trials)
    arrays = prepared.arrays_for(min(wanted, key=lambda data: data.image_size_px))
    if spec.folds is not None:
        folds.check(arrays, spec.folds, fold_seed(spec))


def _run(coordinator: Coordinator, storage: PatientStorage) -> Ending:
    try:
        with storage_failures():
            return coordinator.run()
    except KeyError as error:  # what Optuna raises for a study that it doesn't find
        with storage_failures():
            names = stored_studies.study_names(storage)
        if coordinator.spec.name in names:
            raise
        raise StudyError(f"study {coordinator.spec.name!r} was deleted while it ran") from error
    finally:
        storage.remove_session()
