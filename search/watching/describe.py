"""Trials, their progress and their outcome in a few words."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pneumo_core.specs import BackboneSpec, CnnSpec, KerasTunerSpec, TrialSpec
from search.duration import say_duration

if TYPE_CHECKING:  # quick commands do without
    from pneumo_core.result import TrialResult
    from pneumo_core.scoring.operating import Metrics
    from search.records import Best

N_TIED = 8  # named one by one


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


def describe_step(spec: TrialSpec, epoch: int, metrics: Mapping[str, float]) -> str:
    """Return how far a running trial is after `epoch`: "7/20" epochs, and over folds "fold 2/5, 7/20"."""
    from pneumo_core.wire import FOLD, N_FOLDS

    if N_FOLDS not in metrics:
        return f"{epoch + 1}/{spec.train.epochs}"
    n_folds = f"{metrics[N_FOLDS]:g}"
    if FOLD not in metrics:
        return f"fold {epoch + 1}/{n_folds} done"
    return f"fold {metrics[FOLD] + 1:g}/{n_folds}, {epoch + 1}/{spec.train.epochs}"


def describe_fold(metrics: Mapping[str, float]) -> str:
    """Return the figures of the held-out images of one fold."""
    names = (("AUC", "auc"), ("pAUC", "pauc"), ("epochs", "n_epochs"))
    return ", ".join(f"{label} {metrics[name]:.4g}" for label, name in names if name in metrics)


def outcome(result: "TrialResult") -> str:
    """Return the result of a finished trial in a line."""
    figures = f"{describe_metrics(result.metrics)}; {say_duration(result.seconds)}"
    step, n = ("epoch", result.n_epochs) if result.n_folds is None else ("fold", result.n_folds)
    if result.stopped in ("pruned", "paused"):
        return f"{result.stopped} after {step} {n}: {figures}"
    verdict = "feasible" if result.constraint <= 0 else "infeasible"
    best = f"best epoch {result.best_epoch} of {n}" if step == "epoch" else f"over {n} folds, {result.n_epochs} epochs"
    return f"complete, {verdict}: {figures}, {best}"


def describe_tied(best: "Best") -> str:
    """Return which trials validation cannot distinguish from the best one, "" where there are none."""
    if not best.tied:
        return ""
    shown = [str(number) for number in best.tied[:N_TIED]]
    more = f" and {len(best.tied) - N_TIED} more" if len(best.tied) > N_TIED else ""
    return (
        f"Validation cannot tell {len(best.tied)} other trial{'s' if len(best.tied) > 1 else ''} from it "
        f"({', '.join(shown)}{more}): they are within one standard error over patients of the highest value. What the "
        "study prefers decides between them, not the third digit."
    )


def describe_metrics(m: "Metrics | Best") -> str:
    return (
        f"recall {m.recall:.4f} (FNR {m.fnr:.2%}), specificity {m.specificity:.4f}, AUC {m.auc:.4f}, pAUC {m.pauc:.4f}"
    )


def describe_best(best: "Best") -> str:
    return f"trial {best.number}: {describe_metrics(best)}, threshold {best.threshold:.4f}"
