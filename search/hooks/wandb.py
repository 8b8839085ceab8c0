"""A run in Weights & Biases for each trial, grouped by study."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna

from pneumo_core import codec
from pneumo_core.errors import UserError
from pneumo_core.result import TrialResult
from pneumo_core.specs import TrialSpec
from search import stored, trials
from search.hooks.by_fold import named
from search.stored_trials import trial_of
from search.watching.views import View
from studies.spec import StudySpec

MISSING = "Weights & Biases needs a package: pip install 'pneumo-search[wandb]'"


class Wandb(View):
    """Writes each trial as a run of `project`.

    `mode` is "online" or "offline", by default what `WANDB_MODE` says, and offline without either: `wandb sync` sends
    what was written to `folder`. A trial that continues a killed one appends to its run.
    """

    def __init__(self, project: str = "pneumo", mode: str | None = None, folder: Path | str | None = None) -> None:
        try:
            import wandb  # noqa: F401
        except ImportError as error:
            raise UserError(MISSING) from error
        self._project, self._folder = project, folder
        self._mode: Any = mode or os.environ.get("WANDB_MODE", "offline")
        self._study: optuna.Study | None = None
        self._runs: dict[int, Any] = {}

    def study_began(self, study: optuna.Study, spec: StudySpec) -> None:
        self._study = study

    def started(self, number: int, spec: TrialSpec) -> None:
        import wandb

        assert self._study is not None
        trial = trial_of(self._study, number)
        root = trials.root(trial)
        self._runs[number] = wandb.init(
            project=self._project,
            group=self._study.study_name,
            name=f"trial-{root:05d}",
            id=f"{stored.read(self._study).uid}-{root}",
            config={**trials.shown_params(trial), "spec": codec.to_json(spec)},
            dir=None if self._folder is None else str(self._folder),
            mode=self._mode,
            resume="allow" if self._mode == "online" else None,
            reinit="create_new",  # trials run side by side
            settings=wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True),
        )

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        self._runs[number].log(named(metrics, epoch=epoch))

    def finished(self, number: int, result: TrialResult) -> None:
        figures = {**codec.to_json(result.metrics), "constraint": result.constraint, "seconds": result.seconds}
        self._end(number, 0, {f"final/{name}": value for name, value in figures.items()} | {"outcome": result.stopped})

    def failed(self, number: int, reason: str, message: str) -> None:
        self._end(number, 1, {"outcome": f"{reason}: {message}"})

    def ended(self, number: int, what: str) -> None:
        self._end(number, 0, {"outcome": what})

    def study_ended(self, why: str) -> None:
        for number in list(self._runs):
            with contextlib.suppress(Exception):
                self._end(number, 1, {"outcome": why})

    def _end(self, number: int, exit_code: int, summary: Mapping[str, Any]) -> None:
        if (run := self._runs.pop(number, None)) is not None:
            run.summary.update(dict(summary))
            run.finish(exit_code=exit_code)
