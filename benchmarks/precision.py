"""Fine-tuning of pretrained backbones in float32 and in bfloat16: what `precision="auto"` should take.

    python -m benchmarks.precision [--backbones NAME,...] [--size 224] [--batch 16] [--repeats 5] [--json FILE]

Random images and untrained weights, the last two stages trained, by this project's training step; "scoring" is the
forward pass. The precisions take turns; tracing is left out.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks import measure
from benchmarks.measure import Row
from pneumo_core.specs import BackboneSpec, Precision, TrainSpec
from search.executors import devices

BACKBONES = "EfficientNetLite0,MobileNetV2,ResNet50"
PRECISIONS: tuple[Precision, ...] = ("float32", "mixed_bfloat16")
N_STEPS = 4


def main() -> None:
    """Parse, measure, print."""
    parser = measure.parser(__doc__)
    parser.add_argument("--backbones", default=BACKBONES)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    asked = parser.parse_args()
    os.environ.update(devices.common_environment(None))  # as a trainer has it, oneDNN included
    rows = []
    for name in asked.backbones.split(","):
        nets = {precision: Net.built(name, precision, asked.size, asked.batch) for precision in PRECISIONS}
        for what, seconds_of in (("training", Net.train_s), ("scoring", Net.score_s)):
            sides: dict[str, Callable[[], float]] = {
                precision: partial(seconds_of, net) for precision, net in nets.items()
            }
            for precision, seconds in measure.in_turn(sides, asked.repeats).items():
                speeds = tuple(N_STEPS * asked.batch / each for each in seconds)
                rows.append(Row(name=f"{name}: {what}, {precision}", values=speeds, unit="images/s"))
    title = f"Backbones at {asked.size} px, batches of {asked.batch}, the last two stages trained"
    measure.publish(title, rows, environment=measure.machine(), file=asked.json)


@dataclass(frozen=True)
class Net:
    """A network ready to take steps."""

    steps: Any
    batch: Any  # one `Chunk`

    @staticmethod
    def built(name: str, precision: Precision, side_px: int, n: int) -> "Net":
        from pneumo_core.models import model
        from pneumo_core.training.batches import Chunk
        from pneumo_core.training.steps import make_optimizer, make_steps

        spec = BackboneSpec(name=name, weights="none", trainable_from="stage-2")
        settings = TrainSpec(batch_size=n)
        network = model.build(spec, (side_px, side_px, 1), precision)
        steps = make_steps(network, make_optimizer(settings), settings)
        x = np.random.default_rng(0).integers(0, 256, (1, n, side_px, side_px, 1), dtype=np.uint8)
        ones = np.ones((1, n), np.float32)
        net = Net(steps, Chunk(x=x, y=ones, sample_weight=ones, first_step=0, n_steps=1))
        net.train_s()  # traces
        net.score_s()
        return net

    def train_s(self) -> float:
        began_s = time.perf_counter()
        for _ in range(N_STEPS):
            self.steps.train(self.batch, np.array([1e-4], np.float32))
        self.steps.take_loss()  # waits for them
        return time.perf_counter() - began_s

    def score_s(self) -> float:
        began_s = time.perf_counter()
        for _ in range(N_STEPS):
            self.steps.predict(self.batch.x[0], self.batch.x.shape[1])
        return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
