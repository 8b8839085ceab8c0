from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from pneumo_core.result import TrialResult
from pneumo_core.scoring.operating import Metrics
from pneumo_core.specs import BackboneSpec, CnnSpec, DenseSpec, ModelSpec, TrialSpec
from search.records import Summary
from search.watching.progress import BarProgress, LineProgress
from search.watching.view import LineView, LiveView, describe

SPEC = TrialSpec(model=CnnSpec(filters=(8, 16)))
METRICS = Metrics(recall=0.98, specificity=0.91, fnr=0.02, auc=0.99, pauc=0.9, threshold=0.4)
RESULT = TrialResult(
    values=(0.98,),
    constraint=-0.01,
    metrics=METRICS,
    best_epoch=2,
    n_epochs=5,
    n_parameters=10,
    seconds=3.0,
    stopped="completed",
    history=(),
    scores=(),
    environment={},
)


def summary() -> Summary:
    return Summary(
        study="s",
        storage="sqlite:///x.db",
        n_complete=1,
        n_pruned=0,
        n_failed=0,
        n_running=1,
        n_waiting=0,
        failures={},
        best=None,
    )


def consoled(terminal: bool) -> tuple[Console, StringIO]:
    text = StringIO()
    return Console(file=text, force_terminal=terminal, width=150, color_system=None), text


def test_the_live_view_shows_epochs_counts_and_time_left() -> None:
    console, text = consoled(terminal=True)
    with LiveView(console, 4, 1, summary) as view:
        view.started(0, SPEC)
        view.epoch(0, 1, {"pauc": 0.8765, "recall": 0.9, "specificity": 0.9, "val_loss": 0.3})
        view._live.refresh()
        view.finished(0, RESULT)
        view.started(1, SPEC)
        view._live.refresh()
    shown = text.getvalue()
    for part in ("0.8765", "2/20", "cnn 8-16", "1 of 4 trials", "no feasible trial yet", "left", "trial 0: complete"):
        assert part in shown


def test_plain_lines_hold_state_verdict_and_figures() -> None:
    console, text = consoled(terminal=False)
    view = LineView(console)
    view.started(3, SPEC)
    view.finished(3, RESULT)
    view.failed(4, "nan_loss", "the loss became NaN [in epoch 2]")
    lines = text.getvalue().splitlines()
    assert lines[0] == "trial 3: started, cnn 8-16 3×3 flatten, 64 px, adam 0.001, batch 64"
    assert "complete, feasible: recall 0.9800 (FNR 2.00%)" in lines[1]
    assert lines[2] == "trial 4: failed (nan_loss): the loss became NaN [in epoch 2]"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (DenseSpec(units=(8, 4)), "dense units 8-4"),
        (BackboneSpec(name="VGG19"), "VGG19 frozen"),
        (BackboneSpec(name="VGG19", trainable_from="all"), "VGG19 from all"),
    ],
)
def test_models_are_named_in_a_few_words(model: ModelSpec, said: str) -> None:
    assert said in describe(TrialSpec(model=model))


def test_progress_ends_quietly() -> None:
    for terminal, make in ((True, BarProgress), (False, LineProgress)):
        console, _ = consoled(terminal)
        progress = make(console)
        for done in range(3):
            progress("reading", done, 2)


def test_a_trial_over_folds_says_which_fold_it_is_at() -> None:
    console, text = consoled(terminal=True)
    with LiveView(console, 4, 1, summary) as view:
        view.started(0, SPEC)
        view.epoch(0, 6, {"fold": 1.0, "n_folds": 5.0})
        view._live.refresh()
        view.epoch(0, 1, {"n_folds": 5.0, "auc": 0.91})
        view._live.refresh()
        view.finished(0, replace(RESULT, n_folds=5))
    for part in ("fold 2/5, 7/20", "fold 2/5 done", "trial 0: fold 2/5: AUC 0.91", "over 5 folds, 5 epochs"):
        assert part in text.getvalue()


def test_a_paused_trial_is_not_called_complete() -> None:
    console, text = consoled(terminal=False)
    LineView(console).finished(3, replace(RESULT, stopped="paused"))
    assert text.getvalue().startswith("trial 3: paused, feasible: ")
