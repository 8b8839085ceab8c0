"""The arms of `benchmarks.search` that others' tools run: the usual scripts.

python -m benchmarks.search_others keras_tuner|optuna ARRAYS.npz CONFIGURATIONS.json OUT.json
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pneumo_core import codec
from pneumo_core.models import model
from pneumo_core.specs import TrialSpec
from pneumo_core.training import batches
from pneumo_core.training.steps import make_optimizer


@dataclass(frozen=True)
class Script:
    """What both usual scripts do: build and compile a configuration, `fit` it, note its scores."""

    arrays: Any
    specs: list[TrialSpec]
    trials: list[dict[str, Any]] = field(default_factory=list)

    def compiled(self, index: int) -> keras.Model:
        spec = self.specs[index]
        network = model.build(spec.model, spec.data.shape)
        loss = keras.losses.BinaryCrossentropy(label_smoothing=spec.train.label_smoothing)
        network.compile(make_optimizer(spec.train), loss, metrics=[keras.metrics.AUC(name="auc")])
        return network

    def fit(self, network: keras.Model, index: int, callbacks: list[Any]) -> float:
        """Train; return the best validation AUC, as the usual script has it from Keras."""
        train, arrays = self.specs[index].train, self.arrays
        keep_best = keras.callbacks.EarlyStopping(
            "val_auc", mode="max", patience=train.patience, restore_best_weights=True
        )
        history = network.fit(
            arrays["x_train"],
            arrays["y_train"],
            batch_size=train.batch_size,
            epochs=train.epochs,
            validation_data=(arrays["x_validation"], arrays["y_validation"]),
            class_weight=dict(enumerate(batches.class_weight(train, arrays["y_train"].astype(int)))),
            callbacks=[*callbacks, keep_best],
            verbose=0,
        )
        scores = network.predict(arrays["x_validation"], verbose=0)[:, 0]
        self.trials.append({"ended_s": time.time(), "scores": scores.tolist()})
        return float(max(history.history["val_auc"]))


def keras_tuner(script: Script, folder: Path) -> None:
    """Search with KerasTuner over the configurations."""
    import keras_tuner as kt

    class Configured(kt.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> keras.Model:
            return script.compiled(hp.Choice("configuration", list(range(len(script.specs)))))

        def fit(self, hp: Any, network: keras.Model, callbacks: Any = None, **_: Any) -> float:
            return -script.fit(network, hp.get("configuration"), list(callbacks or []))  # it minimises what is returned

    tuner = kt.GridSearch(Configured(), max_trials=len(script.specs), directory=folder, project_name="benchmark")
    tuner.search(verbose=0)


def optuna(script: Script, folder: Path) -> None:
    """Search with Optuna over the configurations."""
    import optuna

    def objective(trial: optuna.Trial) -> float:
        keras.utils.clear_session()
        index = trial.suggest_int("configuration", 0, len(script.specs) - 1)
        return script.fit(script.compiled(index), index, [])

    url = f"sqlite:///{folder / 'optuna.db'}"
    study = optuna.create_study(study_name="benchmark", direction="maximize", storage=url)
    for index in range(len(script.specs)):
        study.enqueue_trial({"configuration": index})
    study.optimize(objective, n_trials=len(script.specs))


ARMS: dict[str, Callable[[Script, Path], None]] = {"keras_tuner": keras_tuner, "optuna": optuna}


def main() -> None:
    """Read the arrays and configurations, search, write the trials."""
    arm, arrays_file, configurations, out = sys.argv[1], *map(Path, sys.argv[2:])
    keras.utils.set_random_seed(0)
    with np.load(arrays_file, allow_pickle=False) as stored:
        arrays = {name: stored[name].astype("float32") for name in stored.files}
    specs = [codec.from_json(TrialSpec, spec) for spec in json.loads(configurations.read_text("utf-8"))]
    script = Script(arrays, specs)
    with tempfile.TemporaryDirectory() as folder:
        ARMS[arm](script, Path(folder))
    out.write_text(json.dumps(script.trials), "utf-8")


if __name__ == "__main__":
    main()
