"""What an accelerator gets of this project's training: images per second, its utilisation and memory, trials an hour.

    python -m benchmarks.gpu [--networks plain-64,Lite0-128,Lite0-224] [--precisions float32,mixed_bfloat16]
                             [--images 2048] [--seconds 2] [--trainers 1,2,4] [--trials 3] [--whole tuned,frozen]
                             [--json FILE]

Made-up images and untrained weights: how fast does not depend on them. Each network is measured in a process of its own
with the environment of a trainer, in the backend of KERAS_BACKEND. "ours" is an epoch as a trial takes it, without
validation; "augmented" the same with every change of `spaces.training.augmented` at half its strength, "on the host"
with images that Pillow changes; "bare loop" a step of a few lines over images that lie on the device as float32. "to
compile" is what the first epoch takes longer than the next. Utilisation, as nvidia-smi says it, is the share of time in
which any kernel runs, so 100 % is not all that a device can do. "trials an hour" are whole trials of ten epochs of the
plain network in so many trainers on one device, each with its tracing and compiling, the first of each trainer left
out; their networks differ by the size of a layer. "--whole" trains EfficientNet-Lite0 as a trial does, the last two
stages or the head alone, twice: the second process has another seed and finds what the first one kept. The
frozen one needs the pretrained weights. On a CPU the figures mean little.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import device, measure, training
from benchmarks.measure import Row
from pneumo_core.data.preprocess import FitArrays, Origin
from pneumo_core.specs import (
    AugmentSpec,
    BackboneSpec,
    DataSpec,
    ModelSpec,
    ObjectiveSpec,
    Precision,
    TrainSpec,
    TrialSpec,
)
from search.executors import devices
from spaces.training import augmented


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, and what it is trained on."""

    model: ModelSpec
    side_px: int
    batch: int


WHOLE_LITE0 = BackboneSpec(weights="none", trainable_from="all")
CASES = {
    "plain-64": Case(model=training.PLAIN, side_px=64, batch=128),
    "Lite0-128": Case(model=WHOLE_LITE0, side_px=128, batch=64),
    "Lite0-224": Case(model=WHOLE_LITE0, side_px=224, batch=64),
}


WHOLE: dict[str, ModelSpec] = {
    "tuned": BackboneSpec(weights="none", trainable_from="stage-2"),
    "frozen": BackboneSpec(),
}
WHOLE_PX, WHOLE_IMAGES, WHOLE_VALIDATION, WHOLE_EPOCHS = 128, 2867, 788, 12  # as `studies.pneumonia` has them
TRAIN = TrainSpec(epochs=10, patience=10, batch_size=CASES["plain-64"].batch)


def main() -> None:
    """Parse, measure, print."""
    asked = _parser().parse_args()
    if asked.one:
        _print(network_rows(asked.one, asked.precisions, asked.images, asked.seconds, asked.repeats))
    elif asked.fit:
        _print(fitted(asked.fit, asked.precisions, asked.home, asked.seed))
    elif asked.train:
        _print(trained(asked.images, asked.trials, asked.slot * asked.trials))
    else:
        _all(asked)


def _parser() -> argparse.ArgumentParser:
    parser = measure.parser(__doc__)
    parser.set_defaults(repeats=2)
    parser.add_argument("--networks", default=",".join(CASES))
    parser.add_argument("--precisions", default="float32,mixed_bfloat16")
    parser.add_argument("--images", type=int, default=2048, help="to train on")
    parser.add_argument("--seconds", type=float, default=2.0, help="that each side trains at least, each time")
    parser.add_argument("--trainers", default="1,2,4", help="numbers of trainers on one device; empty: none")
    parser.add_argument("--trials", type=int, default=3, help="of each trainer")
    parser.add_argument("--whole", default="tuned,frozen", help="trials of a pretrained network; empty: none")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # what the processes are asked
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--fit", help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--slot", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def _all(asked: argparse.Namespace) -> None:
    settings = ["--images", asked.images, "--seconds", asked.seconds, "--repeats", asked.repeats]
    rows: list[Row] = []
    for name in filter(None, asked.networks.split(",")):
        for precision in asked.precisions.split(","):
            with failures_said(f"{name}, {precision}"):
                (found,) = in_processes(1, ["--one", name, "--precisions", precision, *settings])
                rows += [Row(name=row["name"], values=tuple(row["values"]), unit=row["unit"]) for row in found]
                print(measure.table(rows[-len(found) :]), flush=True)
    for n in map(int, filter(None, asked.trainers.split(","))):
        with failures_said(f"{n} trainers"):
            rows += trainer_rows(n, ["--train", "--images", asked.images, "--trials", asked.trials])
            print(measure.table(rows[-4:]), flush=True)
    for name in filter(None, asked.whole.split(",")):
        for precision in asked.precisions.split(","):
            with failures_said(f"{name}, {precision}"):
                found = whole_rows(name, precision)
                print(measure.table(found), flush=True)
                rows += found
    (where,) = in_processes(1, ["--train", "--trials", 0])
    title = f"{asked.images} images to train on"
    measure.publish(title, rows, environment=measure.machine() | where["environment"], file=asked.json)


