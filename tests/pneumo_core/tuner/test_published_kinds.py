"""Complete hypermodels of the kinds that are published, each with what becomes of it here.

They are written as tutorials write them: without `super().__init__()`, pixels rescaled inside, a `fit` of their own.
"""

from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pneumo_core.models import model
from pneumo_core.specs import KerasTunerSpec, ObjectiveSpec, TrialSpec
from pneumo_core.training.trial import run_trial
from pneumo_core.tuner import drawing, source
from pneumo_core.tuner.dialogue import Open, Question, Scalar
from tests.pneumo_core.images import arrays

SIDE = 16
RAW, UNIT = (0.0, 255.0), (0.0, 1.0)


def compiled(made: keras.Model, optimizer: Any = "adam", loss: Any = "binary_crossentropy") -> keras.Model:
    made.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    return made


class NoInit(keras_tuner.HyperModel):  # type: ignore[misc]
    """The guide's class: keeps its arguments and does not call `super().__init__()`."""

    def __init__(self, classes: int = 1) -> None:
        self.classes = classes

    def build(self, hp: Any) -> keras.Model:
        made = keras.Sequential([keras.Input((SIDE, SIDE, 1)), layers.Rescaling(1.0 / 255)])
        for i in range(hp.Int("conv_layers", 1, 2)):
            made.add(layers.Conv2D(hp.Int(f"filters_{i}", 4, 8, step=4), 3, activation="relu", padding="same"))
            made.add(layers.MaxPooling2D())
        made.add(layers.Flatten())
        made.add(layers.Dropout(hp.Float("dropout", 0.0, 0.5)))
        made.add(layers.Dense(self.classes, activation="sigmoid"))
        return compiled(made, keras.optimizers.Adam(hp.Choice("learning_rate", [1e-2, 1e-3])))


class TunesBatch(NoInit):
    """The guide on custom training: the batch size is chosen in `fit`."""

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        return model.fit(*args, batch_size=hp.Choice("batch_size", [16, 32]), **kwargs)


class WeighsClasses(NoInit):
    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        return model.fit(*args, class_weight={0: 1.0, 1: 3.0}, **kwargs)


def residual(hp: Any) -> keras.Model:
    """A functional network with a shortcut, batch normalisation, a schedule, clipping and a focal loss."""
    entry = keras.Input((SIDE, SIDE, 3))
    x = keras.applications.imagenet_utils.preprocess_input(entry, mode="tf")
    x = layers.Conv2D(4, 3, padding="same")(x)
    y = layers.Activation(hp.Choice("activation", ["relu", "swish"]))(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, layers.Conv2D(4, 3, padding="same")(y)]))
    made = keras.Model(entry, layers.Dense(1, activation="sigmoid")(x))
    rate = keras.optimizers.schedules.ExponentialDecay(hp.Float("rate", 1e-4, 1e-2, sampling="log"), 100, 0.9)
    return compiled(made, keras.optimizers.Nadam(rate, clipnorm=1.0), keras.losses.BinaryFocalCrossentropy(gamma=2.0))


def two_columns(hp: Any) -> keras.Model:
    """Softmax over two classes with integer labels, SGD with Nesterov momentum."""
    made = keras.Sequential([keras.Input((SIDE, SIDE, 1)), layers.Flatten()])
    made.add(layers.Dense(hp.Int("units", 4, 32, step=2, sampling="log"), activation="relu"))
    made.add(layers.Dense(2, activation="softmax"))
    return compiled(made, keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True), "sparse_categorical_crossentropy")


def logits(hp: Any) -> keras.Model:
    """Logits under a loss that says so, Lion, pixels divided by an operation."""
    entry = keras.Input((SIDE, SIDE, 1))
    x = layers.GlobalAveragePooling2D()(layers.SeparableConv2D(4, 3)(entry / 255.0))
    lion = keras.optimizers.Lion(hp.Float("lr", 1e-5, 1e-3, sampling="reverse_log"), weight_decay=0.01)
    return compiled(keras.Model(entry, layers.Dense(1)(x)), lion, keras.losses.BinaryCrossentropy(from_logits=True))


