"""What every model's space shares: the dense layers at its end, and the L2 penalty."""

from spaces.base import Suggest


def units(suggest: Suggest, *, min_layers: int = 0, max_layers: int = 4, max_units: int = 512) -> tuple[int, ...]:
    """Draw the widths of `min_layers` to `max_layers` dense layers, each 8 to `max_units` wide."""
    n_layers = suggest.suggest_int("n_dense_layers", min_layers, max_layers)
    return tuple(suggest.suggest_int(f"units_{i + 1}", 8, max_units, log=True) for i in range(n_layers))


def l2(suggest: Suggest) -> float:
    """Draw no L2 penalty, or one between 1e-7 and 1e-2."""
    return (
        suggest.suggest_float("l2", 1e-7, 1e-2, log=True)
        if suggest.suggest_categorical("use_l2", [False, True])
        else 0.0
    )
