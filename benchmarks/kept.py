"""The networks that finished searches left."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial

from pneumo_core.data import preprocess
from pneumo_core.data.preprocess import RoleArrays
from pneumo_core.data.split import Role
from pneumo_core.result import TrialResult
from pneumo_core.specs import DataSpec
from search import records, stored_trials
from search.home import Home
from search.kept import KeptNetworks
from search.prepared import Prepared, read_source
from search.storage import artifacts
from search.storage.database import open_storage
from search.study import load_study
from studies.spec import SourceSpec


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A network with its trial."""

    trial: int
    stored: FrozenTrial
    file: Path
    data: DataSpec
    result: TrialResult
    prepared: Prepared

    def role(self, role: Role) -> RoleArrays:
        """Return the images of a role as the network takes them."""
        return preprocess.open_role(self.prepared.arrays_for(self.data), role)


def networks(folder: str, home: Path, study: str) -> Iterator[Kept]:
    """Yield what the search of `study` on `folder` left under `home`, by trial."""
    place = Home(home)
    stored = load_study(study, open_storage(place.storage_url, create=False))
    prepared = read_source(SourceSpec(source=folder), place)
    files, store = KeptNetworks(place.networks(study, stored.user_attrs["uid"])), artifacts.store(place.artifacts)
    for trial in sorted(records.ranked(stored_trials.trials_of(stored).ours), key=lambda trial: trial.number):
        file = files.file(trial.user_attrs["spec_digest"])  # of the spec as it was stored, whatever fields it has now
        result = artifacts.load_result(store, trial, stored._storage)
        if result is not None and file.is_file():
            data = stored_trials.data_of(study, trial)
            yield Kept(trial=trial.number, stored=trial, file=file, data=data, result=result, prepared=prepared)
