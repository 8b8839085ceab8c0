"""What a person sees while a search runs: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pneumo_core.result import TrialResult
from pneumo_core.scoring.operating import Metrics
from pneumo_core.specs import BackboneSpec, CnnSpec, KerasTunerSpec, TrialSpec
from pneumo_core.wire import FOLD, N_FOLDS
from search.duration import say_duration
from search.records import Best, Summary
from search.watching.views import View


@dataclass
class LineView(View):
    """One line when a trial starts, ends or fails, and after each of its folds."""

    console: Console

    def started(self, number: int, spec: TrialSpec) -> None:
        self._say(f"trial {number}: started, {describe(spec)}")

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        if N_FOLDS in metrics and FOLD not in metrics:
            self._say(f"trial {number}: fold {epoch + 1}/{metrics[N_FOLDS]:g}: {describe_fold(metrics)}")

    def finished(self, number: int, result: TrialResult) -> None:
        self._say(f"trial {number}: {outcome(result)}")

    def failed(self, number: int, reason: str, message: str) -> None:
        self._say(f"trial {number}: failed ({reason}): {message}")

    def ended(self, number: int, what: str) -> None:
        self._say(f"trial {number}: {what}")

    def noted(self, text: str) -> None:
        self._say(text)

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


@dataclass
class Row:
    spec: TrialSpec
    began_s: float
    epoch: int = -1
    metrics: Mapping[str, float] = field(default_factory=dict)


class LiveView(LineView):
    """A row a running trial, the counts, the best feasible trial so far, elapsed and remaining time."""

    def __init__(self, console: Console, total: int, n_slots: int, summary: "SummarySource") -> None:
        super().__init__(console)
        self._rows: dict[int, Row] = {}
        self._total, self._n_slots, self._summary = total, n_slots, summary
        self._state = summary()
        self._began_s = time.monotonic()
        self._seconds: list[float] = []
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def started(self, number: int, spec: TrialSpec) -> None:
        self._rows[number] = Row(spec=spec, began_s=time.monotonic())
        self._state = self._summary()

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        row = self._rows[number]
        row.epoch, row.metrics = epoch, metrics
        super().epoch(number, epoch, metrics)

    def finished(self, number: int, result: TrialResult) -> None:
        self._seconds.append(time.monotonic() - self._rows[number].began_s)
        self._drop(number)
        super().finished(number, result)

    def failed(self, number: int, reason: str, message: str) -> None:
        self._drop(number)
        super().failed(number, reason, message)

    def ended(self, number: int, what: str) -> None:
        self._drop(number)
        super().ended(number, what)

    def _drop(self, number: int) -> None:
        self._rows.pop(number, None)
        self._state = self._summary()

    def _render(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("trial", "epoch", "pAUC", "recall", "specificity", "val loss", "time", "model"):
            table.add_column(heading, no_wrap=True)
        for number, row in sorted(self._rows.items()):
            shown = [_number(row.metrics.get(name)) for name in ("pauc", "recall", "specificity", "val_loss")]
            table.add_row(
                str(number),
                describe_step(row),
                *shown,
                say_duration(time.monotonic() - row.began_s),
                describe(row.spec),
            )
        counts, verdict = self.status().split("\n")
        return Group(table, Text(counts), Text(verdict, "bold green" if self._state.best else "yellow"))

    def status(self) -> str:
        """Return the counts, times and the best trial so far."""
        s = self._state
        remaining = self._remaining_s()
        left = "" if remaining is None else f" · about {say_duration(remaining)} left"
        best = f"best feasible: {describe_best(s.best)}" if s.best else "no feasible trial yet"
        return (
            f"{s.n_finished} of {self._total} trials · {s.n_complete} complete · {s.n_pruned} pruned · "
            f"{s.n_failed} failed · {say_duration(time.monotonic() - self._began_s)}{left}\n{best}"
        )

    def _remaining_s(self) -> float | None:
        n_left = self._total - self._state.n_finished
        if not self._seconds or n_left <= 0:
            return None
        return n_left * (sum(self._seconds) / len(self._seconds)) / self._n_slots


class SummarySource(Protocol):
    def __call__(self) -> Summary: ...


def describe(spec: TrialSpec) -> str:
    """Return a trial's model in a few words."""
    model, train = spec.model, spec.train
    if isinstance(model, CnnSpec):
        what = f"cnn {'-'.join(map(str, model.filters))} {model.kernel_px}×{model.kernel_px} {model.head}"
    elif isinstance(model, BackboneSpec):
        what = f"{model.name} {'frozen' if model.trainable_from is None else 'from ' + model.trainable_from}"
    elif isinstance(model, KerasTunerSpec):
        what = model.name
    else:
        what = "dense"
    widths = () if isinstance(model, KerasTunerSpec) else model.units
    units = f" units {'-'.join(map(str, widths))}" if widths else ""
    images = f"{spec.data.image_size_px} px"
    return f"{what}{units}, {images}, {train.optimizer} {train.learning_rate:.2g}, batch {train.batch_size}"


def describe_step(row: Row) -> str:
    """Return how far a running trial is: "7/20" epochs, and over folds "fold 2/5, 7/20"."""
    if N_FOLDS not in row.metrics:
        return f"{row.epoch + 1}/{row.spec.train.epochs}"
    n_folds = f"{row.metrics[N_FOLDS]:g}"
    if FOLD not in row.metrics:
        return f"fold {row.epoch + 1}/{n_folds} done"
    return f"fold {row.metrics[FOLD] + 1:g}/{n_folds}, {row.epoch + 1}/{row.spec.train.epochs}"


def describe_fold(metrics: Mapping[str, float]) -> str:
    """Return what the held-out images of one fold came to."""
    names = (("AUC", "auc"), ("pAUC", "pauc"), ("epochs", "n_epochs"))
    return ", ".join(f"{label} {metrics[name]:.4g}" for label, name in names if name in metrics)


def outcome(result: TrialResult) -> str:
    """Return what a finished trial came to in a line."""
    m = result.metrics
    state = result.stopped if result.stopped in ("pruned", "paused") else "complete"
    verdict = "feasible" if result.constraint <= 0 else "infeasible"
    how = f"best of {result.n_epochs} epochs: {result.best_epoch + 1}"
    if result.n_folds is not None:
        how = f"over {result.n_folds} folds, {result.n_epochs} epochs"
    return f"{state}, {verdict}: {describe_metrics(m)}; {how}; {say_duration(result.seconds)}"


def describe_metrics(m: Metrics | Best) -> str:
    return (
        f"recall {m.recall:.4f} (FNR {m.fnr:.2%}), specificity {m.specificity:.4f}, AUC {m.auc:.4f}, pAUC {m.pauc:.4f}"
    )


def describe_best(best: Best) -> str:
    return f"trial {best.number}: {describe_metrics(best)}, threshold {best.threshold:.4f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
