"""A hypermodel's own `fit`, where all it does is choose the batch size and the number of epochs."""

from typing import Any

import keras_tuner

REMEDY = (
    "training is this program's, so that it can prune and resume: only `batch_size` and `epochs` may be chosen there; "
    "give the rest to from_keras_tuner (class_weights=, schedule=, patience=, augment=), or search it around the space"
)
_OURS = {"verbose", "shuffle", "callbacks", "validation_data", "validation_split", "initial_epoch"}


class _Untouched:
    """Replaces what `fit` is given and must only pass on."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"it uses `{self._name}.{name}`")


class _Model(_Untouched):
    """Replaces the model, and remembers how it is fitted."""

    def __init__(self) -> None:
        super().__init__("model")
        self.fitted: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def fit(self, *args: Any, **kwargs: Any) -> "_Untouched":
        self.fitted.append((args, kwargs))
        return _Untouched("history")


def fields(hypermodel: Any, hp: Any, epochs: int) -> dict[str, Any]:
    """Return `batch_size` and `epochs` as the hypermodel's own `fit` chooses them; nothing without one of its own.

    It runs with stand-ins for model and images. Raises `ValueError` for one that does anything else.
    """
    name = type(hypermodel).__name__
    if type(hypermodel).fit is keras_tuner.HyperModel.fit:
        return {}
    model, x, y = _Model(), _Untouched("x"), _Untouched("y")
    given = {"epochs": epochs, "validation_data": (x, y), "callbacks": [], "verbose": 0}
    try:
        hypermodel.fit(hp, model, x, y, **given)
    except Exception as error:
        raise ValueError(f"{name} has a `fit` of its own that can't be followed ({error}); {REMEDY}") from error
    if len(model.fitted) != 1:
        raise ValueError(f"{name} has a `fit` of its own that fits {len(model.fitted)} times; {REMEDY}")
    args, kwargs = model.fitted[0]
    positional = dict(zip(("x", "y", "batch_size", "epochs"), args, strict=False))
    chosen = positional | kwargs
    extra = sorted(set(chosen) - _OURS - {"x", "y", "batch_size", "epochs"})
    if chosen.get("callbacks"):
        extra.append("callbacks")
    if extra or len(args) > 4 or chosen.get("x") is not x or chosen.get("y") is not y:
        raise ValueError(f"{name} has a `fit` of its own that sets {', '.join(extra) or 'the images'}; {REMEDY}")
    return {key: int(chosen[key]) for key in ("batch_size", "epochs") if chosen.get(key) is not None}
