"""Hooks follow a search through its events, and one that fails costs a line."""

import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pneumo_core.errors import UserError
from pneumo_core.wire import FOLD, N_FOLDS
from search.hooks.guarded import Guarded, found
from search.watching.views import View, Views
from studies.spec import EVENTS, StudySpec
from tests.search.light import Faulty, Search, study
from tests.search.light_trainer import Fault


class Noting:
    """A hook with every event."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        if name not in EVENTS:
            raise AttributeError(name)
        return lambda *args: self.seen.append((name, args[0]))


class Lines(View):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def noted(self, text: str) -> None:
        self.lines.append(text)


def followed(folder: Path, spec: StudySpec, *hooks: Any) -> tuple[Search, Lines]:
    search, lines = Search(folder, spec), Lines()
    search.coordinator.view = search.coordinator.queue.view = Views(
        (lines, *(Guarded(hook, lines.noted) for hook in hooks))
    )
    search.run()
    return search, lines


def test_the_events_are_those_of_a_view() -> None:
    own = {name for name in vars(View) if not name.startswith("_")}
    assert own - {"noted"} == set(EVENTS)


def test_a_hook_follows_the_search_from_its_begin_to_its_end(tmp_path: Path) -> None:
    hook = Noting()
    search, lines = followed(tmp_path, study(n_trials=2), hook)
    names = [name for name, _ in hook.seen]
    assert (names[0], names[-1]) == ("study_began", "study_ended")
    assert hook.seen[-1] == ("study_ended", "budget")
    assert (names.count("started"), names.count("finished")) == (2, 2)
    assert names.count("epoch") == sum(len(trial.intermediate_values) for trial in search.trials)
    assert lines.lines == []


def test_a_new_best_is_told_when_there_is_one(tmp_path: Path) -> None:
    hook = Noting()
    search, _ = followed(tmp_path, study(n_trials=6), hook)
    told = [best.number for name, best in hook.seen if name == "new_best"]
    values: list[float] = []
    for trial in search.trials:
        values.append(trial.values[0] if all(x <= 0 for x in trial.constraints.values()) else float("-inf"))
    best = max(values)
    assert (told[-1:] == [values.index(best)]) == (best > float("-inf"))
    again = Noting()
    followed(tmp_path, study(n_trials=6), again)
    assert [name for name, _ in again.seen] == ["study_began", "study_ended"]


def test_a_hook_that_fails_costs_a_line_and_nothing_else(tmp_path: Path) -> None:
    class Failing:
        def epoch(self, number: int, epoch: int, metrics: Any) -> None:
            raise RuntimeError("no network")

        def finished(self, number: int, result: Any) -> None:
            raise KeyError(number)

    search, lines = followed(tmp_path, study(n_trials=2), Failing())
    assert [trial.state.name for trial in search.trials] == ["COMPLETE"] * 2
    assert lines.lines[0] == "hook Failing: epoch failed: RuntimeError: no network"
    assert len(lines.lines) == 1 + 2  # the first is said once, the others differ


def test_hooks_are_found_by_name() -> None:
    assert isinstance(found(["tests.search.hooks.test_hooks:Noting"])[0], Noting)
    hook = Noting()
    assert found([hook]) == [hook]
    with pytest.raises(UserError, match="'mlfow' must be written as 'module:Name'; did you mean 'mlflow'"):
        found(["mlfow"])
    with pytest.raises(UserError, match="'a_b_c:D' is not there: No module named 'a_b_c'"):
        found(["a_b_c:D"])


@pytest.mark.parametrize("hook", [object(), 3, Noting])
def test_what_is_no_hook_is_refused_with_the_study(hook: Any) -> None:
    with pytest.raises(ValueError, match="`hooks` must have objects with at least one of the methods study_began"):
        replace(study(), hooks=(hook,))
    assert replace(study(), hooks=(View(), "mlflow")).hooks[1] == "mlflow"


def test_mlflow_has_a_run_a_trial(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow.tracking")
    from search.hooks.mlflow import MLflow

    uri = str(tmp_path / "mlruns")
    search, lines = followed(tmp_path, study(n_trials=2), MLflow(uri))
    assert lines.lines == []
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("light")
    runs = {run.data.tags["trial"]: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"0", "1"}
    for trial in search.trials:
        run = runs[str(trial.number)]
        assert run.info.status == "FINISHED"
        assert float(run.data.params["x"]) == trial.params["x"]
        assert run.data.metrics["final.recall"] == pytest.approx(trial.user_attrs["recall"])
        history = client.get_metric_history(run.info.run_id, "pruning_metric")
        assert {metric.step: metric.value for metric in history} == pytest.approx(trial.intermediate_values)


def follow_folds(folder: Path, hook: Any) -> None:
    """Send `hook` a trial over two folds of two and three epochs."""
    search = Search(folder, study(n_trials=1))
    trial = search.study.ask()
    hook.study_began(search.study, search.spec)
    hook.started(trial.number, search.spec.space(trial))
    for fold, n_epochs in enumerate((2, 3)):
        for epoch in range(n_epochs):
            hook.epoch(trial.number, epoch, {"loss": 10.0 * fold + epoch, FOLD: float(fold), N_FOLDS: 2.0})
        hook.epoch(trial.number, fold, {"auc": 0.9 + 0.01 * fold, N_FOLDS: 2.0})
    hook.ended(trial.number, "done")
    search.close()


def test_mlflow_keeps_folds_apart(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow.tracking")
    from search.hooks.mlflow import MLflow

    uri = str(tmp_path / "mlruns")
    follow_folds(tmp_path, MLflow(uri))
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("light").experiment_id])
    seen = {
        name: {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, name)}
        for name in run.data.metrics
    }
    assert seen == {
        "fold_0.loss": {0: 0.0, 1: 1.0},
        "fold_1.loss": {0: 10.0, 1: 11.0, 2: 12.0},
        "folds.auc": {0: 0.9, 1: 0.91},
    }


def test_mlflow_goes_on_in_the_run_of_a_trial_that_died(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow.tracking")
    from search.hooks.mlflow import MLflow

    uri = str(tmp_path / "mlruns")
    followed(tmp_path, study(Faulty(Fault.KILLED, once=True, epochs=4), n_trials=1), MLflow(uri))
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("light").experiment_id])
    assert run.info.status == "FINISHED"
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "pruning_metric")]
    assert sorted(set(steps)) == [0, 1, 2, 3]


def records_of(file: Path) -> Iterator[bytes]:
    """Yield the records of a W&B file, which is a LevelDB log: blocks of 32 KiB, records in parts."""
    data, place, record = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
        _, length, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def read_offline(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return what the one run below `folder` logged, in order, and its summary."""
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    history, summary = [], dict[str, Any]()
    for data in records_of(file):
        record = wandb_internal_pb2.Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            history.append({name: json.loads(text) for name, text in items.items() if not name.startswith("_")})
        if record.WhichOneof("record_type") == "summary":
            summary |= {item.key or "/".join(item.nested_key): item.value_json for item in record.summary.update}
    return history, summary


