"""From a study and its data to a finished search: the steps of `pneumo launch`, as functions."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pneumo_core.data import folds
from pneumo_core.errors import StudyError, UserError
from pneumo_core.specs import DataSpec
from pneumo_core.training import feature_store
from search import factory, fingerprint, promotion, records, study
from search import stored as stored_study
from search import warm_start as warm_starting
from search.coordinator import Coordinator, Ending
from search.executors.devices import slot_environments
from search.executors.local import Limits, LocalExecutor
from search.executors.protocol import Executor
from search.home import Home
from search.hooks.guarded import Guarded
from search.hooks.guarded import found as found_hooks
from search.hooks.tensorboard import TensorBoard
from search.kept import KeptNetworks
from search.prepared import Prepared, split_for
from search.stopping import Stopping, polite_stop
from search.storage import artifacts
from search.storage.database import open_storage, storage_failures
from search.storage.patience import PatientStorage
from search.stored_trials import Reader
from search.watching.views import MakeView, Views
from studies.probing import probe
from studies.spec import Hook, SourceSpec, StudySpec, fold_seed

RAY_PORT = 10001  # of a Ray head for clients from elsewhere


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a launch ended and what the study has come to."""

    ending: Ending
    summary: records.Summary
    diagnosis: str = ""


def _as_it_is(source: SourceSpec) -> SourceSpec:
    return source


def with_options(
    spec: StudySpec,
    *,
    name: str | None = None,
    data: str | None = None,
    reading: Callable[[SourceSpec], SourceSpec] = _as_it_is,
    protocol: str | None = None,
    trials: int | None = None,
    timeout_s: float | None = None,
    hooks: Sequence[Hook] = (),
) -> StudySpec:
    """Return the study with what the command line overrides; `reading` changes how its images are read.

    Raises `ValueError` for impossible values.
    """
    budget = {k: v for k, v in {"trials": trials, "timeout_s": timeout_s}.items() if v is not None}
    split = split_for(protocol, spec.data.split)
    return dataclasses.replace(
        spec,
        name=name or spec.name,
        data=reading(dataclasses.replace(spec.data, split=split, source=data or spec.data.source)),
        budget=dataclasses.replace(spec.budget, **budget),  # type: ignore[arg-type]
        hooks=(*spec.hooks, *hooks),
    )


def launch(
    spec: StudySpec,
    *,
    storage_url: str,
    home: Home,
    prepared: Prepared,
    executor: Executor,
    make_view: MakeView,
    tensorboard: Path | None = None,
    warm_start: str | None = None,
    extend: bool = False,
    stopping: Stopping = polite_stop,
    join: bool = False,
    wait_s: float = 0.0,
    leave_after_s: float | None = None,
) -> Outcome:
    """Run or resume `spec` up to its total budget. Raises `UserError`s for what must be put right first.

    With `join` the study must be there, or be launched within `wait_s`; its stored budget of trials holds, and
    `leave_after_s` is the worker's own time. `tensorboard` is a folder for logs, `warm_start` an earlier search (see
    `search.warm_start`), with `extend` the space may have become wider, and `stopping` says who is heard that asks to
    stop.
    """
    home.check_writable()
    hooks = found_hooks(spec.hooks) + ([] if tensorboard is None else [TensorBoard(tensorboard)])
    found = probe(spec)
    notes = found.notes
    if warm_start is not None:
        points = warm_starting.points(warm_start, storage_url, spec, found)
        spec = dataclasses.replace(spec, enqueue=(*spec.enqueue, *points))
        notes.append(f"{len(points)} points of {warm_start} are tried first.")
    spec = dataclasses.replace(spec, sampler=factory.resolved(spec, found))
    notes += factory.notes(spec.sampler)
    storage = open_storage(storage_url, create=not join or wait_s > 0)
    mark = fingerprint.of_study(spec) | fingerprint.of_data(prepared.manifest, prepared.split)
    if join:
        stored = study.join_study(spec, storage, mark, wait_s)
        budget = dataclasses.replace(study.stored_budget(stored), timeout_s=leave_after_s)
        spec = dataclasses.replace(spec, budget=budget)
    else:
        stored = study.open_study(spec, storage, mark, extend=extend)
    longest = max(trial.train.epochs for trial in found.trials)
    stored.pruner = factory.pruner(spec.pruner, longest, spec.folds, spec.fidelity)
    smallest = min(promotion.images_wanted(spec.fidelity, found.trials), key=_by_size)
    arrays = prepared.arrays_for(smallest)  # the others when a trial first needs them
    if spec.folds is not None:
        folds.check(arrays, spec.folds, fold_seed(spec))
    with stopping() as stop_asked:
        reader = Reader(stored)
        view = make_view(spec.budget.trials, executor.n_slots, lambda: records.summarise(stored, storage_url, reader))
        for note in notes:
            view.noted(note)
        uid = stored_study.read(stored).uid
        coordinator = Coordinator(
            study=stored,
            storage=storage,
            spec=spec,
            budget=spec.budget,
            parameters=found.parameters,
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
    return Outcome(ending=ending, summary=records.summarise(stored, storage_url), diagnosis=coordinator.diagnosis)


def make_executor(
    on: str,
    home: Home,
    study_name: str,
    *,
    device: str = "auto",
    n_workers: int | None = None,
    backend: str | None = None,
    limits: Limits | None = None,
    trials_per_gpu: int = 1,
) -> Executor:
    """Return the executor that `--on` names: `local`, or `ray`, or `ray://HOST` for another machine's cluster."""
    if on == "local":
        return local_executor(
            home,
            study_name,
            device=device,
            n_workers=n_workers,
            backend=backend,
            limits=limits,
            trials_per_gpu=trials_per_gpu,
        )
    if on != "ray" and not on.startswith("ray://"):
        raise UserError(f"--on must be local, ray or ray://HOST, got {on!r}")
    from search.executors.ray_cluster import connect

    address = None if on == "ray" else on if ":" in on.removeprefix("ray://") else f"{on}:{RAY_PORT}"
    return connect(address, n_workers=n_workers, trials_per_gpu=trials_per_gpu, backend=backend, limits=limits)


def local_executor(
    home: Home,
    study_name: str,
    *,
    device: str = "auto",
    n_workers: int | None = None,
    backend: str | None = None,
    limits: Limits | None = None,
    trials_per_gpu: int = 1,
) -> LocalExecutor:
    """Return an executor of child processes on this machine; raises `StorageError` for a limit that is no number."""
    feature_store.limit_bytes()
    environments = slot_environments(device, n_workers, backend, trials_per_gpu)
    return LocalExecutor(environments=environments, logs=home.logs(study_name), limits=limits or Limits())


def _by_size(data: DataSpec) -> int:
    return data.image_size_px


def _run(coordinator: Coordinator, storage: PatientStorage) -> Ending:
    try:
        with storage_failures():
            return coordinator.run()
    except KeyError as error:  # what Optuna raises for a study that it doesn't find
        with storage_failures():
            names = study.study_names(storage)
        if coordinator.spec.name in names:
            raise
        raise StudyError(f"study {coordinator.spec.name!r} was deleted while it ran") from error
    finally:
        storage.remove_session()
