"""Where the time of a training step goes, by kind of operation, on TensorFlow.

    python -m benchmarks.step_profile FOLDER [--networks 1] [--images 512] [--json FILE]

Profiles one epoch of this project's training, validation left out, for the plain network and the first that the space
draws (see `benchmarks.training`), in float32 and in bfloat16. Times are summed over threads, so that their sum may
be more than the epoch's.
"""

import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks import measure, training
from benchmarks.measure import Row
from pneumo_core.data.preprocess import FitArrays
from pneumo_core.specs import AugmentSpec, DataSpec, ModelSpec, Precision, TrainSpec
from search.executors import devices

KINDS = {  # by what an operation's name has in it, the first that fits
    "convolution, gradient of the kernel": ("BackpropFilter",),
    "convolution, gradient of its input": ("BackpropInput",),
    "convolution": ("Conv2D",),
    "pooling": ("Pool",),
    "fused activation": ("CpuExecutable",),
    "matrix product": ("MatMul",),
    "batch normalisation": ("BatchNorm",),
    "element by element": (
        "Relu",
        "Mul",
        "Add",
        "Sub",
        "Neg",
        "Erf",
        "Exp",
        "Square",
        "Sigmoid",
        "Cast",
        "Unary",
        "Sqrt",
    ),
}
WRAPPERS = ("Process", "Run", "Start", "Done", "Execute", "EagerLocal", "Kernel", "__inference", "Executor", "while")


def main() -> None:
    """Parse, profile, print."""
    parser = measure.parser(__doc__)
    parser.add_argument("folder", type=Path, help="in the Kaggle layout, or phantom")
    parser.add_argument("--networks", type=int, default=1)
    parser.add_argument("--images", type=int, default=512)
    asked = parser.parse_args()
    os.environ.update(devices.common_environment(None))  # as a trainer has it, oneDNN included
    from pneumo_core.training.trial import environment

    arrays = training.read(asked.folder, asked.images)
    precisions: tuple[Precision, ...] = ("float32", "mixed_bfloat16")
    rows = []
    for name, spec in training.drawn(asked.networks).items():
        for precision in precisions:
            rows += _rows(f"{name}, {precision}", spec, precision, arrays)
    title = f"An epoch of {len(arrays.x_train)} images, batches of {training.BATCH}"
    measure.publish(title, rows, environment=measure.machine() | environment(), file=asked.json)


def _rows(name: str, spec: ModelSpec, precision: Precision, arrays: FitArrays) -> list[Row]:
    import tensorflow as tf

    from pneumo_core.models import model
    from pneumo_core.seeds import seed_everything
    from pneumo_core.training import batches
    from pneumo_core.training.steps import make_optimizer, make_steps

    seed_everything(training.SEED)
    settings = TrainSpec(batch_size=training.BATCH, precision=precision)
    steps = make_steps(model.build(spec, DataSpec().shape, precision), make_optimizer(settings), settings)
    source = batches.Source(
        x=arrays.x_train, y=arrays.y_train, class_weight=(1.0, 1.0), augment=AugmentSpec(), seed=0, flat=False
    )

    def epoch(number: int) -> None:
        for chunk in batches.chunks(source, settings, number):
            steps.train(chunk, np.full(chunk.n_steps, training.RATE, np.float32))
        steps.take_loss()

    epoch(0)
    began_s = time.perf_counter()
    epoch(1)
    epoch_ms = 1000 * (time.perf_counter() - began_s)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            epoch(2)
        found = _by_kind(Path(folder))
    rows = [Row(name=f"{name}: the epoch, not profiled", values=(epoch_ms,), unit="ms")]
    return rows + [Row(name=f"{name}: {kind}", values=(ms,), unit="ms") for kind, ms in found.most_common()]


def _by_kind(folder: Path) -> "Counter[str]":
    """Return the milliseconds of each kind of operation in a profile."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (file,) = folder.rglob("*.xplane.pb")
    profile, found = xplane_pb2.XSpace.FromString(file.read_bytes()), Counter[str]()
    for plane in profile.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                kind = _kind(name) if "CPU" in plane.name else None
                if kind:
                    found[kind] += event.duration_ps / 1e9
    return found


def _kind(name: str) -> str | None:
    """Return the kind of an event, None for one that isn't an operation's own."""
    if name.startswith("CpuExecutable"):
        return "fused activation"
    operation = name.rpartition(":")[2].strip()
    if ":" not in name or name.startswith("$") or operation.startswith(WRAPPERS):
        return None
    return next((kind for kind, parts in KINDS.items() if any(part in operation for part in parts)), "anything else")


if __name__ == "__main__":
    main()
