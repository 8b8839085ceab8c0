"""TensorBoard logs of a search, a folder for each trial, written without TensorFlow."""

import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from pneumo_core import codec
from pneumo_core.errors import UserError
from pneumo_core.files import check_free
from pneumo_core.result import TrialResult
from pneumo_core.specs import TrialSpec
from pneumo_core.wire import N_FOLDS
from search import own_metrics, trials
from search.home import folder_name
from search.hooks.by_fold import named
from search.stored_trials import trial_of
from search.watching.views import View
from studies.spec import StudySpec

MISSING = "TensorBoard logs need the package `tensorboard`: pip install 'pneumo-search[tensorboard]'"
FILE_VERSION = "brain.Event:2"  # the first record of every file


def check() -> None:
    """Raise `UserError` where the package that writes the logs isn't installed."""
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ImportError as error:
        raise UserError(MISSING) from error


class TensorBoard(View):
    """Writes `folder/STUDY/trial-NNNNN/`, for `tensorboard --logdir folder`.

    By epoch every metric of the trainer as a scalar, over folds those of each fold by themselves; parameters for the
    HParams tab; specification and outcome as text. A trial that continues a killed one appends to its folder. Files
    are closed after each write, so that nothing is lost with the process.
    """

    def __init__(self, folder: Path | str = "runs/tensorboard") -> None:
        check()
        self._folder = Path(folder)
        self._study: optuna.Study | None = None
        self._files: dict[int, Path] = {}
        self._specs: dict[int, TrialSpec] = {}

    def study_began(self, study: optuna.Study, spec: StudySpec) -> None:
        self._study, self._folder = study, self._folder / folder_name(study.study_name)
        self._folder.mkdir(parents=True, exist_ok=True)

    def started(self, number: int, spec: TrialSpec) -> None:
        self._specs[number] = spec

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        if number not in self._files:
            self._begin(number, None if N_FOLDS in metrics else epoch)
        self._write(number, epoch, *_scalars(named(metrics)))

    def finished(self, number: int, result: TrialResult) -> None:
        own = own_metrics.attributes_of(self._trial(number).user_attrs)
        own.pop(own_metrics.FAILED, None)
        figures = {**codec.to_json(result.metrics), **own, "constraint": result.constraint, "seconds": result.seconds}
        text = json.dumps({"stopped": result.stopped, "best_epoch": result.best_epoch, **figures}, indent=2)
        last = [_text("outcome", text), _session_end(), *_scalars({f"final/{k}": v for k, v in figures.items()})]
        self._end(number, result.n_epochs, *last)

    def failed(self, number: int, reason: str, message: str) -> None:
        if number in self._specs:
            self._end(number, 0, _text("outcome", f"failed ({reason}): {message}"))

    def ended(self, number: int, what: str) -> None:
        if number in self._specs:
            self._end(number, 0, _text("outcome", what))

    def _trial(self, number: int) -> FrozenTrial:
        assert self._study is not None
        return trial_of(self._study, number)

    def _begin(self, number: int, epoch: int | None) -> None:
        """Open a new file in the trial's folder; with `epoch`, TensorBoard forgets what it had from there on."""
        from tensorboard.compat.proto import event_pb2

        trial = self._trial(number)
        folder = self._folder / f"trial-{trials.root(trial):05d}"
        folder.mkdir(exist_ok=True)
        self._files[number] = folder / f"events.out.tfevents.{time.time_ns()}.{number:05d}.{socket.gethostname()}"
        check_free(self._files[number], lambda _path: False)
        self._append(number, event_pb2.Event(wall_time=time.time(), file_version=FILE_VERSION))
        if epoch is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._append(number, event_pb2.Event(wall_time=time.time(), step=epoch, session_log=start))
        text = json.dumps(codec.to_json(self._specs[number]), indent=2)
        self._write(number, epoch or 0, _text("spec", text), _session_start(trial))

    def _end(self, number: int, step: int, *values: Any) -> None:
        if number not in self._files:
            self._begin(number, None)
        self._write(number, step, *values)
        del self._files[number], self._specs[number]

    def _write(self, number: int, step: int, *values: Any) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2

        summary = summary_pb2.Summary(value=values)
        self._append(number, event_pb2.Event(wall_time=time.time(), step=step, summary=summary))

    def _append(self, number: int, event: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        with self._files[number].open("ab") as file:
            RecordWriter(file).write(event.SerializeToString())


def _scalars(values: Mapping[str, float]) -> list[Any]:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]


def _text(tag: str, text: str) -> Any:
    """Return a text for the Text tab, shown as it is: to Markdown, lines that are indented are code."""
    from tensorboard.plugins.text.summary_v2 import text_pb

    return text_pb(tag, "\n".join(f"    {line}" for line in text.splitlines())).value[0]


def _session_start(trial: FrozenTrial) -> Any:
    """Return the trial's parameters as the HParams tab wants them."""
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    params = trials.shown_params(trial).items()
    plain = {name: value if isinstance(value, bool | int | float) else str(value) for name, value in params}
    return hparams_pb(plain, trial_id=str(trials.root(trial))).value[0]


def _session_end() -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    about = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
    return Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=about, tensor=metadata.NULL_TENSOR)
