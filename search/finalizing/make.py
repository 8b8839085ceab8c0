"""From what the user asks to a running finalize: the steps of `pneumo finalize`, as a function."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import optuna

from pneumo_core.bundles import bundle
from pneumo_core.progress import Progress, silent
from search import fingerprint
from search.executors.devices import Machine
from search.finalizing.finalize import Finalized, Finalizer, Options
from search.finalizing.jobs import Jobs
from search.finalizing.members import Say, Workshop
from search.home import Home
from search.kept import KeptNetworks
from search.launching import local_executor
from search.prepared import Prepared, read_source
from search.storage import artifacts
from search.storage.database import open_storage
from search.stored import read
from search.study import load_study, stored_source


def make_bundle(
    name: str,
    *,
    out: Path,
    source: str | None,
    options: Options,
    storage_url: str,
    home: Home,
    machine: Machine,
    say: Say,
    progress: Progress = silent,
) -> Finalized | None:
    """Finalize the study stored under `name`; None where no trial is feasible.

    Raises `UserError`s for mistakes of the user.
    """
    home.check_writable()
    storage = open_storage(storage_url, create=False)
    stored = load_study(name, storage)
    prepared = read_source(stored_source(stored, source), home, progress)
    with trainers(stored, home, prepared, machine) as jobs:
        finalizer = Finalizer(
            study=stored,
            storage=storage,
            prepared=prepared,
            jobs=jobs,
            workshop=workshop(stored, home, jobs, prepared, say),
            options=options,
            say=say,
            extra=lambda folder: _report(stored, storage_url, home, prepared, folder, progress),
        )
        try:
            return finalizer.run(out)
        finally:
            storage.remove_session()


@contextmanager
def trainers(stored: optuna.Study, home: Home, prepared: Prepared, machine: Machine) -> Iterator[Jobs]:
    """Yield trainers for what is trained after a search; their answers are kept in the home folder."""
    executor = local_executor(machine, home.logs(stored.study_name))
    try:
        yield Jobs(
            executor=executor,
            folder=home.finalizing(stored.study_name),
            program=fingerprint.of_code()["code"] | {"backend": executor.environments[0]["KERAS_BACKEND"]},
            progress=prepared.progress,
            mend=prepared.mend,
        )
    finally:
        executor.close()


def workshop(stored: optuna.Study, home: Home, jobs: Jobs, prepared: Prepared, say: Say) -> Workshop:
    """Return where the networks of a stored study lie, with `jobs` to train those that are missing."""
    known = read(stored)
    return Workshop(
        study=stored,
        objective=known.objective,
        seed=known.seed,
        store=artifacts.store(home.artifacts),
        kept=KeptNetworks(home.networks(known.name, known.uid)),
        jobs=jobs,
        arrays_for=prepared.arrays_for,
        say=say,
    )


def _report(
    stored: optuna.Study, storage_url: str, place: Home, prepared: Prepared, folder: Path, progress: Progress
) -> None:
    """Write the report of the study into the bundle, with where its own networks look."""
    from search.report import evidence, gallery, gather, page

    store = artifacts.store(place.artifacts)
    options = evidence.Options(overlays_for=gallery.from_bundle(folder, progress), progress=progress)
    data = gather.gather(stored, storage_url, store, prepared=prepared, no_data="", options=options)
    page.write(replace(data, bundle=bundle.read(folder)), folder)
