"""The search from Python: `launch`, `load_study` and `finalize`, in a notebook or a script."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pneumo_core.errors import PneumoError, StudyError
from search import launching
from search.duration import parse_duration
from search.executors.devices import Machine
from search.executors.local import HANG_TIMEOUT_S, Limits
from search.finalizing.finalize import Finalized, Options
from search.finalizing.make import make_bundle
from search.home import DEFAULT, Home
from search.result import StudyResult
from search.stopping import polite_stop_in_a_program
from search.storage.database import open_storage
from search.study import load_study as load_stored
from search.watching.make import view_maker
from studies import load
from studies.spec import Hook, SourceSpec, StudySpec

Study = str | Path | StudySpec
"""A name under `studies/`, a study file, or the study itself."""
Place = str | Path
Duration = float | str
"""Seconds, or a text such as "2h"."""


def launch(
    study: Study,
    *,
    data: Place | SourceSpec | None = None,
    trials: int | None = None,
    timeout: Duration | None = None,
    workers: int | None = None,
    device: str = "auto",
    trials_per_gpu: int = 1,
    on: str = "local",
    backend: str | None = None,
    name: str | None = None,
    protocol: str | None = None,
    tensorboard: Place | None = None,
    hooks: Sequence[Hook] = (),
    warm_start: Place | None = None,
    extend: bool = False,
    hang_timeout: Duration = HANG_TIMEOUT_S,
    trial_timeout: Duration | None = None,
    storage: str | None = None,
    home: Place = DEFAULT,
    progress: bool = True,
) -> StudyResult:
    """Run a study, or resume it up to its total budget, as `pneumo launch` does with the options of the same names.

    `data` may be a `SourceSpec`, with names of classes and a split of its own. Ctrl-C (a notebook's stop button) saves
    the running trials, then raises `KeyboardInterrupt`; the same call resumes. Raises `UserError`s for mistakes that
    the user must correct first, and `PneumoError` when all trials fail for one reason.
    """
    checked = _checked(study)
    if isinstance(data, SourceSpec):
        checked = dataclasses.replace(checked, spec=dataclasses.replace(checked.spec, data=data))
    checked = launching.with_options(
        checked,
        name=name,
        data=None if isinstance(data, SourceSpec | None) else str(data),
        protocol=protocol,
        trials=trials,
        timeout_s=_seconds(timeout),
        hooks=hooks,
    )
    place = Home(Path(home))
    options = launching.Options(
        storage_url=storage or place.storage_url,
        home=place,
        tensorboard=None if tensorboard is None else Path(tensorboard),
        warm_start=None if warm_start is None else str(warm_start),
        extend=extend,
        stopping=polite_stop_in_a_program,
    )
    limits = Limits(hang_timeout_s=_seconds(hang_timeout) or HANG_TIMEOUT_S, trial_timeout_s=_seconds(trial_timeout))
    machine = Machine(
        on=on, device=device, workers=workers, trials_per_gpu=trials_per_gpu, backend=backend, limits=limits
    )
    outcome = launching.launch(checked, options, machine, view_maker(_console(progress)))
    if outcome.ending == "failing":
        raise PneumoError(outcome.diagnosis)
    spec, url = checked.spec, options.storage_url
    stored = load_stored(spec.name, open_storage(url, create=False))
    return StudyResult(study=stored, storage=url, home=place, source=spec.data.source, ending=outcome.ending)


def load_study(
    study: Study,
    *,
    data: Place | None = None,
    name: str | None = None,
    storage: str | None = None,
    home: Place = DEFAULT,
) -> StudyResult:
    """Return a stored study, which may still be running. Raises `UserError`s where it isn't there.

    `study` may also be the name of any stored study. `data` is where the study's images are; by default where its file
    says.
    """
    place = Home(Path(home))
    url = storage or place.storage_url
    known = _known(study)
    stored = load_stored(name or (known.name if known else str(study)), open_storage(url, create=False))
    source = str(data) if data is not None else known.data.source if known else None
    return StudyResult(study=stored, storage=url, home=place, source=source)


def finalize(
    study: Study | StudyResult,
    out: Place,
    *,
    data: Place | None = None,
    members: int = 5,
    retrain: bool = False,
    ceiling: float | None = None,
    under_shifts: bool = False,
    confidence: float = 0.95,
    workers: int | None = None,
    device: str = "auto",
    backend: str | None = None,
    name: str | None = None,
    storage: str | None = None,
    home: Place = DEFAULT,
    progress: bool = True,
) -> Finalized:
    """Confirm the best trials, certify a threshold, open the test role once, and write the bundle `out`.

    The options are those of `pneumo finalize`; a `StudyResult` brings its own storage, home and images. Raises
    `StudyError` where no trial meets the ceiling, and `UserError`s for what the user must correct.
    """
    if not isinstance(study, StudyResult):
        study = load_study(study, name=name, storage=storage, home=home)
    with view_maker(_console(progress)) as (_, report_progress):
        found = make_bundle(
            study.name,
            out=Path(out),
            source=study.source if data is None else str(data),
            options=Options(
                members=members,
                retrain=retrain,
                ceiling=ceiling,
                confidence=confidence,
                under_shifts=under_shifts,
            ),
            storage_url=study.storage,
            home=study.home,
            machine=Machine(device=device, workers=workers, backend=backend),
            say=print if progress else _silent,
            progress=report_progress,
        )
    if found is None:
        raise StudyError(f"no trial of study {study.name!r} meets the false-negative ceiling: nothing to finalize")
    return found


def _checked(study: Study) -> load.Study:
    """Return the checked study. Raises `StudyError` naming the mistake and the remedy."""
    return load.check(study) if isinstance(study, StudySpec) else load.load(str(study))


def _known(study: Study) -> StudySpec | None:
    """Return the definition of a study that has one here, None for a mere name in a database."""
    if isinstance(study, StudySpec) or str(study).endswith(".py") or str(study) in load.names():
        return _checked(study).spec
    return None


def _seconds(duration: Duration | None) -> float | None:
    return parse_duration(duration) if isinstance(duration, str) else duration


def _console(progress: bool) -> Console:
    return Console() if progress else Console(quiet=True, force_terminal=False, force_jupyter=False)


def _silent(_text: str) -> None:
    pass
