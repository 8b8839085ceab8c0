"""Weights that a hypermodel takes from `keras.applications`: from the weights folder, Keras's cache or the network."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import keras
from keras.src.utils import file_utils

from pneumo_core.models import published_weights
from pneumo_core.specs import WEIGHT_HOSTS, PretrainedLayers


@dataclass
class Noted:
    """Which weights a build has put where."""

    files: dict[str, str] = field(default_factory=dict)  # URL by path
    loaded: list[tuple[PretrainedLayers, list[keras.Variable]]] = field(default_factory=list)

    @property
    def variables(self) -> list[keras.Variable]:
        return [variable for _, variables in self.loaded for variable in variables]

    def in_model(self, model: keras.Model) -> tuple[PretrainedLayers, ...]:
        """Return what of it is in `model`, a flat graph."""
        names = {layer.name for layer in model.layers}
        return tuple(found for found, _ in self.loaded if names & set(found.layers))


@contextlib.contextmanager
def noted() -> Iterator[Noted]:
    """Let `keras.applications` find its weights where ours are found, and yield what was loaded inside."""
    note, fetch, load = Noted(), file_utils.get_file, keras.Model.load_weights

    def get_file(fname: Any = None, origin: str | None = None, *args: Any, **kwargs: Any) -> Any:
        if not (isinstance(fname, str) and origin and origin.startswith(WEIGHT_HOSTS)):
            return fetch(fname, origin, *args, **kwargs)
        path = published_weights.file_of(origin, lambda: fetch(fname, origin, *args, **kwargs))
        note.files[str(path)] = origin
        return str(path)

    def load_weights(model: keras.Model, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        done = load(model, filepath, *args, **kwargs)
        if str(filepath) in note.files:
            layers = published_weights.weighted(model)
            note.loaded.append((PretrainedLayers(url=note.files[str(filepath)], layers=layers), list(model.weights)))
        return done

    with patch.object(file_utils, "get_file", get_file), patch.object(keras.Model, "load_weights", load_weights):
        yield note
