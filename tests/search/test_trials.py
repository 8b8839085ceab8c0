"""What is written of a trial, which trials count, and what a lost one leaves to the next: without any process."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from pneumo_core.specs import DenseSpec, TrialSpec
from pneumo_core.tuner.dialogue import DRAWN
from search import trials
from search.grid import GRID_ID
from search.storage.database import open_storage
from search.storage.owner import this_process
from tests.search import once
from tests.search.finalizing.made import result

FAIL, PRUNED, COMPLETE = TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE
WAITING, RUNNING = TrialState.WAITING, TrialState.RUNNING


def numbered(*made: FrozenTrial) -> list[FrozenTrial]:
    for number, trial in enumerate(made):
        trial.number = number
    return list(made)


def trial(state: TrialState, *, epochs: int = 0, reason: str = "", **system: Any) -> FrozenTrial:
    failure = {"failure": {"reason": reason, "message": f"of {reason}"}} if reason else {}
    return create_trial(
        state=state,
        value=0.5 if state == COMPLETE else None,
        user_attrs=failure,
        system_attrs=system,
        intermediate_values=dict.fromkeys(range(epochs), 0.1),
    )


def after(state: TrialState, *history: int, **more: Any) -> FrozenTrial:
    return trial(state, failed_trial=history[0], retry_history=list(history), **more)


def new_study(*found: FrozenTrial) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    study.add_trials(found)
    return study


def test_a_trial_that_another_continues_does_not_count() -> None:
    found = numbered(trial(FAIL), trial(COMPLETE), after(FAIL, 0), after(COMPLETE, 0, 2))
    assert [t.number for t in trials.current(found)] == [1, 3]
    assert [trials.root(t) for t in found] == [0, 1, 0, 0]
    assert trials.history(found[3]) == [0, 2]


@pytest.mark.parametrize(
    ("epochs", "n"),
    [((0,), 1), ((1,), 0), ((0, 0), 2), ((2, 2), 1), ((2, 3), 0), ((3, 1), 1), ((2, 0, 2), 2), ((2, 0, 3), 1)],
)
def test_a_death_counts_when_it_brought_no_epoch(epochs: tuple[int, ...], n: int) -> None:
    found = numbered(*(after(FAIL, *range(i), epochs=k) if i else trial(FAIL, epochs=k) for i, k in enumerate(epochs)))
    assert trials.n_deaths(found[-1], {t.number: t for t in found}) == n


def test_interruptions_are_no_deaths_and_what_is_gone_from_the_database_is_none() -> None:
    found = numbered(trial(FAIL, reason="interrupted"), after(FAIL, 0, reason="hang"))
    assert trials.n_deaths(found[0], {}) == 0
    assert trials.n_deaths(found[1], {0: found[0]}) == 1
    assert trials.n_deaths(found[1], {}) == 1


def test_epochs_are_counted_from_reports_or_from_what_is_written_without_them() -> None:
    silent = trial(PRUNED)
    silent.set_user_attr(trials.REACHED, 4)
    assert [trials.n_reached(t) for t in (trial(FAIL), trial(FAIL, epochs=3), silent)] == [0, 3, 4]


@pytest.mark.parametrize(
    ("reason", "alone", "again"),
    [
        *((reason, False, True) for reason in ("lost", "child_died", "disk_full", "bad_arrays", "interrupted")),
        *((reason, False, False) for reason in ("hang", "nan_loss", "bad_spec", "exception", "trial_timeout")),
        ("out_of_memory", False, True),
        ("out_of_memory", True, False),
    ],
)
def test_which_failures_run_again(reason: str, alone: bool, again: bool) -> None:
    [failed] = numbered(trial(FAIL, reason=reason, **({"alone": True} if alone else {})))
    assert trials.may_retry(failed, {0: failed}, max_retries=1) == again


def test_a_killed_trial_runs_again_as_often_as_it_may() -> None:
    found = numbered(trial(FAIL, reason="lost"), after(FAIL, 0, reason="lost"), after(FAIL, 0, 1, reason="lost"))
    known = {t.number: t for t in found}
    assert [trials.may_retry(t, known, max_retries=2) for t in found] == [True, True, False]


def test_a_trial_that_ended_without_a_word_was_lost() -> None:
    assert trials.failure_reason(trial(FAIL)) == "lost"
    assert trials.failure_message(trial(FAIL)) == ""
    assert trials.failure_reason(trial(FAIL, reason="hang")) == "hang"
    assert trials.failure_message(trial(FAIL, reason="hang")) == "of hang"
    assert trials.failure_reason(trial(COMPLETE, reason="hang")) is None


def test_the_ledger_sorts_trials_by_what_is_left_to_do() -> None:
    found = numbered(
        trial(COMPLETE),
        trial(FAIL, reason="hang"),
        trial(FAIL, reason="lost"),
        trial(RUNNING),
        trial(WAITING),
        trial(FAIL, reason="child_died"),
        after(WAITING, 5),
        trial(PRUNED),
    )
    sorted_ = trials.ledger(found, max_retries=1)
    assert [t.number for t in sorted_.every] == list(range(8))
    assert [t.number for t in sorted_.waiting] == [6]
    assert [t.number for t in sorted_.running] == [3]
    assert [t.number for t in sorted_.retriable] == [2]
    assert [t.number for t in sorted_.finished] == [0, 1, 7]
    assert sorted_.n_taken == 4


def queued(study: optuna.Study) -> FrozenTrial:
    [waiting] = [t for t in study.trials if t.state == WAITING]
    return waiting


def asked(study: optuna.Study, **system: Any) -> optuna.Trial:
    study.add_trial(create_trial(state=WAITING, system_attrs={"fixed_params": {"x": 0.25}, **system}))
    made = study.ask()
    made.suggest_float("x", 0, 1)
    return made


def test_a_lost_trial_is_queued_again_with_its_parameters_and_its_place_in_the_grid_only() -> None:
    study = new_study()
    made = asked(study, **{GRID_ID: 3})
    made.report(0.3, 0)
    made.set_constraint("fnr_ceiling", 0.1)
    assert trials.fail(study, made.number, "lost", "gone")
    trials.requeue(study, study.trials[0])
    copy = queued(study)
    assert copy.system_attrs == {"fixed_params": {"x": 0.25}, "failed_trial": 0, "retry_history": [0], GRID_ID: 3}
    assert not copy.user_attrs
    assert not copy.intermediate_values
    again = study.ask()
    assert again.suggest_float("x", 0, 1) == 0.25
    trials.fail(study, again.number, "out_of_memory", "none left")
    trials.requeue(study, study.trials[1])
    last = queued(study)
    assert (trials.root(last), trials.history(last), trials.is_alone(last)) == (0, [0, 1], True)
    trials.requeue(study, last)
    assert all(trials.is_alone(t) for t in study.trials[2:])


def test_a_promoted_trial_goes_to_the_next_stage() -> None:
    study = new_study(trial(PRUNED, epochs=2), after(PRUNED, 0, epochs=4, stage=1, alone=True))
    trials.promote(study, study.trials[0])
    first = queued(study)
    assert (trials.stage(first), trials.is_alone(first)) == (1, False)
    trials.requeue(study, first)
    trials.promote(study, study.trials[1])
    assert [trials.stage(t) for t in study.trials] == [0, 1, 1, 1, 2]
    assert trials.is_alone(study.trials[4])


def test_only_a_paused_trial_is_at_a_rung() -> None:
    found = [trial(PRUNED), trial(COMPLETE), trial(PRUNED), trial(PRUNED)]
    for t, rung in zip(found, (1, 1, None, "1"), strict=True):
        t.set_user_attr(trials.RUNG, rung)
    assert [trials.rung(t) for t in found] == [1, None, None, None]


def test_of_trials_of_one_spec_the_complete_one_is_repeated_then_the_longest_then_the_earliest() -> None:
    judged: dict[str, Any] = {"constraints:fnr_ceiling": -0.1}
    states = (PRUNED, PRUNED, PRUNED, COMPLETE, COMPLETE, FAIL, COMPLETE)
    found = numbered(*(trial(state, **judged) for state in states))
    for t, n_epochs, digest in zip(found, (9, 8, 9, 3, 3, 9, 9), "aaaaaab", strict=True):
        t.set_user_attr("n_epochs", n_epochs)
        t.set_user_attr("spec_digest", digest)

    def repeated(among: list[FrozenTrial], digest: str) -> int | None:
        chosen = trials.twin(among, digest)
        return None if chosen is None else chosen.number

    assert repeated(found, "a") == 3
    assert repeated(found[:3], "a") == 0
    assert repeated(found[1:3], "a") == 2
    assert repeated(found[5:6], "a") is None
    assert repeated(found, "c") is None


@pytest.mark.parametrize(
    ("stopped", "state"), [("completed", COMPLETE), ("early", COMPLETE), ("pruned", PRUNED), ("paused", PRUNED)]
)
def test_a_finished_trial_is_read_back_whole(stopped: Any, state: TrialState) -> None:
    spec, study = TrialSpec(model=DenseSpec()), new_study()
    made = study.ask()
    trials.begin(made, spec, this_process())
    came_to = replace(result(spec, value=0.75, constraint=-0.1), stopped=stopped, n_folds=3)
    trials.finish(study, made, came_to, extra=1)
    [stored] = study.trials
    assert stored.state == state
    assert stored.values == ([0.75] if state == COMPLETE else None)
    assert stored.constraints == {trials.CONSTRAINT: -0.1}
    assert (stored.user_attrs["extra"], stored.user_attrs["spec_digest"]) == (1, spec.digest)
    assert trials.copy_of(stored) == came_to
    del stored.user_attrs[trials.VALUE_SE]  # as trials of earlier versions are
    assert trials.copy_of(stored).value_se == 0.0
    assert "n_folds" not in trials.attributes(replace(came_to, n_folds=None))


def test_a_database_holds_of_a_trial_what_memory_does(tmp_path: Path) -> None:
    once.lay_database(tmp_path / "trials.db")
    stored = open_storage(f"sqlite:///{tmp_path / 'trials.db'}")
    spec, mine, found = TrialSpec(model=DenseSpec()), this_process(), []
    for study in (new_study(), optuna.create_study(direction="maximize", storage=stored)):
        made = study.ask()
        trials.begin(made, spec, mine, preference=(1.0, 2.0))
        assert made.user_attrs == study.trials[0].user_attrs != {}  # pruners are shown the former
        trials.finish(study, made, result(spec, constraint=-0.1), extra=1)
        [trial] = study.trials
        found.append((trial.state, trial.values, trial.user_attrs, trial.system_attrs))
    assert found[0] == found[1]
    assert found[0][2]["preference"] == [1.0, 2.0]
    stored.engine.dispose()


def test_a_trial_that_another_coordinator_failed_cannot_be_finished_nor_failed_again() -> None:
    study = new_study()
    made = study.ask()
    assert trials.fail(study, made.number, "lost", "")
    assert not trials.fail(study, made.number, "hang", "")
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        trials.finish(study, made, result(TrialSpec(model=DenseSpec())))
    assert trials.failure_reason(study.trials[0]) == "lost"


def test_a_trial_whose_end_was_kept_though_the_connection_broke_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    study = new_study()
    made = study.ask()
    keep = study._storage.set_trial_state_values

    def kept_and_tried_again(*args: Any, **named: Any) -> bool:
        keep(*args, **named)
        return keep(*args, **named)  # as `PatientStorage` does

    monkeypatch.setattr(study._storage, "set_trial_state_values", kept_and_tried_again)
    trials.finish(study, made, result(TrialSpec(model=DenseSpec()), value=0.75))
    assert (study.trials[0].state, study.trials[0].values) == (COMPLETE, [0.75])


def test_numbers_that_a_sampler_drew_are_not_shown() -> None:
    made = create_trial(
        value=1.0,
        params={"units": 0.5, f"units{DRAWN}": 0.25},
        distributions={name: FloatDistribution(0, 1) for name in ("units", f"units{DRAWN}")},
    )
    assert trials.shown_params(made) == {"units": 0.5}
