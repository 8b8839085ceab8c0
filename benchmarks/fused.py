"""Would several small trials in one program be faster than one after the other? Trials × steps per second on JAX.

    KERAS_BACKEND=jax python -m benchmarks.fused [--steps 50] [--batches 128,32] [--trials 1,4,16] [--json FILE]

The plain network of `benchmarks.training` at 64 px with Adam, made-up images on the device, each trial with its own
order, weights and learning rate. "fused" is `vmap` over weights, optimizer state and rates, which XLA turns into
grouped convolutions. "fused products" has the same convolutions as nine shifted slices and one matrix product, which
`vmap` turns into a batched one. "in turn" runs the program of one trial K times.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import measure
from benchmarks.measure import Row
from benchmarks.training import PLAIN

SIDE_PX, N_IMAGES, REPEATS = 64, 4000, 3
Run = Callable[[Any, Any, Any, Any], Any]  # (state, rate, images and labels, rows (steps, b)) -> (state, loss)


def main() -> None:
    """Parse, measure, print."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    parser = measure.parser(__doc__)
    parser.add_argument("--steps", type=int, default=50, help="of each trial in a dispatch")
    parser.add_argument("--batches", default="128,32")
    parser.add_argument("--trials", default="1,4,16", help="at once")
    parser.add_argument("--images", type=int, default=N_IMAGES)
    asked = parser.parse_args()
    import jax

    from pneumo_core.training.trial import environment

    held = tuple(map(jax.device_put, _images(asked.images)))
    rows = []
    for batch in map(int, asked.batches.split(",")):
        for k in map(int, asked.trials.split(",")):
            order = _order(asked.images, k, asked.steps, batch)
            for how in ("in turn", "fused", "fused products"):
                run, state = program(products=how == "fused products")
                speeds = measured(run, state, held, order, fused=how != "in turn")
                rows.append(Row(name=f"batches of {batch}, {k} {how}", values=speeds, unit="trials x steps/s"))
                print(measure.table(rows[-1:]).splitlines()[-1], flush=True)
    measure.publish(
        f"{asked.steps} steps a dispatch", rows, environment=measure.machine() | environment(), file=asked.json
    )


def program(*, products: bool) -> tuple[Run, Any]:
    """Return what runs one trial, and its first state."""
    import jax
    import keras

    keras.utils.set_random_seed(0)
    net, optimizer = _network(products), keras.optimizers.Adam(1e-3)
    optimizer.build(net.trainable_variables)
    rate_at = [variable is optimizer.learning_rate for variable in optimizer.variables].index(True)
    groups = (net.trainable_variables, net.non_trainable_variables, optimizer.variables)

    def loss(trainable: Any, fixed: Any, x: Any, y: Any) -> Any:
        logits, fixed = net.stateless_call(trainable, fixed, x, training=True)
        return jax.numpy.mean(jax.nn.softplus(logits[:, 0]) - logits[:, 0] * y), fixed

    def step(state: Any, rate: Any, x: Any, y: Any) -> Any:
        trainable, fixed, slots = state
        (value, fixed), gradients = jax.value_and_grad(loss, has_aux=True)(trainable, fixed, x, y)
        slots = [rate if i == rate_at else slot for i, slot in enumerate(slots)]
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return (list(trainable), list(fixed), list(slots)), value

    def run(state: Any, rate: Any, held: Any, rows: Any) -> Any:
        def body(i: Any, carry: Any) -> Any:
            state, value = step(carry[0], rate, held[0][rows[i]], held[1][rows[i]])
            return state, carry[1] + value

        return jax.lax.fori_loop(0, len(rows), body, (state, jax.numpy.float32(0)))

    return run, tuple([jax.numpy.array(variable.value) for variable in group] for group in groups)


def measured(run: Run, state: Any, held: Any, order: np.ndarray, *, fused: bool) -> tuple[float, ...]:
    """Return trials x steps per second, compiling left out; `order` is (trials, steps, batch)."""
    import jax

    k, n_steps = order.shape[:2]
    rates, rows = np.linspace(5e-4, 2e-3, k, dtype=np.float32), jax.device_put(order)
    stacked = jax.tree.map(lambda value: jax.numpy.stack([value] * k), state)
    alone, together = jax.jit(run), jax.jit(jax.vmap(run, in_axes=(0, 0, None, 0)))

    def take() -> float:
        began_s = time.perf_counter()
        if fused:
            jax.block_until_ready(together(stacked, rates, held, rows))
        else:
            jax.block_until_ready([alone(state, rates[i], held, rows[i]) for i in range(k)])
        return float(k * n_steps / (time.perf_counter() - began_s))

    take()
    return tuple(take() for _ in range(REPEATS))


def _network(products: bool) -> Any:
    import keras

    x = inputs = keras.Input((SIDE_PX, SIDE_PX, 1))
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    for filters in PLAIN.filters:
        if products:
            x = keras.layers.Dense(filters, activation="relu")(keras.layers.Concatenate()(_shifted(x)))
        else:
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    for units in PLAIN.units:
        x = keras.layers.Dense(units, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(1)(x))


def _shifted(x: Any) -> list[Any]:
    """Return the nine neighbours of each pixel of (b, h, w, c)."""
    import keras

    height, width = x.shape[1:3]
    padded = keras.layers.ZeroPadding2D(1)(x)
    return [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]


def _images(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n).astype(np.float32)
    x = rng.integers(0, 200, (n, SIDE_PX, SIDE_PX, 1)) + 30 * y[:, None, None, None]
    return x.astype(np.float32), y


def _order(n_images: int, k: int, n_steps: int, batch: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, n_images, (k, n_steps, batch)).astype(np.int32)


if __name__ == "__main__":
    main()
