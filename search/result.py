"""A study for notebooks and scripts: counts, the best trial, every trial as data, pictures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial

from pneumo_core.errors import StudyError, UserError
from pneumo_core.result import TrialResult
from search import own_metrics, records, stored, stored_trials
from search.coordinator import Ending
from search.dashboard import drawings
from search.home import Home
from search.prepared import Prepared
from search.records import FIGURES, Best, Summary
from search.report import gather, plots_model, plots_parameters, plots_search, sections_search, source, svg
from search.report.data import ReportData, TrialRow, Validation
from search.report.markup import Html, join, paragraph, scalar, tag
from search.report.svg import Drawing, Picture
from search.storage import artifacts
from search.storage.database import storage_failures

if TYPE_CHECKING:
    import pandas

FURTHER = ("seconds", "best_epoch", "n_epochs", "n_parameters")


@dataclass(frozen=True, kw_only=True, repr=False)
class StudyResult:
    """A stored study. Everything is read at the time of the call, so that a running study can be followed.

    Pictures are Matplotlib figures. Those of a single trial take the best feasible one, else the one nearest to the
    ceiling, unless they are given a number.
    """

    study: optuna.Study
    storage: str  # URL
    home: Home
    source: str | None = None  # the study's images; None: nothing that needs labels can be drawn
    ending: Ending | None = None  # of the launch that this is the result of

    @property
    def name(self) -> str:
        return self.study.study_name

    @property
    def summary(self) -> Summary:
        """Counts, failures by reason, and the best trial."""
        with storage_failures():
            return records.summarise(self.study, self.storage)

    @property
    def best(self) -> Best | None:
        """The best feasible trial; None when no trial meets the ceiling."""
        return self.summary.best

    @property
    def trials(self) -> tuple[TrialRow, ...]:
        """Every trial by number; one that was killed and continued counts once."""
        return self._data().trials

    def to_dataframe(self) -> "pandas.DataFrame":
        """Return a row for each trial: state, values, figures, own metrics (`metric_…`), parameters (`params_…`).

        Raises `UserError` where pandas isn't installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise UserError("`to_dataframe` needs pandas: pip install 'pneumo-search[dataframe]'") from error
        data = self._data()
        known = {trial.number: trial for trial in self._trials()}
        rows = [_record(row, data.metric_names, known[row.number].user_attrs) for row in data.trials]
        return pandas.DataFrame(rows, index=pandas.Index([row.number for row in data.trials], name="trial"))

    def trial_result(self, trial: int | None = None) -> TrialResult:
        """Return all that one trial left: scores of the validation images, metrics after each epoch, environment.

        Raises `StudyError` where there is none, or where it is kept on another machine.
        """
        return self._result(self._data(), self._number(self._data(), trial))

    def validation(self, trial: int | None = None) -> Validation:
        """Return the images that a trial was judged on, in the order of its scores: pixels, labels, paths, patients."""
        number = self._number(self._data(), trial)
        with storage_failures():
            spec, folds = stored_trials.data_of(self.name, self._stored(number)), stored.read(self.study).folds
        return source.images(self._prepared, spec, folds).validation

    def plot_history(self) -> Drawing:
        """Draw the value of every trial in order, whether it meets the ceiling, and the best so far."""
        data = self._judged()
        return plots_search.history(data.trials, data.metric_names).figure

    def plot_trade_off(self) -> Drawing:
        """Draw recall against specificity of all trials, with the ceiling and the floor."""
        data = self._judged()
        return plots_search.trade_off(data.trials, data.objective, data.shown).figure

    def plot_parameters(self) -> Drawing:
        """Draw every trial as a line over its parameters, the most important first, and its value."""
        data = self._judged()
        parameters = sections_search.parameters_by_weight(data)
        if not parameters:
            raise StudyError(f"study {self.name!r} has no parameter that varied")
        return plots_parameters.parallel(data.trials, parameters, data.metric_names[0], data.shown).figure

    def plot_training(self, trial: int | None = None) -> Drawing:
        """Draw loss and AUC by epoch of one trial, or of the best few."""
        data = self._judged()
        results = data.results if trial is None else {trial: self._result(data, trial)}
        shown = data.shown.number if data.shown else None
        return plots_model.training(results, shown if trial is None else trial).figure

    def plot_roc(self, trial: int | None = None) -> Drawing:
        """Draw the ROC curve on validation with the operating point, the ceiling and the floor."""
        return self._plot(trial, lambda data, images, result: drawings.roc(images, result, data.objective))

    def plot_confusion(self, trial: int | None = None) -> Drawing:
        """Draw the confusion matrix at the trial's threshold."""
        classes = (self._prepared.manifest.negative, self._prepared.manifest.positive)
        return self._plot(
            trial, lambda data, images, result: drawings.confusion(images, result, data.objective, classes)
        )

    def plot_errors(self, trial: int | None = None) -> Drawing:
        """Draw the images that a trial gets wrong, the most extreme scores first."""
        folder = Path(self._prepared.manifest.source)
        return self._plot(trial, lambda _, images, result: drawings.errors(images, result, folder))

    def __repr__(self) -> str:
        s = self.summary
        best = f"best feasible: trial {s.best.number}, recall {s.best.recall:.4f}" if s.best else "no feasible trial"
        return f"StudyResult({self.name!r}: {s.n_complete} complete, {s.n_pruned} pruned, {s.n_failed} failed; {best})"

    def _repr_html_(self) -> Html:
        s = self.summary
        counts = {"complete": s.n_complete, "pruned": s.n_pruned, "failed": s.n_failed, "running": s.n_running}
        shown = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
        head = paragraph(tag("b", s.study), f" in {s.storage}: {shown or 'no trial yet'}")
        if s.best is None:
            return join([head, paragraph("No trial meets the false-negative ceiling yet.")])
        best = s.best
        rows = [("trial", str(best.number)), *((name, f"{getattr(best, name):.4f}") for name in FIGURES)]
        rows += [(name, scalar(value)) for name, value in best.params.items()]
        cells = [tag("tr", tag("th", name), tag("td", value)) for name, value in rows]
        return join([head, tag("table", tag("caption", "best feasible"), tag("tbody", *cells))])

    @cached_property
    def _prepared(self) -> Prepared:
        if self.source is None:
            raise StudyError(f"the images of study {self.name!r} are not known: give `load_study` its `data`")
        return source.read(self.study, self.source, self.home)

    def _data(self) -> ReportData:
        with storage_failures():
            return gather.gather(self.study, self.storage, artifacts.store(self.home.artifacts))

    def _judged(self) -> ReportData:
        data = self._data()
        if not svg.judged(data.trials):
            raise StudyError(f"no trial of study {self.name!r} has been judged yet")
        return data

    def _number(self, data: ReportData, trial: int | None) -> int:
        if trial is not None:
            return trial
        if data.shown is None:
            raise StudyError(f"no trial of study {self.name!r} has been judged yet")
        return data.shown.number

    def _result(self, data: ReportData, number: int) -> TrialResult:
        if number in data.results:
            return data.results[number]
        store = artifacts.store(self.home.artifacts)
        found = gather.results(self.study, store, [self._stored(number)], self._trials()).get(number)
        if found is None:
            raise StudyError(
                f"trial {number} of study {self.name!r} has no result in {self.home.path}: it has not ended, or ran "
                "with another `home`"
            )
        return found

    def _plot(self, trial: int | None, draw: Callable[[ReportData, Validation, TrialResult], Picture]) -> Drawing:
        data = self._judged()
        number = self._number(data, trial)
        return draw(data, self.validation(number), self._result(data, number)).figure

    def _stored(self, number: int) -> FrozenTrial:
        with storage_failures():
            return stored_trials.trial_of(self.study, number)

    def _trials(self) -> list[FrozenTrial]:
        with storage_failures():
            return stored_trials.trials_of(self.study).ours


def _record(row: TrialRow, names: tuple[str, ...], attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the data frame."""
    values = ("value",) if len(names) == 1 else tuple(f"value_{name}" for name in names)
    return {
        "state": row.state,
        **dict(zip(values, row.values, strict=False)),
        **{name: getattr(row.metrics, name) if row.metrics else None for name in FIGURES},
        **{f"{own_metrics.PREFIX}{name}": value for name, value in row.own_metrics.items()},
        **{name: attrs.get(name) for name in FURTHER},
        "failure": row.failure or None,
        "began": row.began,
        "ended": row.ended,
        **{f"params_{name}": value for name, value in row.params.items()},
    }
