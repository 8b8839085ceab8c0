"""How fast networks run forward: Keras beside ONNX Runtime.

    python -m benchmarks.forward [--backbones NAME,...] [--sizes 128,224] [--images 64] [--repeats 5] [--json FILE]

Whole networks of real weights, random images, from pixels to scores; the engines take turns, tracing left out. "ready"
is what it takes from a Keras model in memory to the engine: ONNX Runtime's once a process and network.
"""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks import measure
from benchmarks.measure import Row
from pneumo_core.catalog import LITE
from pneumo_core.specs import BackboneSpec

NAMES = {"keras": "Keras", "runtime": "ONNX Runtime"}


def main() -> None:
    """Parse, measure, print."""
    parser = measure.parser(__doc__)
    parser.add_argument("--backbones", default=LITE)
    parser.add_argument("--sizes", default="128,224", help="px")
    parser.add_argument("--images", type=int, default=64)
    asked = parser.parse_args()
    rows: list[Row] = []
    for name in asked.backbones.split(","):
        for size_px in map(int, asked.sizes.split(",")):
            sides = Sides.made(name, size_px, asked.images)
            runs = measure.in_turn({side: partial(sides.run_s, side) for side in NAMES}, asked.repeats)
            for side, seconds in runs.items():
                speeds = tuple(asked.images / each for each in seconds)
                rows.append(Row(name=f"{name} at {size_px} px, {NAMES[side]}", values=speeds, unit="images/s"))
            ratio = measure.ratios(runs["keras"], runs["runtime"])
            rows.append(Row(name=f"{name} at {size_px} px, ratio", values=ratio, unit=""))
            rows.append(Row(name=f"{name} at {size_px} px, largest difference", values=(sides.difference(),), unit=""))
            rows.append(Row(name=f"{name}, ONNX Runtime ready", values=(sides.ready_s,)))
    measure.publish("Networks run forward", rows, environment=measure.machine(), file=asked.json)


@dataclass(frozen=True)
class Sides:
    """One network on both engines, both warm."""

    engines: dict[str, Any]
    x: Any  # (n, h, w, 1) uint8
    ready_s: float

    @staticmethod
    def made(name: str, size_px: int, n: int) -> "Sides":
        from pneumo_core.models import forward, model

        network = model.build(BackboneSpec(name=name, weights="imagenet"), (size_px, size_px, 1))
        kernel = network.get_layer("logit").weights[0]
        kernel.assign(np.random.default_rng(0).normal(0, 0.1, kernel.shape))  # zeros would score all images alike
        x = np.random.default_rng(0).integers(0, 256, (n, size_px, size_px, 1), dtype=np.uint8)
        began_s = time.perf_counter()
        fast = forward.of_model(network)
        sides = Sides({"keras": forward.with_keras(network), "runtime": fast}, x, time.perf_counter() - began_s)
        for side in NAMES:
            sides.run_s(side)
        return sides

    def run_s(self, side: str) -> float:
        began_s = time.perf_counter()
        self.engines[side].scores(self.x)
        return time.perf_counter() - began_s

    def difference(self) -> float:
        first, second = (engine.scores(self.x) for engine in self.engines.values())
        return float(np.abs(first - second).max())


if __name__ == "__main__":
    main()
