"""The page for every state that a study can be in, and for a database that someone has tampered with."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from pneumo_core.specs import ObjectiveSpec
from search import trials
from search.report import gather, sections_search, sections_trial
from search.report.page import render
from search.storage import artifacts
from studies.spec import FidelitySpec
from tests.search.report.conftest import MakeStudy
from tests.search.report.made import Made
from tests.search.report.pages import Page, parse

GOOD, POOR = 7.0, 0.5


def check(html: str) -> Page:
    page = parse(html)
    assert len(page.ids) == len(set(page.ids))
    assert not page.handlers
    assert not page.missing_alt
    assert not page.unreachable
    assert "script" not in page.tags
    assert all(reference.startswith(("#", "data:")) for reference in page.references)
    own = {f"#{name}" for name in page.ids}
    assert {reference for reference in page.references if reference.startswith("#")} <= own
    assert "http:" not in html
    assert "https:" not in html
    assert page.tags["section"] == 14
    return page


def feasible(study: Made) -> None:
    for _ in range(3):
        study.finish(GOOD)
    study.finish(POOR)
    study.finish(POOR, stopped="pruned", n_epochs=2)
    study.fail()


def none_feasible(study: Made) -> None:
    study.finish(POOR)
    study.finish(POOR + 0.5)


def one_trial(study: Made) -> None:
    study.finish(GOOD)


def only_failed(study: Made) -> None:
    study.fail()
    study.fail("out_of_memory", "no memory")


def only_pruned(study: Made) -> None:
    study.finish(POOR, stopped="pruned", n_epochs=1)


def running(study: Made) -> None:
    one_trial(study)
    study.ask()
    study.study.enqueue_trial({"dense": False, "learning_rate": 0.01})


def no_trials(study: Made) -> None:
    pass


CASES: Mapping[Callable[[Made], None], str] = {
    feasible: "Feasible.",
    none_feasible: "No feasible trial. No trial meets the ceiling of 3.0\u00a0%",
    only_failed: "2 trials failed",
    only_pruned: "Nearest is trial 0",
    running: "still running",
    no_trials: "no trial has finished yet",
}


def test_a_whole_page(make_study: MakeStudy) -> None:
    check_state(make_study(), feasible, with_data=True)


@pytest.mark.usefixtures("one_size")
@pytest.mark.parametrize("case", [case for case in CASES if case is not feasible])
def test_every_other_state_gives_a_whole_page(make_study: MakeStudy, case: Callable[[Made], None]) -> None:
    check_state(make_study(), case, with_data=True)


@pytest.mark.usefixtures("undrawn")  # its pictures are among those of the same state with data
@pytest.mark.parametrize("case", [feasible, no_trials])
def test_a_state_without_data_gives_a_whole_page(make_study: MakeStudy, case: Callable[[Made], None]) -> None:
    check_state(make_study(), case, with_data=False)


def check_state(study: Made, case: Callable[[Made], None], *, with_data: bool) -> None:
    case(study)
    html = render(study.report(with_data))
    page = check(html)
    assert CASES[case] in page.text
    assert str(study.home.path) not in html  # a report is shown to others
    assert ("--data" in page.text) != with_data


def test_two_objectives(make_study: MakeStudy) -> None:
    study = make_study(objective=ObjectiveSpec(kind="recall_and_specificity"))
    for quality in (GOOD, GOOD, POOR):
        study.finish(quality)
    data = study.report(with_data=False)
    assert "The values that the study maximises" in parse(sections_search.history(data)).text
    assert "Importance for specificity" in parse(sections_search.what_mattered(data)).text


def test_importance_is_drawn_once_there_are_enough_trials(make_study: MakeStudy) -> None:
    study = make_study()
    for number in range(gather.MIN_TRIALS):
        study.finish(GOOD if number % 2 else POOR)
    data = study.report(with_data=False)
    assert [found.target for found in data.importances] == ["recall with tie-break", "feasibility"]
    assert all(sum(found.shares.values()) == pytest.approx(1) for found in data.importances)
    assert "Parameter importance for feasibility" in parse(sections_search.what_mattered(data)).alts


def test_the_trial_shown_is_the_best_feasible(make_study: MakeStudy) -> None:
    study = make_study()
    feasible(study)
    data = study.report()
    assert data.best
    assert data.shown is data.best
    assert data.summary.best
    assert data.best.number == data.summary.best.number


def test_without_feasible_the_trial_nearest_to_the_ceiling_is_shown(make_study: MakeStudy) -> None:
    study = make_study()
    none_feasible(study)
    data = study.report()
    assert data.best is None
    assert data.shown
    assert data.shown.constraint == min(row.constraint for row in data.trials if row.constraint is not None)


@pytest.mark.usefixtures("undrawn")
def test_overlays_stand_beside_their_images(make_study: MakeStudy) -> None:
    study = make_study()
    study.finish(POOR)
    asked: list[int] = []

    def overlays(files: Mapping[int, Path]) -> dict[int, bytes]:
        assert all(file.is_file() for file in files.values())
        asked.extend(files)
        return dict.fromkeys(files, b"overlay")

    data = study.report(overlays_for=overlays)
    assert data.missed
    assert data.false_alarms
    assert len(asked) == len(data.missed.cards) + len(data.false_alarms.cards) > 0
    html = render(data)
    assert html.count("where the model looked") == html.count('src="data:image/jpeg') == len(asked)
    check(html)


@pytest.mark.usefixtures("undrawn")
def test_a_result_that_lies_on_another_machine_leaves_a_note(make_study: MakeStudy) -> None:
    study = make_study()
    study.finish(GOOD)
    for file in study.home.artifacts.iterdir():
        file.unlink()
    page = check(render(study.report()))
    assert "not in this home folder" in page.text
    assert "Feasible. Trial 0" in page.text


def test_scores_that_do_not_give_the_stored_figures_are_not_shown(make_study: MakeStudy) -> None:
    study = make_study()
    number = study.finish(GOOD)
    attrs = study.study.trials[number].user_attrs
    other, _ = study.ask()
    result = study.result(GOOD, seed=other.number, stopped="completed", n_epochs=1)
    artifacts.save_result(artifacts.store(study.home.artifacts), other, result)
    better = replace(result, values=(9.0,), metrics=replace(result.metrics, recall=attrs["recall"] / 2))
    trials.finish(study.study, other, better)
    data = study.report()
    assert data.performance is None
    assert "do not give the figures stored with it" in parse(sections_trial.performance(data)).text


def test_one_figure_has_one_value_and_one_interval_on_the_whole_page(make_study: MakeStudy) -> None:
    study = make_study()
    feasible(study)
    data = study.report()
    assert data.performance
    assert data.shown
    assert data.shown.metrics
    trial = data.compared[0].estimates
    assert trial["recall"] == data.performance.estimates["recall"]  # the objective's own operating point
    assert trial["auc"] == data.performance.estimates["auc"]
    assert data.performance.estimates["auc"].value == data.shown.metrics.auc
    assert data.performance.estimates["recall"].value == data.shown.metrics.recall


def test_time_of_failed_trials_is_in_the_cost(make_study: MakeStudy) -> None:
    study = make_study()
    study.finish(GOOD)
    study.fail()
    data = study.report(with_data=False)
    assert [row.state for row in data.trials if row.seconds is None] == []
    assert "failed1" in parse(sections_search.cost(data)).text


def test_a_value_above_1_is_not_called_recall(make_study: MakeStudy) -> None:
    study = make_study()
    study.finish(50.0)
    data = study.report(with_data=False)
    assert data.trials[0].values[0] > 1
    assert "that the study maximises: recall with tie-break" in parse(sections_search.history(data)).text
    assert "AUC of 1 trials by epoch" in parse(sections_search.losses(data)).alts  # the axis names what is pruned by


def test_the_network_of_the_shown_trial_is_drawn_layer_by_layer(make_study: MakeStudy) -> None:
    study = make_study()
    study.finish(GOOD)
    text = parse(sections_trial.network(study.report(with_data=False))).text
    assert "3,210 of 3,210 parameters" in text.replace("\u202f", ",")
    for part in ("12 × 12 × 4", "Conv2D", "block1_conv1"):
        assert part in text


def test_retried_trials_count_once(make_study: MakeStudy) -> None:
    study = make_study()
    lost = study.fail("lost", "its coordinator died")
    trials.requeue(study.study, study.study.trials[lost])
    study.finish(GOOD)
    assert [row.number for row in study.report().trials] == [1]


HOSTILE = "</script></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&$x^{$ \u202eevil\x1b[31m"


@pytest.mark.usefixtures("one_size")
def test_hostile_database_stays_text(make_study: MakeStudy) -> None:
    study = make_study(name="made <img src=x onerror=alert(0)>")
    one_trial(study)
    study.fail(HOSTILE, HOSTILE)
    study.study.set_user_attr("definition", {"description": HOSTILE, "sampler": HOSTILE, "pruner": [HOSTILE]})
    study.study.add_trial(_hostile_trial(0.5))
    study.study.add_trial(_hostile_trial(0.25))
    page = check(render(study.report()))
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in page.text
    assert "\x1b" not in page.text


@pytest.mark.usefixtures("undrawn")
def test_attributes_of_the_wrong_type_are_passed_over(make_study: MakeStudy) -> None:
    study = make_study()
    trial = create_trial(
        values=[0.5],
        user_attrs={"recall": "much", "seconds": [1], "environment": 3, "objective_values": "x", "n_parameters": None},
    )
    study.study.add_trial(trial)
    data = study.report()
    assert data.trials == ()  # not a trial of ours
    check(render(data))


def _hostile_trial(value: float) -> optuna.trial.FrozenTrial:
    float_range = optuna.distributions.FloatDistribution(0, 1)
    choice = optuna.distributions.CategoricalDistribution([HOSTILE, "other"])
    names = ("recall", "specificity", "fnr", "auc", "pauc", "threshold")
    return create_trial(
        state=TrialState.COMPLETE,
        values=[value],
        params={HOSTILE: value, f"{HOSTILE}2": HOSTILE},
        distributions={HOSTILE: float_range, f"{HOSTILE}2": choice},
        user_attrs=dict.fromkeys(names, value) | {"environment": {HOSTILE: HOSTILE}, "seconds": 1.0},
        system_attrs={"constraints:fnr_ceiling": 0.5},
    )


@pytest.mark.usefixtures("undrawn")
def test_a_study_over_folds_is_shown_on_all_images_that_were_held_out(make_study: MakeStudy) -> None:
    study = make_study(n_folds=3)
    feasible(study)
    data = study.report()
    assert data.validation is not None
    counts = {role.role: role.n_images for role in data.flow.roles} if data.flow else {}
    assert len(data.validation.y) == counts["train"] + counts["validation"]
    assert data.performance is not None
    assert len(data.compared) == 4
    html = render(data)
    check(html)
    for part in ("on images held out of training", "by patient-grouped folds, 3 of them", "after every fold"):
        assert part in html


@pytest.mark.usefixtures("undrawn")
def test_cheap_trials_are_counted_by_rung_and_never_shown_as_the_best(make_study: MakeStudy) -> None:
    study = make_study(fidelity=FidelitySpec())
    for quality in (GOOD, POOR, POOR):
        study.pause(quality)
    paused = study.report(with_data=False)
    assert paused.best is None
    assert paused.shown is None

    study.promote(0)
    promoted = study.finish(GOOD, n_epochs=6)
    data = study.report()
    page = check(render(data))

    assert data.best is not None
    assert data.best.number == promoted
    assert [row.number for row in data.trials] == [1, 2, promoted]  # the promoted trial is there once
    assert sum(row.seconds or 0.0 for row in data.trials) == 3 * 2.5
    assert [(rung.n_reached, rung.n_promoted) for rung in data.summary.rungs] == [(3, 1), (0, 0)]
    for said in (
        "Cheap trials first",
        "paused at 16 px",
        "3 epochs at 0.5 of the image size, then to 6 epochs at 0.75",
    ):
        assert said in page.text
