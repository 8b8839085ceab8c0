"""Pure functions that draw the parts of a trial from anything that can suggest values."""

from spaces.backbone import backbone
from spaces.base import Parameter, Prefixed, Recorder, Suggest, named
from spaces.cnn import cnn
from spaces.dense import dense
from spaces.training import augmentation, training

__all__ = [
    "Parameter",
    "Prefixed",
    "Recorder",
    "Suggest",
    "augmentation",
    "backbone",
    "cnn",
    "dense",
    "named",
    "training",
]
