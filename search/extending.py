"""A stored study whose space got wider keeps its trials where each of them is a point of the new space as well."""

from collections.abc import Mapping
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from pneumo_core.errors import PneumoError, StudyError
from search.fingerprint import Fingerprint, differences
from search.stored import read
from search.stored_trials import trials_of
from spaces.base import Recorder
from studies.spec import StudySpec

_UPDATE = sqlalchemy.text(
    "UPDATE trial_params SET param_value = :value, distribution_json = :distribution "
    "WHERE trial_id = :trial AND param_name = :name"
)


def extend(study: optuna.Study, spec: StudySpec, storage: RDBStorage, mark: Fingerprint) -> None:
    """Let the stored study have the space of `spec`, whose fingerprint is `mark`; to be called under the lock.

    Raises `StudyError` where more than the space differs, while a trial runs, and for a trial that the new space would
    not build as it was. Optuna compares the choices of a parameter over all trials, so they are written into each.
    """
    stored = read(study).fingerprint
    if lines := differences({**stored, "space": {}}, {**mark, "space": {}}):
        raise StudyError(
            f"--extend is for a wider space, but study {spec.name!r} differs in more:\n  " + "\n  ".join(lines)
        )
    if stored.get("space") == mark["space"]:
        return
    every = trials_of(study).ours
    if any(trial.state == TrialState.RUNNING for trial in every):
        raise StudyError(
            f"study {spec.name!r} is running (or was killed): stop it, or launch it as it was, then --extend"
        )
    changed: list[dict[str, Any]] = []
    for trial in every:
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            changed += _rewritten(trial, _asked(spec, trial))
    if changed:
        session = storage.scoped_session()
        session.execute(_UPDATE, changed)
        session.commit()
    study.set_user_attr("fingerprint", mark)


def _asked(spec: StudySpec, trial: FrozenTrial) -> Recorder:
    """Return what the new space asks for at the trial's point."""
    recorder = Recorder(given=trial.params)
    try:
        same = spec.space(recorder).digest == trial.user_attrs.get("spec_digest")
        why = "it makes another model or training of it"
    except (PneumoError, ValueError) as error:
        same, why = False, str(error)
    if not same or recorder.values.keys() != trial.params.keys():
        raise StudyError(
            f"study {spec.name!r} can't be extended: the changed space does not give trial {trial.number} "
            f"({trial.params}) as it was: {why}. Start a new study with --name, and --warm-start {spec.name}."
        )
    return recorder


def _rewritten(trial: FrozenTrial, asked: Recorder) -> list[dict[str, Any]]:
    """Return the parameters of the trial whose choices have changed, as they are to be stored."""
    old: Mapping[str, BaseDistribution] = trial.distributions
    entries = []
    for name, parameter in asked.parameters.items():
        if parameter.kind != "categorical":
            continue
        new = CategoricalDistribution(parameter.choices)
        if old[name] != new:
            value = new.to_internal_repr(trial.params[name])
            entry = {"trial": trial._trial_id, "name": name, "value": value, "distribution": distribution_to_json(new)}
            entries.append(entry)
    return entries
