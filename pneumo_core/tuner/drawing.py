"""One draw from a hypermodel: build it, and say what trial that is."""

from typing import Any

import keras

from pneumo_core import codec
from pneumo_core.models import stored
from pneumo_core.seeds import seed_everything
from pneumo_core.specs import KerasTunerSpec, TrainSpec, TrialSpec
from pneumo_core.tuner import compiled, own_fit, pixels, published, source, translate
from pneumo_core.tuner.dialogue import Open
from pneumo_core.tuner.hyperparameters import Ask, AskingHyperParameters


def draw(opened: Open, hypermodel: Any, ask: Ask) -> TrialSpec:
    """Return the trial that `hypermodel` builds from the answers of `ask`.

    Raises `ValueError` for a model that can't be trained here, and whatever `build` raises.
    """
    keras.utils.clear_session()  # layers are numbered from 0, so that the same answers give the same network
    seed_everything(0)
    hp = AskingHyperParameters(ask)
    epochs = opened.train.get("epochs", TrainSpec().epochs)
    hp.values.update({"tuner/epochs": epochs, "tuner/initial_epoch": 0, "tuner/bracket": 0, "tuner/round": 0})
    hp.values.update(opened.fixed)
    hypermodel.declare_hyperparameters(hp)
    with translate.assignments() as assigned, published.noted() as weights:
        model = hypermodel.build(hp)
    if not isinstance(model, keras.Model):
        raise ValueError(f"`build` must return a keras.Model, got {type(model).__name__}")
    translate.check_graph(model)
    data, loss = translate.image_spec(model, opened.data), compiled.loss_of(model)
    chosen = {**compiled.train_fields(model, loss, opened.train), **own_fit.fields(hypermodel, hp, epochs)}
    plain = translate.flat(model, data)
    ends = pixels.wanted(plain, opened.pixels)
    network = translate.translated(plain, data, ends, loss)
    translate.check_untouched(model, assigned, weights.variables)
    return TrialSpec(
        data=data,
        model=KerasTunerSpec(
            name=source.name_of(hypermodel),
            values=_active(hp),
            network=stored.pack(network),
            pixels=ends,
            pretrained=weights.in_model(network),
        ),
        train=codec.from_json(TrainSpec, chosen | dict(opened.train)),
    )


def _active(hp: AskingHyperParameters) -> dict[str, Any]:
    return {each.name: hp.values[each.name] for each in hp.space if hp.is_active(each) and each.name in hp.values}
