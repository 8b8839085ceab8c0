"""The arm of `benchmarks.rivals` that KerasTuner runs: Hyperband over a usual convolutional hypermodel.

    python -m benchmarks.rivals_keras_tuner PLACE SEED

Reads PLACE/arrays.npz and searches until it is interrupted. After each trial it notes in PLACE/trials.json how much
processor time was taken and the trial's value, and keeps in PLACE/best.npz the scores of the best by KerasTuner's
own measure.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

import keras
import keras_tuner as kt
import numpy as np

from benchmarks.rivals import VIEWS
from pneumo_core.scoring import operating
from studies.spec import UNDER_SHIFTS

MAX_EPOCHS = 12


class Usual(kt.HyperModel):  # type: ignore[misc]
    """Blocks of convolution, normalisation and pooling, a dense layer, dropout; flips, turns and zooms."""

    def __init__(self, arrays: dict[str, np.ndarray], place: Path) -> None:
        super().__init__()
        self.arrays, self.place = arrays, place
        self.trials: list[tuple[float, float]] = []
        self.best = -1.0

    def build(self, hp: Any) -> keras.Model:
        layers = keras.layers
        x = inputs = keras.Input(self.arrays["x_train"].shape[1:])
        x = layers.Rescaling(1 / 255)(x)
        if hp.Boolean("augment"):
            for layer in (layers.RandomFlip("horizontal"), layers.RandomRotation(0.05), layers.RandomZoom(0.1)):
                x = layer(x)
        for block in range(hp.Int("blocks", 2, 4)):
            filters = hp.Choice("filters", [8, 16, 24]) * 2 ** min(block, 2)
            x = layers.Conv2D(filters, hp.Choice("kernel", [3, 5]), padding="same", activation="relu")(x)
            x = layers.MaxPooling2D()(layers.BatchNormalization()(x))
        x = layers.GlobalAveragePooling2D()(x)
        x = layers.Dense(hp.Int("units", 32, 128, step=32), activation="relu")(x)
        x = layers.Dropout(hp.Float("dropout", 0.0, 0.5, step=0.1))(x)
        network = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
        rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
        network.compile(keras.optimizers.Adam(rate), "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
        return network

    def fit(self, hp: Any, network: keras.Model, *args: Any, **kwargs: Any) -> Any:
        keep_best = keras.callbacks.EarlyStopping("val_auc", mode="max", patience=99, restore_best_weights=True)
        history = network.fit(*args, **kwargs | {"callbacks": [*kwargs["callbacks"], keep_best]})
        scores = {view: network.predict(self.arrays[view], verbose=0)[:, 0].astype(float) for view in VIEWS}
        value = max(history.history["val_auc"])
        if value > self.best:
            self.best = value
            np.savez(self.place / "best.npz", **scores)
        pooled = operating.pooled(self.arrays["y"], scores["clean"], scores["shifted"])
        took = resource.getrusage(resource.RUSAGE_SELF)
        self.trials.append((took.ru_utime + took.ru_stime, operating.judge(*pooled, UNDER_SHIFTS).values[0]))
        (self.place / "trials.json").write_text(json.dumps(self.trials), "utf-8")
        return history


def main() -> None:
    place, seed = Path(sys.argv[1]), int(sys.argv[2])
    keras.utils.set_random_seed(seed)
    with np.load(place / "arrays.npz", allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    tuner = kt.Hyperband(
        Usual(arrays, place),
        kt.Objective("val_auc", "max"),
        max_epochs=MAX_EPOCHS,
        hyperband_iterations=100,
        seed=seed,
        directory=place,
        project_name="hyperband",
    )
    weights = len(arrays["y_train"]) / (2 * np.bincount(arrays["y_train"].astype(int)))
    tuner.search(
        arrays["x_train"].astype("float32"),
        arrays["y_train"],
        batch_size=32,
        class_weight=dict(enumerate(weights)),
        validation_data=(arrays["clean"], arrays["y"]),
        verbose=0,
    )


if __name__ == "__main__":
    main()
