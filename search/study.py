"""Creating, resuming and finding studies; a changed one is refused with the difference shown."""

import contextlib
import dataclasses
import hashlib
import time
import warnings

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy.exc import IntegrityError

from pneumo_core import codec
from pneumo_core.errors import StorageError, StudyError, nearest
from search import extending, factory, home, objectives, stored, trials
from search import fingerprint as fingerprints
from search.executors import process
from search.fingerprint import Fingerprint
from search.storage.database import exclusively, redacted
from search.storage.owner import this_process
from search.storage.patience import PatientStorage
from search.stored_trials import trials_of
from studies.spec import BudgetSpec, SourceSpec, StudySpec

_BESIDE = ".copying-"  # begins the name of a study that is being copied
_PLACE = "place_in_queue"  # attribute of a queued point
FORMAT = 1  # of what this package writes into a study


def open_study(
    spec: StudySpec, storage: PatientStorage, fingerprint: Fingerprint, *, extend: bool = False
) -> optuna.Study:
    """Create the study or resume it. Raises `StudyError` when the stored one differs.

    With `extend` its space may have become wider: see `search.extending`.
    """
    directions = [StudyDirection.MAXIMIZE] * n_objectives(spec)

    def opened() -> optuna.Study:
        known = spec.name in study_names(storage)
        with stored.undamaged(spec.name):
            study = optuna.create_study(
                study_name=spec.name, storage=storage, directions=directions, load_if_exists=True
            )
        if not known or not stored.read(study).is_ours:
            _refuse_foreign(study)
            _describe(study, spec, fingerprint)
        if extend:
            extending.extend(study, spec, storage, fingerprint)
            study = optuna.load_study(study_name=spec.name, storage=storage)  # Optuna keeps the trials it has read
        _refuse_changed(study, spec, fingerprint)
        _enqueue(study, spec)
        _settle(study, spec)
        return study

    return exclusively(storage, opened)


def join_study(spec: StudySpec, storage: PatientStorage, fingerprint: Fingerprint, wait_s: float = 0.0) -> optuna.Study:
    """Return the stored study for a worker to join, once it is launched: within `wait_s`.

    One whose budget is reached is waited for as well: who launches it anew may be slower.
    Raises `StudyError` when there is none, or when space, objective, data or code differ: `launch` may come with a
    newer program, but all that work at a time must have the same.
    """
    study = _wait_for(spec.name, storage, wait_s)
    _refuse_changed(study, spec, fingerprint)
    if lines := fingerprints.differences(stored.read(study).code, fingerprints.of_code()):
        raise StudyError(
            f"study {study.study_name!r} was launched with another program than this one:\n  "
            + "\n  ".join(lines)
            + "\nInstall the same here, or launch the study again from here."
        )
    return study


def _wait_for(name: str, storage: PatientStorage, wait_s: float) -> optuna.Study:
    """Return the study once it is complete, its budget being written last."""
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            study = load_study(name, storage)
            if stored.read(study).is_complete and not (_is_done(study) and time.monotonic() < deadline_s):
                return study
            missing: StudyError = StudyError(f"study {name!r} is only just being launched; --wait 1m waits for it")
        except StudyError as error:
            missing = error
        if time.monotonic() > deadline_s:
            raise missing
        time.sleep(1.0)


def _is_done(study: optuna.Study) -> bool:
    budget = stored_budget(study)
    return len(trials.ledger(trials_of(study).ours, budget.max_retries).finished) >= budget.trials


def copy_study(name: str, source: PatientStorage, target: PatientStorage) -> optuna.Study:
    """Copy a study with all its trials to another database, where it can be resumed.

    Raises `StudyError` while it is running, and when the target has one of that name. Files stay where they are:
    artifacts are found by name, and checkpoints by the study's own identity. The copy grows beside the target's
    studies under a name of its own, without the lock, so that a search there runs on.
    """
    _refuse_running(load_study(name, source), name)
    taken = StudyError(f"storage {redacted(target.url)} has a study {name!r} already")
    if name in study_names(target):
        raise taken
    _remove_abandoned(target)
    beside = _name_beside()
    try:
        optuna.copy_study(from_study_name=name, from_storage=source, to_storage=target, to_study_name=beside)
        _refuse_running(_load(beside, target), name)  # it may have been launched just now
        _rename(target, beside, name)
    except IntegrityError as error:
        raise taken from error
    finally:
        with contextlib.suppress(KeyError):  # there is none after success, and half a study is none
            optuna.delete_study(study_name=beside, storage=target)
    return load_study(name, target)


def _refuse_running(study: optuna.Study, name: str) -> None:
    if any(trial.state == TrialState.RUNNING for trial in trials_of(study).ours):
        raise StudyError(f"study {name!r} is running (or was killed): stop it, or launch it once, before it is copied")


def study_names(storage: RDBStorage) -> list[str]:
    """Return the names of the stored studies, without those that are just being copied."""
    return [name for name in _every_name(storage) if not name.startswith(_BESIDE)]


