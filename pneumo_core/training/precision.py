"""The number format to compute in, where a trial leaves it to the machine."""

from pathlib import Path

import keras

from pneumo_core.specs import CnnSpec, DenseSpec, Precision, TrialSpec

CPU_FACTS = Path("/proc/cpuinfo")


def of(spec: TrialSpec) -> Precision:
    """Return the trial's precision, for "auto" the one that this process's hardware is faster at.

    That is bfloat16 for our own networks on a CPU that multiplies matrices in it (AMX) under TensorFlow, whose kernels
    use it, and float32 elsewhere: only what was measured is chosen (`docs/performance.md`). Among the backbones there,
    those of depthwise convolutions are slower in bfloat16; the layers of a KerasTuner model bring their precision.
    """
    if spec.train.precision != "auto":
        return spec.train.precision
    if not isinstance(spec.model, CnnSpec | DenseSpec):
        return "float32"
    fast = keras.backend.backend() == "tensorflow" and not _has_gpu() and "amx_bf16" in _cpu_flags()
    return "mixed_bfloat16" if fast else "float32"


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _cpu_flags() -> frozenset[str]:
    """Return what the processor can do by the names of Linux; nothing on other systems."""
    try:
        facts = CPU_FACTS.read_text("utf-8")
    except OSError:
        return frozenset()
    return frozenset(next((line for line in facts.splitlines() if line.startswith("flags")), "").split())
