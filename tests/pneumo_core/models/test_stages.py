"""Cut points of the networks: stages, blocks and layers."""

import keras
import pytest

from pneumo_core.models import backbones, stages

LAST_STAGE = {  # where the last two stages begin, as the authors' block names say
    "EfficientNetLite0": ("block5_depthwise", "block11_depthwise"),
    "EfficientNetLite1": ("block7_depthwise", "block15_depthwise"),
    "EfficientNetLite2": ("block7_depthwise", "block15_depthwise"),
    "VGG16": ("block4_conv1", "block5_conv1"),
    "VGG19": ("block4_conv1", "block5_conv1"),
    "ResNet50": ("conv4_block1_1_conv", "conv5_block1_1_conv"),
    "ResNet50V2": ("conv3_block4_2_conv", "conv4_block6_2_conv"),
    "DenseNet121": ("conv4_block1_0_bn", "conv5_block1_0_bn"),
    "DenseNet169": ("conv4_block1_0_bn", "conv5_block1_0_bn"),
    "Xception": ("conv2d_2", "conv2d_3"),
    "InceptionV3": ("conv2d_26", "conv2d_71"),
    "MobileNetV2": ("block_6_depthwise", "block_13_depthwise"),
    "MobileNetV3Small": ("expanded_conv_3_depthwise", "expanded_conv_8_depthwise"),
    "MobileNetV3Large": ("expanded_conv_6_depthwise", "expanded_conv_12_depthwise"),
    "ConvNeXtTiny": ("convnext_tiny_downsampling_block_1", "convnext_tiny_downsampling_block_2"),
    **{f"EfficientNetB{i}": ("block4a_dwconv", "block6a_dwconv") for i in range(4)},
    **{f"EfficientNetV2B{i}": ("block4a_dwconv2", "block6a_dwconv2") for i in range(4)},
}


def check_cuts(name: str, network: keras.Model) -> None:
    """See that `network`, the backbone `name` whole, can be cut before its last stages; test_backbones builds it."""
    names = [layer.name for layer in network.layers]
    before, last = LAST_STAGE[name]

    assert stages.first_layer(network, "stage-1") == names.index(last)
    assert stages.first_layer(network, "stage-2") == names.index(before)
    assert stages.of_layers(network)[last] - stages.of_layers(network)[before] == 1
    assert stages.first_layer(network, "all") == 0


def test_blocks_and_layers_are_found_by_name() -> None:
    network = backbones.bare("VGG16", keras.Input((32, 32, 3)))
    names = [layer.name for layer in network.layers]

    assert names[stages.first_layer(network, "block5")] == "block5_conv1"
    assert names[stages.first_layer(network, "block5_conv2")] == "block5_conv2"
    with pytest.raises(ValueError, match="did you mean 'block5_conv1'"):
        stages.first_layer(network, "block5_conv11")
    with pytest.raises(ValueError, match="at most stage-5, got 'stage-6'"):
        stages.first_layer(network, "stage-6")
