"""The search from Python, with real trainers on phantoms."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import search
from pneumo_core.errors import PneumoError, StorageError, StudyError, UserError
from pneumo_core.scoring import metrics
from pneumo_core.specs import CnnSpec, DataSpec, ObjectiveSpec, TrainSpec, TrialSpec
from search import StudyResult, api, launch, load_study
from search.stopping import polite_stop_in_a_program
from spaces import Recorder, Suggest
from studies.spec import BudgetSpec, PrunerSpec, SourceSpec, StudySpec
from tests.commands import environment, wait_for


def space(suggest: Suggest, epochs: int = 2) -> TrialSpec:
    return TrialSpec(
        data=DataSpec(image_size_px=24),
        model=CnnSpec(filters=(suggest.suggest_int("filters", 4, 12), 8), head="flatten"),
        train=TrainSpec(epochs=epochs, patience=epochs, batch_size=32, learning_rate=1e-2),
    )


def brier(y: Any, scores: Any, threshold: float) -> float:
    return metrics.brier(y, scores)


STUDY = StudySpec(
    name="mine",
    space=space,
    objective=ObjectiveSpec(fnr_ceiling=0.9, specificity_floor=0.5),
    budget=BudgetSpec(trials=2),
    pruner=PrunerSpec(kind="none"),
    metrics={"brier": brier},
)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> StudyResult:
    """A study that was launched from a thread, where no signal can be heard."""
    home = tmp_path_factory.mktemp("api")
    found: list[StudyResult] = []

    def work() -> None:
        found.append(launch(STUDY, data=phantoms, workers=1, home=home, progress=False, tensorboard=home / "curves"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found
    return found[0]


def test_a_launch_comes_to_counts_and_a_best_trial(launched: StudyResult) -> None:
    assert launched.ending == "budget"
    assert launched.summary.n_complete == 2
    assert launched.best is not None
    assert launched.best.recall == max(row.metrics.recall for row in launched.trials if row.metrics)
    assert f"best feasible: trial {launched.best.number}" in repr(launched)
    assert "<caption>best feasible</caption>" in launched._repr_html_()


def test_the_same_call_resumes_and_has_nothing_to_do(launched: StudyResult, phantoms: Path) -> None:
    again = launch(STUDY, data=SourceSpec(source=str(phantoms)), home=launched.home.path, progress=False)
    assert again.ending == "budget"
    assert len(again.trials) == 2


def test_a_data_frame_has_a_row_for_each_trial(launched: StudyResult) -> None:
    frame = launched.to_dataframe()
    assert frame.index.tolist() == [0, 1]
    assert frame.index.name == "trial"
    assert set(frame.state) <= {"feasible", "infeasible"}
    assert frame.params_filters.between(4, 12).all()
    y = launched.validation(0).y
    assert frame.metric_brier[0] == pytest.approx(metrics.brier(y, np.array(launched.trial_result(0).scores)))


def test_without_pandas_the_message_names_the_remedy(launched: StudyResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"pip install 'pneumo-search\[dataframe\]'"):
        launched.to_dataframe()


@pytest.mark.parametrize("picture", sorted(name for name in dir(StudyResult) if name.startswith("plot_")))
def test_every_picture_is_a_figure_that_shows_itself(launched: StudyResult, picture: str) -> None:
    figure = getattr(launched, picture)()
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.axes or figure.subfigs


def test_a_picture_of_a_given_trial_is_of_that_trial(launched: StudyResult) -> None:
    titles = {launched.plot_confusion(number).axes[0].get_title(loc="left") for number in (0, 1)}
    assert {f"threshold {row.metrics.threshold:.3f}" for row in launched.trials if row.metrics} == {
        title.rpartition(", ")[2] for title in titles
    }
    with pytest.raises(StudyError, match="has no trial 7; it has 2"):
        launched.plot_roc(7)


def test_curves_were_written_for_tensorboard(launched: StudyResult) -> None:
    folder = launched.home.path / "curves" / "mine" / "trial-00001"
    scalars = set(EventAccumulator(str(folder)).Reload().Tags()["scalars"])
    wanted = {"loss", "val_loss", "recall", "auc", "pruning_metric", "learning_rate", "seconds"}
    assert wanted <= scalars
    assert {"final/recall", "final/metric_brier"} <= scalars


def test_a_stored_study_is_found_by_name_file_or_definition(launched: StudyResult, phantoms: Path) -> None:
    home = launched.home.path
    assert [row.number for row in load_study("mine", home=home).trials] == [0, 1]
    assert load_study(STUDY, data=phantoms, home=home).plot_roc().axes
    with pytest.raises(StudyError, match="give `load_study` its `data`"):
        load_study("mine", home=home).plot_roc()
    with pytest.raises(StudyError, match="has no study 'mime'; did you mean 'mine'"):
        load_study("mime", home=home)
    with pytest.raises(StorageError, match="does not exist"):
        load_study("mine", home=home / "nowhere")


def test_a_study_without_judged_trials_has_no_pictures(tmp_path: Path, phantoms: Path) -> None:
    found = launch(STUDY, data=phantoms, timeout=0.001, workers=1, home=tmp_path, progress=False)
    assert found.ending == "timeout"
    assert "No trial meets" in found._repr_html_()
    with pytest.raises(StudyError, match="no trial of study 'mine' has been judged yet"):
        found.plot_history()
    with pytest.raises(StudyError, match="no trial of study 'mine' meets the false-negative ceiling"):
        api.finalize(found, tmp_path / "bundle", progress=False)


def test_a_search_that_keeps_failing_raises_the_diagnosis(tmp_path: Path, phantoms: Path) -> None:
    def unfit(suggest: Suggest) -> TrialSpec:
        if suggest.suggest_float("x", 0, 1) >= 0 and not isinstance(suggest, Recorder):
            raise RuntimeError("not today")
        return space(suggest)

    spec = StudySpec(name="unfit", space=unfit, budget=BudgetSpec(trials=20, max_same_failures=2))
    with pytest.raises(PneumoError, match="not today"):
        launch(spec, data=phantoms, workers=1, home=tmp_path, progress=False)


def test_an_interrupted_launch_is_saved_raises_and_goes_on(tmp_path: Path, phantoms: Path) -> None:
    long = StudySpec(
        name="long", space=lambda suggest: space(suggest, epochs=4000), budget=BudgetSpec(trials=1), data=SourceSpec()
    )

    def interrupt() -> None:
        wait_for(lambda: list((tmp_path / "checkpoints").rglob("*")), "a checkpoint")
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        launch(long, data=phantoms, workers=1, home=tmp_path, progress=False)
    assert signal.getsignal(signal.SIGINT) is before
    summary = load_study("long", home=tmp_path).summary
    assert (summary.n_running, summary.n_waiting) == (0, 1)


def interrupt_twice(reached: list[bool]) -> None:
    with polite_stop_in_a_program() as stop_asked:
        reached.append(stop_asked())
        signal.raise_signal(signal.SIGINT)
        reached.append(stop_asked())
        signal.raise_signal(signal.SIGINT)
        reached.append(stop_asked())


def test_the_first_signal_asks_and_the_second_interrupts_at_once() -> None:
    reached: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        interrupt_twice(reached)
    assert reached == [False, True]


LAUNCH_AND_FINALIZE = """
import sys, search; assert not {'optuna', 'matplotlib', 'numpy'} & set(sys.modules)
from search import launch, load_study, finalize
import pytest
from studies.spec import BudgetSpec, PrunerSpec, StudySpec
from tests import in_process
from tests.search.finalizing import made

study = StudySpec(name="mine", space=made.space, budget=BudgetSpec(trials=2), pruner=PrunerSpec(kind="none"))
data = sys.argv[1]
with pytest.MonkeyPatch.context() as patch, in_process.answering(patch):
    result = launch(study, data=data, progress=False)
    print(finalize(result, "bundle", progress=False).bundle.study)
print(sorted({'keras', 'tensorflow', 'jax'} & set(sys.modules)))
"""


def test_a_program_loads_little_and_no_framework_where_trainers_are_other_processes(
    tmp_path: Path, phantoms: Path
) -> None:
    call = [sys.executable, "-c", LAUNCH_AND_FINALIZE, str(phantoms)]
    done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment())
    assert done.stdout.splitlines() == ["mine", "[]"]
    assert set(search.__all__) <= set(dir(search))
    with pytest.raises(AttributeError, match="has no attribute 'lunch'"):
        search.lunch  # noqa: B018