def augmenting(hp: Any) -> keras.Model:
    """A sub-model that augments, attention over patches, a `Lambda` of Keras' own operations."""
    augment = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)])
    entry = keras.Input((SIDE, SIDE, 1))
    x = layers.Conv2D(8, 4, strides=4)(layers.Rescaling(1.0 / 127.5, offset=-1)(augment(entry)))
    x = layers.Reshape((16, 8))(x)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(hp.Int("heads", 1, 2), 4)(x, x))
    x = layers.Lambda(lambda tokens: keras.ops.mean(tokens, axis=1))(x)
    return compiled(keras.Model(entry, layers.Dense(1, activation="sigmoid")(x)), "rmsprop")


class Subclassed(keras.Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(1, activation="sigmoid")

    def call(self, x: Any) -> Any:
        return self.dense(layers.Flatten()(x))


def subclassed(hp: Any) -> keras.Model:
    return compiled(Subclassed())


def with_age(hp: Any) -> keras.Model:
    """An image and the patient's age."""
    image, age = keras.Input((SIDE, SIDE, 1)), keras.Input((1,))
    x = layers.Concatenate()([layers.Flatten()(image), age])
    return compiled(keras.Model([image, age], layers.Dense(1, activation="sigmoid")(x)))


def tensorflow_lambda(hp: Any) -> keras.Model:
    entry = keras.Input((SIDE, SIDE, 1))
    x = layers.Lambda(lambda maps: tf.image.adjust_contrast(maps, 2.0))(entry)
    return compiled(keras.Model(entry, layers.Dense(1, activation="sigmoid")(layers.Flatten()(x))))


def draw(made: Any, **answers: Scalar) -> TrialSpec:
    def ask(question: Question) -> Scalar:
        return answers.get(question.name, question.choices[-1] if question.choices else question.high)

    name = getattr(made, "__name__", "x")
    hypermodel = source._hypermodel(name, made, {})
    return drawing.draw(Open(source="x.py", attribute="x", train={"epochs": 3}), hypermodel, ask)


TAKEN = (NoInit, TunesBatch, residual, two_columns, logits, augmenting)


@pytest.mark.slow
@pytest.mark.parametrize("made", TAKEN)
def test_it_trains(made: Any) -> None:
    spec = draw(made)
    images = arrays(side_px=SIDE, channels=spec.data.channels)
    result = run_trial(spec, ObjectiveSpec(), images, 1, lambda *_: False)
    assert (result.n_epochs, result.stopped) == (3, "completed")
    assert len(set(result.scores)) > 1
    assert np.isfinite([epoch["loss"] for epoch in result.history]).all()


@pytest.mark.parametrize(
    ("made", "pixels", "train"),
    [
        (NoInit, RAW, {"optimizer": "adam", "learning_rate": 0.001, "epochs": 3}),
        (TunesBatch, RAW, {"batch_size": 32}),
        (residual, RAW, {"optimizer": "nadam", "focal_gamma": 2.0, "schedule": "keras"}),
        (two_columns, UNIT, {"optimizer": "sgd", "momentum": 0.9, "optimizer_settings": {"nesterov": True}}),
        (logits, RAW, {"optimizer": "lion", "learning_rate": 0.001, "weight_decay": 0.01}),
        (augmenting, RAW, {"optimizer": "rmsprop"}),
    ],
)
def test_it_is_taken_as_it_is(made: Any, pixels: tuple[float, float], train: dict[str, Any]) -> None:
    spec = draw(made)
    assert isinstance(spec.model, KerasTunerSpec)
    assert spec.model.name == made.__name__
    assert spec.model.pixels == pixels
    assert {name: getattr(spec.train, name) for name in train} == train
    network = model.build(spec.model, spec.data.shape)
    x = np.random.default_rng(0).integers(0, 256, (2, *spec.data.shape), dtype=np.uint8)
    scores = np.asarray(network(x, training=False))
    assert scores.shape == (2, 1)
    assert ((scores > 0) & (scores < 1)).all()


def test_values_are_those_of_the_model() -> None:
    spec = draw(two_columns, **{"units (drawn)": 2, "units": 16})
    assert isinstance(spec.model, KerasTunerSpec)
    assert spec.model.values == {"units": 16}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (WeighsClasses, "WeighsClasses has a `fit` of its own that sets class_weight;.*class_weights="),
        (subclassed, r"returns a Subclassed, a subclass of keras.Model.*keras.Model\(inputs, outputs\)"),
        (with_age, "must have one input and one output, got 2 and 1"),
        (tensorflow_lambda, "is a Lambda of operations that are not Keras' own.*keras.ops"),
    ],
)
def test_it_is_refused_with_the_reason_and_the_remedy(made: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        draw(made)