def _every_name(storage: RDBStorage) -> list[str]:
    return [study.name for study in stored.every(storage)]


def _name_beside() -> str:
    """Return the name of a study that this process copies: it says whose it is, should the process be killed."""
    me = this_process()
    return f"{_BESIDE}{_digest(me.place)}-{me.pid}-{me.started}"


def _remove_abandoned(storage: PatientStorage) -> None:
    """Remove what copies left that were killed on this machine."""
    here = f"{_BESIDE}{_digest(process.place())}-"
    for name in [name for name in _every_name(storage) if name.startswith(here)]:
        pid, _, started = name.removeprefix(here).partition("-")
        if pid.isdecimal() and process.start_time(int(pid)) != started:
            with contextlib.suppress(KeyError, StorageInternalError):  # another copy removes it at this moment
                optuna.delete_study(study_name=name, storage=storage)


def _digest(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()[:12]


def _rename(storage: PatientStorage, old: str, new: str) -> None:
    """Rename a study; raises `IntegrityError` where there is one of that name. Optuna has no call for it."""
    study = models.StudyModel
    with storage.engine.begin() as connection:
        connection.execute(sqlalchemy.update(study).where(study.study_name == old).values(study_name=new))


def stored_budget(study: optuna.Study) -> BudgetSpec:
    """Return the budget that the last launch gave the study."""
    return stored.read(study).budget


def stored_source(study: optuna.Study, place: str | None) -> SourceSpec:
    """Return how the study's images are read and divided, in `place`; None: where it was launched with them."""
    known = stored.read(study).source
    return dataclasses.replace(known, source=place or known.source)


def load_study(name: str, storage: RDBStorage) -> optuna.Study:
    """Return a stored study. Raises `StudyError` naming the nearest when there is none."""
    names = study_names(storage)
    if name not in names:
        raise StudyError(f"storage {redacted(storage.url)} has no study {name!r}{nearest(name, names)}")
    return _load(name, storage)


def _load(name: str, storage: RDBStorage) -> optuna.Study:
    with stored.undamaged(name):
        return optuna.load_study(study_name=name, storage=storage)


def n_objectives(spec: StudySpec) -> int:
    return len(objectives.of(spec.objective).values)


def _describe(study: optuna.Study, spec: StudySpec, fingerprint: Fingerprint) -> None:
    study.set_user_attr("format", FORMAT)
    study.set_user_attr("objective", codec.to_json(spec.objective))
    study.set_user_attr("source", codec.to_json(spec.data))
    study.set_user_attr(
        "definition",
        {
            "description": spec.description,
            "sampler": factory.name_of(spec.sampler),
            "pruner": spec.pruner.kind_for(spec.folds, spec.fidelity),
            "trials": spec.budget.trials,
        },
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(objectives.of(spec.objective).values))
    study.set_user_attr("fingerprint", fingerprint)  # last: its presence says that the rest is complete


def _settle(study: optuna.Study, spec: StudySpec) -> None:
    """Say what workers need to know: the budget, and the program that they must be."""
    study.set_user_attr("budget", codec.to_json(spec.budget))
    study.set_user_attr("code", fingerprints.of_code())
    if not stored.read(study).is_complete:
        study.set_user_attr("uid", home.new_id())


def _refuse_foreign(study: optuna.Study) -> None:
    if n_trials := trials_of(study).n:
        raise StudyError(
            f"study {study.study_name!r} was not made by this program (it has {n_trials} trials of another one); "
            "choose another --name"
        )


def _refuse_changed(study: optuna.Study, spec: StudySpec, fingerprint: Fingerprint) -> None:
    known = stored.read(study)
    if known.format != FORMAT:
        raise StorageError(f"study {study.study_name!r} has format {known.format!r}, this program reads {FORMAT}")
    if len(study.directions) != n_objectives(spec):
        raise StudyError(f"study {study.study_name!r} is stored with other directions; choose another --name")
    if lines := fingerprints.differences(known.fingerprint, fingerprint):
        raise StudyError(
            f"study {study.study_name!r} differs from the stored one, so its trials can't be compared:\n  "
            + "\n  ".join(lines)
            + "\nUndo the change, or start a new study with --name; --extend keeps the trials of a wider space."
        )


def _enqueue(study: optuna.Study, spec: StudySpec) -> None:
    """Queue the study's own points, each once: a point carries its place, should this end in the middle."""
    known = stored.read(study).n_enqueued
    queued = [int(trial.user_attrs.get(_PLACE, -1)) for trial in trials_of(study).ours]
    done = max([known, *(place + 1 for place in queued)])
    for place, point in enumerate(spec.enqueue[done:], start=done):
        study.enqueue_trial(dict(point), user_attrs={_PLACE: place})
    if len(spec.enqueue) > known:
        study.set_user_attr("n_enqueued", len(spec.enqueue))
