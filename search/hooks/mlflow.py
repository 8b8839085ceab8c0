"""A run in MLflow for each trial: parameters, a metric an epoch, the outcome."""

import os
import time
from collections.abc import Mapping
from typing import Any

import optuna

from pneumo_core import codec
from pneumo_core.errors import UserError
from pneumo_core.result import TrialResult
from pneumo_core.specs import TrialSpec
from search import trials
from search.hooks.by_fold import named
from search.records import Best
from search.stored_trials import trial_of
from search.watching.views import View
from studies.spec import StudySpec

MISSING = "MLflow needs a package: pip install 'pneumo-search[mlflow]'"
BATCH = 100  # parameters that MLflow takes at once


class MLflow(View):
    """Writes each trial as a run of the experiment that has the study's name.

    `tracking_uri` is a server, a database or a folder; by default what `MLFLOW_TRACKING_URI` says. A trial that
    continues a killed one appends to its run.
    """

    def __init__(self, tracking_uri: str | None = None, experiment: str | None = None) -> None:
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise UserError(MISSING) from error
        if "://" not in (tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "sqlite://")):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow uses folders only with this setting
        self._client: Any = MlflowClient(tracking_uri)
        self._experiment_name, self._experiment_id = experiment, ""
        self._study: optuna.Study | None = None
        self._runs: dict[int, str] = {}  # by number

    def study_began(self, study: optuna.Study, spec: StudySpec) -> None:
        self._study = study
        name = self._experiment_name or study.study_name
        known = self._client.get_experiment_by_name(name)
        self._experiment_id = known.experiment_id if known else self._client.create_experiment(name)

    def started(self, number: int, spec: TrialSpec) -> None:
        from mlflow.entities import Param

        assert self._study is not None
        trial = trial_of(self._study, number)
        run_id = self._runs[number] = self._run_of(trials.root(trial))
        params = {**trials.shown_params(trial), "spec_digest": spec.digest}
        entries = [Param(name, str(value)) for name, value in params.items()]
        for start in range(0, len(entries), BATCH):
            self._client.log_batch(run_id, params=entries[start : start + BATCH])

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        self._log(number, named(metrics, "."), epoch)

    def finished(self, number: int, result: TrialResult) -> None:
        figures = {**codec.to_json(result.metrics), "constraint": result.constraint, "seconds": result.seconds}
        self._log(number, {f"final.{name}": float(value) for name, value in figures.items()}, result.n_epochs)
        self._end(number, "FINISHED", result.stopped)

    def failed(self, number: int, reason: str, message: str) -> None:
        self._end(number, "FAILED", f"{reason}: {message}")

    def ended(self, number: int, what: str) -> None:
        self._end(number, "KILLED", what)

    def new_best(self, best: Best) -> None:
        self._client.set_experiment_tag(self._experiment_id, "best_trial", str(best.number))

    def _run_of(self, root: int) -> str:
        query = f"tags.trial = '{root}'"
        if found := self._client.search_runs([self._experiment_id], query, max_results=1):
            self._client.update_run(found[0].info.run_id, status="RUNNING")
            return str(found[0].info.run_id)
        run = self._client.create_run(self._experiment_id, run_name=f"trial-{root:05d}", tags={"trial": str(root)})
        return str(run.info.run_id)

    def _log(self, number: int, metrics: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        entries = [Metric(name, value, now_ms, step) for name, value in metrics.items()]
        self._client.log_batch(self._runs[number], metrics=entries)

    def _end(self, number: int, status: str, outcome: str) -> None:
        if (run_id := self._runs.pop(number, None)) is not None:
            self._client.set_tag(run_id, "outcome", outcome)
            self._client.set_terminated(run_id, status)