def test_weights_and_biases_keeps_folds_apart(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    from search.hooks.wandb import Wandb

    follow_folds(tmp_path, Wandb(mode="offline", folder=tmp_path))
    history, _ = read_offline(tmp_path)
    assert [row for row in history if "fold_0/loss" in row] == [
        {"fold_0/loss": float(epoch), "fold_0/epoch": epoch} for epoch in range(2)
    ]
    assert [row["fold_1/loss"] for row in history if "fold_1/loss" in row] == [10.0, 11.0, 12.0]
    assert [row["folds/auc"] for row in history if "folds/auc" in row] == [0.9, 0.91]


def test_weights_and_biases_offline_has_a_run_a_trial(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    from search.hooks.wandb import Wandb

    search, lines = followed(tmp_path, study(n_trials=1), Wandb(mode="offline", folder=tmp_path))
    assert lines.lines == []
    history, summary = read_offline(tmp_path)
    (trial,) = search.trials
    assert len(history) == len(trial.intermediate_values)
    assert json.loads(summary["final/recall"]) == pytest.approx(trial.user_attrs["recall"])


@pytest.mark.parametrize(("module", "extra"), [("mlflow.tracking", "mlflow"), ("wandb", "wandb")])
def test_without_the_package_the_message_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"pip install 'pneumo-search\[{extra}\]'"):
        found([extra])
