import keras
import pytest

from pneumo_core import model
from pneumo_core.specs import CnnSpec


@pytest.mark.parametrize("kernel_px", [1, 3])
def test_no_strided_1x1_kernel_whose_gradient_corrupts_memory(kernel_px: int) -> None:
    spec = CnnSpec(filters=(8, 16), kernel_px=kernel_px, pooling="stride", residual=True, normalization="batch")
    built = model.build(spec, (32, 32, 1))
    convolutions = [layer for layer in built.layers if isinstance(layer, keras.layers.Conv2D)]
    assert convolutions
    assert not [c.name for c in convolutions if c.kernel_size == (1, 1) and c.strides != (1, 1)]
