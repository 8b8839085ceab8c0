"""How pretrained layers are trained: after the head, and by smaller steps the farther they lie from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import keras

from pneumo_core.models import stages
from pneumo_core.specs import BackboneSpec, ModelSpec


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """What training must know of the pretrained layers in a network; by default there are none."""

    layers: tuple[keras.Layer, ...] = ()  # trained once the head's epochs are over
    head_epochs: int = 0
    factors: Mapping[str, float] = field(default_factory=dict)  # of the learning rate, by layer name; else 1
    dropout: Mapping[str, float] = field(default_factory=dict)  # rate of each layer that drops, by name

    def trains_head_only(self, epoch: int) -> bool:
        """Return whether `epoch` (0-based) leaves the pretrained layers alone."""
        return epoch < self.head_epochs

    def prepare(self, epoch: int) -> None:
        """Freeze or thaw the pretrained layers for `epoch`; frozen, they drop nothing and keep their statistics."""
        trained = not self.trains_head_only(epoch)
        for layer in self.layers:
            layer.trainable = trained
            if layer.name in self.dropout:
                layer.rate = self.dropout[layer.name] if trained else 0.0

    def rate_factors(self, model: keras.Model) -> list[float]:
        """Return the factor of the learning rate for each trainable variable of `model`."""
        by_variable = {
            id(variable): self.factors.get(layer.name, 1.0)
            for layer in self.layers
            for variable in layer.trainable_variables
        }
        return [by_variable.get(id(variable), 1.0) for variable in model.trainable_variables]


def plan(network: keras.Model, spec: ModelSpec) -> FineTuning:
    """Return how the pretrained layers of `network`, built from `spec`, are to be trained."""
    if not isinstance(spec, BackboneSpec) or spec.trainable_from is None:
        return FineTuning()
    end = network.get_layer("extra1_conv" if spec.filters else "features").input
    backbone = keras.Model(network.inputs, end, name="backbone")
    stage_of = stages.of_layers(backbone)
    last = max(stage_of.values())
    layers = tuple(layer for layer in backbone.layers if layer.trainable)
    return FineTuning(
        layers=layers,
        head_epochs=spec.head_epochs,
        factors={name: spec.backbone_rate * spec.layer_decay ** (last - stage) for name, stage in stage_of.items()},
        dropout={layer.name: layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)},
    )
