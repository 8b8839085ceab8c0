"""Best means best feasible, and a retried trial counts once."""

import json

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from pneumo_core import codec
from pneumo_core.errors import StudyError
from search import records, trials
from search.watching.describe import describe_tied
from studies.spec import FidelitySpec

FIGURES = {"recall": 0.9, "fnr": 0.1, "specificity": 0.92, "threshold": 0.4, "auc": 0.97, "pauc": 0.8}
ATTRS = {
    **FIGURES,
    "spec": {},
    "seconds": 2.0,
    "best_epoch": 1,
    "n_epochs": 1,
    "n_parameters": 9,
    "stopped": "completed",
}
ATTRS |= {"objective_values": [0.9], "environment": {}}
"""What tells a trial of this program, and what one always has."""


def trial(
    value: float | None, constraint: float | None, state: TrialState = TrialState.COMPLETE, **system: object
) -> FrozenTrial:
    bounds = {} if constraint is None else {"constraints:fnr_ceiling": constraint}
    return create_trial(
        state=state,
        value=value,
        user_attrs=dict(ATTRS),
        system_attrs={**bounds, **system},
    )


def study(*trials: FrozenTrial) -> optuna.Study:
    made = optuna.create_study(study_name="s", direction="maximize")
    made.add_trials(trials)
    return made


def test_the_best_is_feasible_and_the_earlier_of_two_equals() -> None:
    found = study(trial(0.99, 0.01), trial(0.95, -0.01), trial(0.97, 0.0), trial(0.97, -0.02))
    summary = records.summarise(found, "sqlite:///x.db")
    assert summary.best is not None
    assert summary.best.number == 2
    assert found.best_trial.number == 2  # Optuna's own tools agree


def test_what_the_study_prefers_decides_between_trials_that_cannot_be_told_apart() -> None:
    def with_error(value: float, se: float, *preference: float) -> FrozenTrial:
        made = trial(value, -0.01)
        made.user_attrs.update({"value_se": se, "preference": list(preference)})
        return made

    found = [
        with_error(0.900, 0.01, 1, 96),
        with_error(0.905, 0.01, 0, 224),
        with_error(0.901, 0.01, 1, 128),
        with_error(0.894, 0.01, 1, 224),  # further than the error of the highest value
    ]
    summary = records.summarise(study(*found), "sqlite:///x.db")

    assert summary.best is not None
    assert (summary.best.number, summary.best.tied) == (2, (0, 1))
    assert describe_tied(summary.best).startswith("Validation cannot tell 2 other trials from it (0, 1)")
    numbered = study(*found).get_trials()
    assert [one.number for one in records.ranked(numbered)] == [2, 0, 1, 3]
    for one in numbered:
        del one.user_attrs["value_se"]
    assert [one.number for one in records.ranked(numbered)] == [1, 2, 0, 3]


def test_a_trial_without_a_constraint_is_not_feasible() -> None:
    assert records.summarise(study(trial(0.99, None)), "sqlite:///x.db").best is None


def test_a_pruned_trial_is_never_best() -> None:
    summary = records.summarise(study(trial(0.9, -1, TrialState.PRUNED)), "sqlite:///x.db")
    assert summary.best is None
    assert summary.n_pruned == 1


def test_a_continued_trial_counts_once() -> None:
    dead = create_trial(state=TrialState.FAIL)
    summary = records.summarise(study(dead, trial(0.9, -0.1, retry_history=[0], failed_trial=0)), "sqlite:///x.db")
    assert (summary.n_complete, summary.n_failed) == (1, 0)


def test_failures_are_counted_by_reason() -> None:
    failed = [
        create_trial(state=TrialState.FAIL, user_attrs={"failure": {"reason": "hang", "message": message}})
        for message in ("no epoch in 30 min", "no epoch in 31 min")
    ]
    summary = records.summarise(study(*failed, trial(0.9, -0.1)), "sqlite:///x.db")
    assert summary.failures == {"hang": 2}
    found = summary.to_json()
    assert found["failures"] == {"hang": {"trials": 2, "last_message": "no epoch in 31 min"}}
    assert {name: found["best"][name] for name in FIGURES} == FIGURES


def test_two_objectives_are_ranked_by_their_sum() -> None:
    made = optuna.create_study(study_name="s", directions=["maximize", "maximize"])
    for values, constraint in (([0.99, 0.5], -0.01), ([0.95, 0.95], -0.01), ([1.0, 1.0], 0.2)):
        made.add_trial(
            create_trial(values=values, user_attrs=ATTRS, system_attrs={"constraints:fnr_ceiling": constraint})
        )
    best = records.summarise(made, "sqlite:///x.db").best
    assert best is not None
    assert best.number == 1


def test_the_json_contract_and_no_password() -> None:
    data = records.summarise(study(trial(0.97, -0.01)), "postgresql://me:s3cret@host/db").to_json()
    assert "s3cret" not in json.dumps(data)
    assert set(data) == {"study", "storage", "trials", "open", "failures", "best"}
    assert set(data["trials"]) == {"complete", "pruned", "failed"}
    assert set(data["best"]) == {"number", "value", "value_se", "tied", *FIGURES, "params"}


@pytest.mark.parametrize("constraint", [-0.01, 0.0])
def test_on_the_ceiling_is_feasible(constraint: float) -> None:
    assert records.is_feasible(trial(0.9, constraint))


def test_paused_trials_are_counted_by_rung() -> None:
    found = study()
    found.set_user_attr("fingerprint", {"study": {"seed": 0, "fidelity": codec.to_json(FidelitySpec())}})
    for value in (0.3, 0.9, 0.5):
        paused = create_trial(state=TrialState.PRUNED, user_attrs={**ATTRS, "rung": 0}, intermediate_values={2: value})
        found.add_trial(paused)
    trials.promote(found, found.trials[1])
    summary = records.summarise(found, "sqlite:///x.db")
    assert (summary.n_pruned, summary.n_waiting, summary.best) == (2, 1, None)
    assert [(rung.epochs, rung.n_reached, rung.n_promoted) for rung in summary.rungs] == [(3, 3, 1), (6, 0, 0)]
    assert summary.to_json()["rungs"][0] == {"scale": 0.5, "epochs": 3, "n_reached": 3, "n_promoted": 1}


def test_trials_of_another_program_are_left_out_and_counted() -> None:
    foreign = create_trial(value=1.0, state=TrialState.COMPLETE)
    found = records.summarise(study(trial(0.9, -0.1), foreign, create_trial(state=TrialState.FAIL)), "sqlite:///x.db")
    assert (found.n_complete, found.n_failed, found.n_foreign) == (1, 0, 2)
    assert found.to_json()["trials"]["foreign"] == 2


@pytest.mark.parametrize(
    ("name", "value"), [("recall", "0.9"), ("auc", float("nan")), ("failure", {"reason": 1}), ("spec_digest", "../x")]
)
def test_a_damaged_trial_is_an_error_that_names_the_field(name: str, value: object) -> None:
    damaged = create_trial(value=0.9, user_attrs=ATTRS | {name: value})
    with pytest.raises(StudyError, match=f"trial 0 of study 's' .*`{name}`"):
        records.summarise(study(damaged), "sqlite:///x.db")
