import keras

from pneumo_core.specs import BackboneSpec


def build(spec: BackboneSpec, shape: tuple[int, int, int]) -> keras.Model:
    raise NotImplementedError
