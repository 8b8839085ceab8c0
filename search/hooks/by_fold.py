"""Names for the metrics of an epoch that keep folds apart."""

from collections.abc import Mapping

from pneumo_core.wire import FOLD, N_FOLDS


def named(metrics: Mapping[str, float], separator: str = "/", **more: float) -> dict[str, float]:
    """Return `metrics` and `more` under "fold_0/loss" within a fold, "folds/auc" of whole folds, "loss" without folds.

    The steps of each name count from 0: epochs within a fold, folds of "folds/".
    """
    whole = f"folds{separator}" if N_FOLDS in metrics else ""
    place = f"fold_{metrics[FOLD]:g}{separator}" if FOLD in metrics else whole
    return {place + name: value for name, value in {**metrics, **more}.items() if name not in (FOLD, N_FOLDS)}
