"""TensorBoard logs, read back by TensorBoard's own reader."""

import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from pneumo_core.errors import StorageError, UserError
from pneumo_core.wire import FOLD, N_FOLDS
from search import trials
from search.hooks import tensorboard
from search.hooks.guarded import Guarded
from search.hooks.tensorboard import TensorBoard
from search.watching.views import Views
from studies.spec import StudySpec
from tests.search.light import Faulty, Search, study
from tests.search.light_trainer import Fault


def logged(folder: Path, spec: StudySpec) -> Search:
    """Run a light study whose view writes logs as well."""
    found = Search(folder, spec)
    found.coordinator.view = found.coordinator.queue.view = Views(
        (found.view, Guarded(TensorBoard(folder / "logs-tb"), found.view.noted))
    )
    found.run()
    return found


def read(folder: Path, root: int, name: str = "light") -> EventAccumulator:
    accumulator = EventAccumulator(str(folder / "logs-tb" / name / f"trial-{root:05d}"), size_guidance={"tensors": 0})
    return accumulator.Reload()


def steps(found: EventAccumulator, tag: str) -> list[int]:
    return [event.step for event in found.Scalars(tag)]


def test_every_epoch_parameters_and_the_outcome_are_there(tmp_path: Path) -> None:
    search = logged(tmp_path, study(n_trials=2))
    for trial in search.trials:
        found = read(tmp_path, trial.number)
        assert steps(found, "pruning_metric") == sorted(trial.intermediate_values)
        values = [event.value for event in found.Scalars("pruning_metric")]
        assert values == pytest.approx([trial.intermediate_values[step] for step in sorted(trial.intermediate_values)])
        assert found.Scalars("final/recall")[0].value == pytest.approx(trial.user_attrs["recall"])
        start = found.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        hparams = metadata.parse_session_start_info_plugin_data(start).hparams
        assert hparams["x"].number_value == trial.params["x"]
        (text,) = found.Tensors("spec")[0].tensor_proto.string_val
        assert b'"learning_rate"' in text
        assert found.SummaryMetadata("outcome").plugin_data.plugin_name == "text"


def test_a_trial_that_died_goes_on_in_its_first_folder(tmp_path: Path) -> None:
    search = logged(tmp_path, study(Faulty(Fault.KILLED, once=True, epochs=4), n_trials=1))
    (done,) = [trial for trial in search.trials if trial.state == TrialState.COMPLETE]
    assert trials.root(done) != done.number
    assert [path.name for path in (tmp_path / "logs-tb" / "light").iterdir()] == [f"trial-{trials.root(done):05d}"]
    assert steps(read(tmp_path, trials.root(done)), "pruning_metric") == [0, 1, 2, 3]


def test_an_epoch_that_is_told_again_counts_once(tmp_path: Path) -> None:
    search = Search(tmp_path, study(n_trials=1))
    trial = search.study.ask()
    spec = search.spec.space(trial)
    for epochs in ([0, 1, 2], [2, 3]):  # the second begins where the checkpoint was
        writer = TensorBoard(tmp_path / "logs-tb")
        writer.study_began(search.study, search.spec)
        writer.started(trial.number, spec)
        for epoch in epochs:
            writer.epoch(trial.number, epoch, {"auc": 0.5 + 0.1 * epoch})
    assert steps(read(tmp_path, 0), "auc") == [0, 1, 2, 3]
    search.close()


def test_nothing_that_is_there_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(tmp_path, study(n_trials=1))
    trial = search.study.ask()
    monkeypatch.setattr(time, "time_ns", lambda: 7)
    for more in (1, 2):
        writer = TensorBoard(tmp_path / "logs-tb")
        writer.study_began(search.study, search.spec)
        writer.started(trial.number, search.spec.space(trial))
        with pytest.raises(StorageError, match="is there already") if more == 2 else nullcontext():
            writer.epoch(trial.number, 0, {"auc": 0.5})
    search.close()


def test_folds_are_told_apart(tmp_path: Path) -> None:
    search = Search(tmp_path, study(n_trials=1))
    trial = search.study.ask()
    writer = TensorBoard(tmp_path / "logs-tb")
    writer.study_began(search.study, search.spec)
    writer.started(trial.number, search.spec.space(trial))
    for fold in (0, 1):
        for epoch in (0, 1):
            writer.epoch(trial.number, epoch, {"loss": 1.0, FOLD: float(fold), N_FOLDS: 2.0})
        writer.epoch(trial.number, fold, {"auc": 0.9, N_FOLDS: 2.0})
    found = read(tmp_path, 0)
    assert set(found.Tags()["scalars"]) == {"fold_0/loss", "fold_1/loss", "folds/auc"}
    assert steps(found, "fold_1/loss") == steps(found, "folds/auc") == [0, 1]
    search.close()


def test_a_failed_trial_says_why(tmp_path: Path) -> None:
    logged(tmp_path, study(Faulty(Fault.EXCEPTION), n_trials=1))
    (text,) = read(tmp_path, 0).Tensors("outcome")[0].tensor_proto.string_val
    assert b"failed (" in text


def test_without_the_package_the_message_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    with pytest.raises(UserError, match=r"pip install 'pneumo-search\[tensorboard\]'"):
        tensorboard.check()


def test_writing_logs_loads_no_framework(tmp_path: Path) -> None:
    code = (
        "import sys, optuna; from pathlib import Path; from search.hooks.tensorboard import TensorBoard\n"
        "from pneumo_core.specs import DenseSpec, TrialSpec\n"
        "study = optuna.create_study(); study.ask(); study._storage.get_all_studies()\n"
        "log = TensorBoard(sys.argv[1]); log.study_began(study, None); log.started(0, TrialSpec(model=DenseSpec()))\n"
        "log.epoch(0, 0, {'loss': 1.0}); log.failed(0, 'a', 'b')\n"
        "print(sorted({'keras', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
