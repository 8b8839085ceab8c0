"""Hypermodels with a `fit` of their own."""

from typing import Any

import keras_tuner
import pytest

from pneumo_core.tuner import own_fit
from pneumo_core.tuner.hyperparameters import AskingHyperParameters


def fields(fit: Any) -> dict[str, Any]:
    kind = type("Own", (keras_tuner.HyperModel,), {"build": lambda self, hp: None, "fit": fit})
    return own_fit.fields(kind(), AskingHyperParameters(lambda question: question.high or question.choices[-1]), 7)


def test_batch_size_and_epochs_are_honoured() -> None:
    def published(self: Any, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        return model.fit(*args, batch_size=hp.Choice("batch_size", [16, 32]), shuffle=hp.Boolean("shuffle"), **kwargs)

    assert fields(published) == {"batch_size": 32, "epochs": 7}

    def named(
        self: Any, hp: Any, model: Any, x: Any, y: Any, validation_data: Any, callbacks: Any = None, **more: Any
    ) -> Any:
        more["epochs"] = hp.Int("epochs", 2, 5)
        return model.fit(x, y, validation_data=validation_data, callbacks=callbacks, batch_size=8, **more)

    assert fields(named) == {"batch_size": 8, "epochs": 5}
    assert own_fit.fields(keras_tuner.applications.HyperXception(input_shape=(71, 71, 3), classes=2), None, 7) == {}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (lambda model, x, y, more: model.fit(x, y, class_weight={0: 2.0}, **more), "sets class_weight"),
        (lambda model, x, y, more: model.fit(x, y, **{**more, "callbacks": [object()]}), "sets callbacks"),
        (lambda model, x, y, more: model.fit(x[:5], y, **more), "can't be followed"),
        (lambda model, x, y, more: [model.fit(x, y, **more), model.fit(x, y, **more)], "fits 2 times"),
        (lambda model, x, y, more: model.evaluate(x, y), "uses `model.evaluate`"),
        (lambda model, x, y, more: None, "fits 0 times"),
        (lambda model, x, y, more: model.fit(y, x, **more), "sets the images"),
    ],
)
def test_a_fit_that_does_more_is_refused_with_the_remedy(body: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"Own has a `fit` of its own.*{said}.*class_weights="):
        fields(lambda self, hp, model, x, y, **more: body(model, x, y, more))
