import re
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from pneumo_core.result import Stopped, TrialResult
from pneumo_core.scoring.operating import Metrics
from pneumo_core.specs import BackboneSpec, CnnSpec, DenseSpec, ModelSpec, TrialSpec
from search.records import Best, Summary
from search.watching.describe import describe
from search.watching.progress import BarProgress, LineProgress
from search.watching.view import LineView, LiveView

SPEC = TrialSpec(model=CnnSpec(filters=(8, 16)))
METRICS = Metrics(recall=0.98, specificity=0.91, fnr=0.02, auc=0.99, pauc=0.9, threshold=0.4)
RESULT = TrialResult(
    values=(0.98,),
    constraint=-0.01,
    metrics=METRICS,
    best_epoch=3,
    n_epochs=5,
    n_parameters=10,
    seconds=3.0,
    stopped="completed",
    history=(),
    scores=(),
    environment={},
)


BEST = Best(number=3, value=0.9, recall=0.9, fnr=0.1, specificity=0.9, threshold=0.5, auc=0.9, pauc=0.9, params={})


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


def consoled(terminal: bool, width: int = 150) -> tuple[Console, StringIO]:
    text = StringIO()
    return Console(file=text, force_terminal=terminal, width=width, color_system=None), text


def test_the_live_view_shows_epochs_counts_and_time_left() -> None:
    console, text = consoled(terminal=True)
    with LiveView(console, 4, 1, summary) as view:
        view.started(0, SPEC)
        view.epoch(0, 1, {"auc": 0.8765, "recall": 0.9, "specificity": 0.9, "val_loss": 0.3})
        view._live.refresh()
        view.finished(0, RESULT)
        view.started(1, SPEC)
        view._live.refresh()
    shown = text.getvalue()
    for part in ("0.8765", "2/20", "cnn 8-16", "1 of 4 trials", "no feasible trial yet", "left", "trial 0: complete"):
        assert part in shown


@pytest.mark.parametrize(("width", "has_model"), [(80, True), (50, False)])
def test_a_narrow_terminal_keeps_the_figures_and_gives_up_the_model(width: int, has_model: bool) -> None:
    console, text = consoled(terminal=True, width=width)
    folds = {"auc": 0.8765, "recall": 0.9123, "fold": 1.0, "n_folds": 5.0}
    with LiveView(console, 4, 2, lambda: replace(summary(), best=BEST)) as view:
        view.started(10, SPEC)
        view.epoch(10, 6, folds)
        view.started(11, SPEC)
        view.epoch(11, 1, {"auc": 0.5, "recall": 0.1})
        view._live.refresh()
    shown = text.getvalue()
    assert re.search("trial +epoch +AUC +recall +time", shown)
    for part in ("fold 2/5, 7/20", "0.8765", "0.9123", "best feasible: trial 3"):
        assert part in shown
    assert ("cnn 8-16" in shown) == has_model


def test_counts_that_need_two_lines_have_the_time_left_on_the_second() -> None:
    console, text = consoled(terminal=True, width=80)
    with LiveView(console, 1000, 1, lambda: replace(summary(), n_complete=77, n_pruned=20)) as view:
        view.started(0, SPEC)
        view._seconds.append(4000.0)
        view.finished(0, RESULT)
        view._live.refresh()
    assert re.search(r"\n *about \d+ h \d\d min left", text.getvalue())


def test_plain_lines_have_times_counts_and_the_time_left() -> None:
    console, text = consoled(terminal=False)
    view = LineView(console, 4, 1, summary)
    view.started(3, SPEC)
    view.finished(3, RESULT)
    view.failed(4, "nan_loss", "the loss became NaN [in epoch 2]")
    view.failed(5, "nan_loss", "the loss became NaN [in epoch 7]")
    lines = text.getvalue().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d trial", line) for line in lines)
    assert lines[0].endswith("trial 3: started, cnn 8-16 3×3 flatten, 64 px, adam 0.001, batch 64")
    assert "complete, feasible: recall 0.9800 (FNR 2.00%)" in lines[1]
    assert re.search(r"best epoch 3 of 5 \[1 of 4 · about \d+ s left\]$", lines[1])
    assert "trial 4: failed (nan_loss): the loss became NaN [in epoch 2]" in lines[2]
    assert "trial 5: failed (nan_loss), as trial 4 did" in lines[3]  # one cause is described once


def test_every_epoch_is_a_line_on_request() -> None:
    console, text = consoled(terminal=False)
    view = LineView(console, 4, 1, summary, every_epoch=True)
    view.started(0, SPEC)
    view.epoch(0, 6, {"auc": 0.9, "loss": 0.25})
    assert "trial 0: epoch 7/20: AUC 0.9000, recall –" in text.getvalue()
    assert text.getvalue().rstrip().endswith("training loss 0.2500")


@pytest.mark.parametrize("stopped", ["pruned", "paused"])
def test_a_trial_that_did_not_end_by_itself_has_no_verdict(stopped: Stopped) -> None:
    console, text = consoled(terminal=False)
    LineView(console, 4, 1, summary).finished(3, replace(RESULT, stopped=stopped))
    assert f"trial 3: {stopped} after epoch 5: recall" in text.getvalue()
    assert "feasible" not in text.getvalue()


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
