"""Where Keras publishes the weights of its networks, and what each file must be: facts of `keras.applications`."""

from collections.abc import Mapping
from types import MappingProxyType

from pneumo_core.catalog import BACKBONES
from pneumo_core.data.download import Digest, Remote
from pneumo_core.models.pretrained import DOWNLOAD_HOST

_APPLICATIONS = f"{DOWNLOAD_HOST}/tensorflow/keras-applications"
_MD5 = {  # as `keras.applications` compares them
    "VGG16": ("vgg16", "6d6bbae143d832006294945121d1f1fc"),
    "VGG19": ("vgg19", "253f8cb515780f3b799900260a226db6"),
    "ResNet50": ("resnet", "4d473c1dd8becc155b73f8504c6f6626"),
    "ResNet50V2": ("resnet", "fac2f116257151a9d068a22e544a4917"),
    "DenseNet121": ("densenet", "30ee3e1110167f948a6b9946edeeb738"),
    "DenseNet169": ("densenet", "b8c4d4c20dd625c148057b9ff1c1176b"),
    "Xception": ("xception", "b0042744bf5b25fce3cb969f33bebb97"),
    "InceptionV3": ("inception_v3", "bcbd6486424b2319ff4ef7d526e38f63"),
    "MobileNetV3Small": ("mobilenet_v3", "d3e8ec802a04aa4fc771ee12a9a9b836"),
    "MobileNetV3Large": ("mobilenet_v3", "07fb09a5933dd0c8eaafa16978110389"),
    "EfficientNetV2B0": ("efficientnet_v2", "893217f2bb855e2983157299931e43ff"),
    "EfficientNetV2B1": ("efficientnet_v2", "0e80663031ca32d657f9caa404b6ec37"),
    "EfficientNetV2B2": ("efficientnet_v2", "1dfe2e7a5d45b6632553a8961ea609eb"),
    "EfficientNetV2B3": ("efficientnet_v2", "f6abf7b5849ac99a89b50dd3fd532856"),
}
_EFFICIENTNET_MD5 = {
    "EfficientNetB0": "50bc09e76180e00e4465e1a485ddc09d",
    "EfficientNetB1": "74c4e6b3e1f6a1eea24c589628592432",
    "EfficientNetB2": "111f8e2ac8aa800a7a99e3239f7bfb39",
    "EfficientNetB3": "af6d107764bb5b1abb91932881670226",
}
_CONVNEXT_SHA256 = "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"


def _file(name: str) -> str:
    return BACKBONES[name].file


REMOTES: Mapping[str, Remote] = MappingProxyType(
    {
        **{
            name: Remote(url=f"{_APPLICATIONS}/{folder}/{_file(name)}", digest=Digest(algorithm="md5", value=md5))
            for name, (folder, md5) in _MD5.items()
        },
        **{
            name: Remote(
                url=f"{DOWNLOAD_HOST}/keras-applications/{_file(name)}", digest=Digest(algorithm="md5", value=md5)
            )
            for name, md5 in _EFFICIENTNET_MD5.items()
        },
        "ConvNeXtTiny": Remote(
            url=f"{_APPLICATIONS}/convnext/{_file('ConvNeXtTiny')}",
            digest=Digest(algorithm="sha256", value=_CONVNEXT_SHA256),
        ),
        # Keras knows no digest of it; the server states one.
        "MobileNetV2": Remote(url=f"{_APPLICATIONS}/mobilenet_v2/{_file('MobileNetV2')}"),
    }
)
"""By backbone; the EfficientNet-Lites come as packages and have none."""

PACKAGED: Mapping[str, Digest] = MappingProxyType(
    {
        name: Digest(algorithm="sha256", value=value)
        for name, value in (
            ("EfficientNetLite0", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
            ("EfficientNetLite1", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
            ("EfficientNetLite2", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
        )
    }
)
"""Of the files in packages; their names have its first digits."""