@contextlib.contextmanager
def failures_said(of: str) -> Iterator[None]:
    """Let one measurement fail without the others: time on an accelerator is dear."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        print(f"{of}: failed with {error.returncode}", flush=True)


def in_processes(n: int, arguments: Sequence[object]) -> list[Any]:
    """Return what each of `n` processes prints last, run at the same time with the environments of trainers."""
    command = [sys.executable, "-m", "benchmarks.gpu", *map(str, arguments), "--slot"]
    slots = devices.slot_environments(devices.Machine(trials_per_gpu=n, workers=n))
    running = [
        subprocess.Popen([*command, str(i)], env=os.environ | slot, stdout=subprocess.PIPE, text=True)
        for i, slot in enumerate(slots)
    ]
    texts = [process.communicate()[0] for process in running]
    for process in running:
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
    return [json.loads(text.splitlines()[-1]) for text in texts]


def network_rows(name: str, precision: Precision, n_images: int, seconds: float, repeats: int) -> list[Row]:
    """Measure one network in this process."""
    net = Net.built(CASES[name], precision, n_images)
    changes = augmented(geometric=0.5, photometric=0.5, sharpness=0.5, flip=True)
    ours = {
        "ours": net.epochs(AugmentSpec(), in_chunks=False),
        "ours, augmented": net.epochs(changes, in_chunks=False),
        "ours, augmented on the host": net.epochs(changes, in_chunks=True),
        "scoring": net.score,
    }
    to_compile = {side: first_s(take) for side, take in ours.items()}
    peak = device.peak_bytes()
    sides = ours | {"bare loop": net.bare_loop()}
    to_compile["bare loop"] = first_s(sides["bare loop"])
    title, rows = f"{name}, {precision}", []
    for side, take in sides.items():
        with device.sampled() as samples:
            speeds = tuple(n_images / seconds_of(take, seconds) for _ in range(repeats))
        rows.append(Row(name=f"{title}: {side}", values=speeds, unit="images/s"))
        if samples:
            rows.append(Row(name=f"{title}: utilisation, {side}", values=tuple(samples), unit="%"))
    rows += [Row(name=f"{title}: to compile, {side}", values=(value,)) for side, value in to_compile.items()]
    return rows + ([Row(name=f"{title}: peak memory of a trial", values=(peak / 1e9,), unit="GB")] if peak else [])


@dataclass(frozen=True, kw_only=True)
class Net:
    """A network and its training by this project, ready to go."""

    case: Case
    precision: Precision
    arrays: FitArrays
    settings: TrainSpec
    steps: Any

    @staticmethod
    def built(case: Case, precision: Precision, n_images: int) -> "Net":
        from pneumo_core.training.steps import make_optimizer, make_steps

        settings = TrainSpec(batch_size=case.batch, precision=precision)
        network = _network(case, precision)
        steps = make_steps(network, make_optimizer(settings), settings)
        return Net(
            case=case, precision=precision, arrays=images(n_images, case.side_px, 8), settings=settings, steps=steps
        )

    def epochs(self, augment: AugmentSpec, in_chunks: bool) -> Callable[[], None]:
        """Return what takes one epoch after the other as a trial does."""
        from pneumo_core.training import batches

        x, y = self.arrays.x_train, self.arrays.y_train
        source = batches.Source(x=x, y=y, class_weight=(1.0, 1.0), augment=augment, seed=0, flat=False)
        n_steps, numbers = batches.n_steps(self.settings, len(x)), iter(range(10**9))
        rates = np.full(n_steps, 1e-4, np.float32)

        def epoch() -> None:
            number = next(numbers)
            if not in_chunks and self.steps.hold(source):
                self.steps.train_rows(*batches.shown(source, self.settings, number), rates)
            else:
                for chunk in batches.chunks(source, self.settings, number):
                    self.steps.train(chunk, rates[: chunk.n_steps])
            self.steps.take_loss()  # waits for them

        return epoch

    def score(self) -> None:
        from pneumo_core.training.train import score_batch

        self.steps.predict(self.arrays.x_train, score_batch(self.arrays.x_train))

    def bare_loop(self) -> Callable[[], None]:
        """Return what takes an epoch with a step of a few lines and the images on the device as float32."""
        import keras

        from pneumo_core.training.loss import logit_model

        network, optimizer = logit_model(_network(self.case, self.precision)), keras.optimizers.Adam(1e-4)
        optimizer.build(network.trainable_variables)
        step, scores = training.loop_of_backend()(network, optimizer, self.arrays)
        n, size = len(self.arrays.x_train), self.case.batch
        order = np.resize(np.arange(n), -(-n // size) * size).astype(np.int32).reshape(-1, size)

        def epoch() -> None:
            for rows in order:
                step(rows)
            scores()  # of few images; waits for the steps

        return epoch


def trainer_rows(n: int, arguments: Sequence[object]) -> list[Row]:
    """Return what `n` trainers on one device do in an hour."""
    with device.sampled() as samples:
        found = in_processes(n, arguments)
    times = [seconds for each in found for seconds in each["trials_s"]]
    name = f"{n} trainer{'s' if n > 1 else ''}"
    rows = [
        Row(name=f"{name}: trials an hour", values=(3600 * n / statistics.fmean(times),), unit="of all trainers"),
        Row(name=f"{name}: a trial", values=tuple(times)),
        Row(name=f"{name}: its epochs after the first", values=tuple(s for each in found for s in each["epochs_s"])),
    ]
    return rows + ([Row(name=f"{name}: utilisation", values=tuple(samples), unit="%")] if samples else [])


def trained(n_images: int, n_trials: int, first: int) -> dict[str, Any]:
    """Run trials from number `first` on in this process; return what each but the first took, and their epochs.

    Each has a dense layer of its own size beside the plain network, as trials of a search differ in shapes.
    """
    from pneumo_core.training.trial import environment, run_trial

    arrays, trials_s, epochs_s = images(n_images, 64, n_images // 4), [], []
    for number in range(first, first + n_trials):
        network = replace(training.PLAIN, units=(32 + 4 * number,))
        spec, began_s = TrialSpec(model=network, train=TRAIN), time.perf_counter()
        result = run_trial(spec, ObjectiveSpec(), arrays, number, lambda epoch, metrics: False)
        trials_s.append(time.perf_counter() - began_s)
        epochs_s += [epoch["seconds"] for epoch in result.history[1:]]
    return {"trials_s": trials_s[1:] or trials_s, "epochs_s": epochs_s, "environment": environment()}


def whole_rows(name: str, precision: str) -> list[Row]:
    """Return what two trials of a pretrained network take, each in a process of its own."""
    with tempfile.TemporaryDirectory() as home:
        settings = ["--fit", name, "--precisions", precision, "--home", home]
        both = [in_processes(1, [*settings, "--seed", seed])[0] for seed in (1, 2)]
    rows = []
    for which, found in zip(("first", "second"), both, strict=True):
        title = f"{name}, {precision}, {which} process"
        rows += [
            Row(name=f"{title}: whole trial", values=(found["trial_s"],)),
            Row(name=f"{title}: to the first epoch's end", values=(found["first_s"],)),
            Row(name=f"{title}: an epoch", values=tuple(found["epochs_s"])),
        ]
    return rows


def fitted(name: str, precision: Precision, home: Path, seed: int) -> dict[str, Any]:
    """Run one trial of a pretrained network in this process; return its seconds."""
    from pneumo_core.training.trial import run_trial

    train = TrainSpec(
        epochs=WHOLE_EPOCHS,
        patience=WHOLE_EPOCHS,
        batch_size=32,
        steps_per_epoch=32,
        schedule="cosine",
        augment=augmented(geometric=0.7, photometric=0.7, sharpness=0.7, flip=True),
        precision=precision,
    )
    spec = TrialSpec(model=WHOLE[name], train=train, data=DataSpec(image_size_px=WHOLE_PX))
    arrays = images(WHOLE_IMAGES, WHOLE_PX, WHOLE_VALIDATION)
    arrays = replace(arrays, origin=Origin(cache_dir=home, digest="made up"))
    began_s, at_s = time.perf_counter(), list[float]()

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> bool:
        at_s.append(time.perf_counter() - began_s)
        return False

    run_trial(spec, ObjectiveSpec(), arrays, seed, on_epoch)
    return {"trial_s": at_s[-1], "first_s": at_s[0], "epochs_s": np.diff(at_s).tolist()}


def images(n: int, side_px: int, n_validation: int) -> FitArrays:
    """Return made-up images, some bright in the middle: smooth, so that a JPEG of one is of usual size."""
    rng = np.random.default_rng(0)
    y = np.arange(n + n_validation, dtype=np.uint8) % 2
    coarse = rng.integers(0, 200, (len(y), 8, 8, 1), dtype=np.uint8)
    coarse[y == 1, 2:6, 2:6] += 40
    x = coarse.repeat(-(-side_px // 8), axis=1).repeat(-(-side_px // 8), axis=2)[:, :side_px, :side_px]
    return measure.divided(x, y, n)


def first_s(take: Callable[[], None]) -> float:
    """Return how much longer the first call takes than the second."""
    return max(0.0, seconds_of(take, 0.0) - seconds_of(take, 0.0))


def seconds_of(take: Callable[[], None], at_least_s: float) -> float:
    """Return the mean time of calls that together take `at_least_s`, one at least."""
    began_s, n = time.perf_counter(), 0
    while not n or time.perf_counter() - began_s < at_least_s:
        take()
        n += 1
    return (time.perf_counter() - began_s) / n


def _network(case: Case, precision: Precision) -> Any:
    from pneumo_core.models import model
    from pneumo_core.seeds import seed_everything

    seed_everything(training.SEED)
    return model.build(case.model, DataSpec(image_size_px=case.side_px).shape, precision)


def _print(found: Any) -> None:
    rows = [vars(row) for row in found] if isinstance(found, list) else found
    print(json.dumps(rows), flush=True)


if __name__ == "__main__":
    main()
