"""What one trial is, as data: preprocessing, model, training, and the objective that judges it.

Every spec is frozen, keyword-only, validated when made, and travels as JSON (`codec`). A default lives
here once, its reason beside it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from pneumo_core import catalog, codec, shifts
from pneumo_core.errors import nearest

Activation = Literal["relu", "gelu", "silu", "elu", "tanh"]
Normalization = Literal["none", "batch", "layer"]
Resize = Literal["squash", "pad"]
Precision = Literal["float32", "mixed_bfloat16"]
Optimizer = Literal["sgd", "adam", "adamw", "rmsprop", "nadam", "lion", "adamax", "adagrad"]
WEIGHT_HOSTS = ("https://storage.googleapis.com/", "https://github.com/fchollet/", "https://github.com/keras-team/")
ObjectiveKind = Literal["recall", "specificity", "pauc", "auc", "recall_and_specificity"]
LARGEST_LAYER = 2**20  # units or filters: more are refused before they are built


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """How a decoded X-ray becomes an array of `image_size_px` × `image_size_px` × `channels`, uint8."""

    image_size_px: int = 64
    channels: int = 1  # X-rays are grey; a pretrained backbone repeats the channel inside the model
    resize: Resize = "squash"  # "pad" keeps the aspect ratio, itself a shortcut on this data (AUC 0.875)

    def __post_init__(self) -> None:
        check_range("image_size_px", self.image_size_px, 8, 1024)
        check_choice("channels", self.channels, (1, 3))
        check_choice("resize", self.resize, get_args(Resize))

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.image_size_px, self.image_size_px, self.channels)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Return what networks take: maps, or for a dense one flat pixels."""
        return self.shape, (math.prod(self.shape),)


@dataclass(frozen=True, kw_only=True)
class DenseSpec:
    """A multi-layer perceptron over flattened pixels."""

    kind: Literal["dense"] = "dense"
    units: tuple[int, ...] = (64,)
    activation: Activation = "relu"
    normalization: Normalization = "none"
    dropout: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        _check_head(self)
        check_choice("normalization", self.normalization, get_args(Normalization))


@dataclass(frozen=True, kw_only=True)
class CnnSpec:
    """Convolutional blocks, each halving the image, then a head."""

    kind: Literal["cnn"] = "cnn"
    filters: tuple[int, ...] = (16, 32, 64)  # one entry a block
    convolutions_per_block: int = 1
    kernel_px: int = 3
    pooling: Literal["max", "average", "stride"] = "max"
    normalization: Normalization = "none"
    residual: bool = False
    head: Literal["flatten", "average"] = "flatten"
    units: tuple[int, ...] = ()  # dense layers between head and output
    activation: Activation = "relu"
    dropout: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        _check_head(self)
        _check_positive_ints("filters", self.filters, at_least=1)
        check_range("convolutions_per_block", self.convolutions_per_block, 1, 4)
        check_choice("kernel_px", self.kernel_px, (1, 3, 5, 7))
        check_choice("pooling", self.pooling, ("max", "average", "stride"))
        check_choice("normalization", self.normalization, get_args(Normalization))
        check_choice("head", self.head, ("flatten", "average"))


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """A named image network, frozen or fine-tuned from a layer on, optional convolutions, and a head."""

    kind: Literal["backbone"] = "backbone"
    name: str = "EfficientNetLite0"
    weights: Literal["imagenet", "none"] = "imagenet"
    trainable_from: str | None = None  # None: frozen; "all": whole network; "stage-2": the last two stages, each of
    # maps of one size; else the name of the first trainable layer or block ("block5" of VGG16)
    head_epochs: int = 0  # first epochs that train the head only, so that its first large gradients spoil no weights
    train_norms: bool = False  # pretrained batch normalisation that is fine-tuned learns from each batch; else it stays
    # in inference mode, its statistics being better than those of some thousand images (untrained, it always learns)
    backbone_rate: float = 1.0  # factor of the learning rate in the pretrained layers
    layer_decay: float = 1.0  # a further factor for each stage down from the last (Howard & Ruder 2018: 1 / 2.6)
    filters: tuple[int, ...] = ()  # optional extra 3×3 convolutions, each followed by 2×2 max pooling
    head: Literal["flatten", "average"] = "average"
    units: tuple[int, ...] = ()
    activation: Activation = "relu"
    dropout: float = 0.0
    l2: float = 0.0
    views: int = 8  # augmented and partly frozen: passes take turns among so many changed versions of the images, whose
    # features are kept. A version costs one pass through that part, so that 20 epochs cost 8; 0: none is kept

    def __post_init__(self) -> None:
        catalog.find(self.name)
        _check_head(self)
        check_choice("weights", self.weights, ("imagenet", "none"))
        check_range("views", self.views, 0, 1000)
        _check_positive_ints("filters", self.filters)
        check_choice("head", self.head, ("flatten", "average"))
        check_range("head_epochs", self.head_epochs, 0, 99_999)
        check_range("backbone_rate", self.backbone_rate, 1e-6, 1.0)
        check_range("layer_decay", self.layer_decay, 0.01, 1.0)
        if self.trainable_from is None and (self.head_epochs, self.backbone_rate, self.layer_decay) != (0, 1.0, 1.0):
            raise ValueError("`head_epochs`, `backbone_rate` and `layer_decay` need a `trainable_from`: all is frozen")
        if self.weights == "none" and self.trainable_from is None:
            raise ValueError(
                "`trainable_from` must not be None when `weights` is 'none': a frozen network of random "
                "weights learns nothing; use 'all'"
            )


@dataclass(frozen=True, kw_only=True)
class PretrainedLayers:
    """Layers that begin with the weights of a file which Keras publishes."""

    url: str
    layers: tuple[str, ...]  # names in the order of the file

    def __post_init__(self) -> None:
        if not self.url.startswith(WEIGHT_HOSTS) or not self.file.isascii() or not self.file.endswith(".h5"):
            raise ValueError(f"`url` must be that of a weights file (.h5) which Keras publishes, got {self.url!r}")

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class KerasTunerSpec:
    """A network that a KerasTuner hypermodel built: Keras' own layers with their settings, as data."""

    kind: Literal["keras_tuner"] = "keras_tuner"
    name: str  # of the hypermodel, for people
    values: Mapping[str, str | int | float | bool]  # its hyperparameters, under KerasTuner's names, for people
    network: str  # see `models.stored`
    pixels: tuple[float, ...] = (0.0, 1.0)  # what 0 and 255 become before the layers of `build` see them, for people
    pretrained: tuple["PretrainedLayers", ...] = ()

    def __post_init__(self) -> None:
        if not self.network:
            raise ValueError(f"`network` of {self.name!r} must describe a Keras model, got an empty text")


ModelSpec = DenseSpec | CnnSpec | BackboneSpec | KerasTunerSpec


@dataclass(frozen=True, kw_only=True)
class AugmentSpec:
    """Random changes of training images. Zero turns one off; ranges are symmetric and uniform.

    Lengths are shares of the image side, so that they mean the same at every image size.
    """

    flip: float = 0.0  # probability of a left-right flip, which mirrors the heart
    rotation_deg: float = 0.0
    shift: float = 0.0
    shear_deg: float = 0.0
    zoom: float = 0.0  # 0.1: scale between 0.9 and 1.1
    aspect: float = 0.0  # 0.25: width and height are stretched apart by up to 1.25, either way
    contrast: float = 0.0  # 0.2: factor between 0.8 and 1.2 about the image mean
    brightness: float = 0.0  # 0.1: a tenth of the range of grey levels is added or taken away
    gamma: float = 0.0  # 0.5: exponent between 1 / 1.5 and 1.5
    black: float = 0.0  # 0.1: black is lifted by up to a tenth of the range, as where the background is grey
    blur: float = 0.0  # largest Gaussian radius; 0.01 is 2 pixels of 224
    sharpen: float = 0.0  # largest strength; 1: twice the detail finer than a hundredth of the side
    coarsen: float = 0.0  # largest detail that is lost by shrinking and enlarging; 0.02 leaves 50 pixels a side
    noise: float = 0.0  # largest deviation, of the range of grey levels
    border: float = 0.0  # largest width of a bar of one grey level along one side
    erase: float = 0.0  # largest side of a rectangle of one grey level anywhere: hides markers and single places
    jpeg: float = 0.0  # probability of a JPEG round trip at quality 30 to 90: hides compression shortcuts
    fixed_copies: int = 0  # 0: fresh every epoch; k: originals plus k copies drawn once, as the original project

    def __post_init__(self) -> None:
        for name, high in _AUGMENT_LIMITS.items():
            check_range(name, getattr(self, name), 0.0, high)
        check_range("fixed_copies", self.fixed_copies, 0, 10)

    @property
    def is_identity(self) -> bool:
        return not any(getattr(self, f.name) for f in fields(self) if f.name != "fixed_copies")


_AUGMENT_LIMITS = {
    "flip": 1.0,
    "rotation_deg": 180.0,
    "shift": 0.5,
    "shear_deg": 60.0,
    "zoom": 0.9,
    "aspect": 1.0,
    "contrast": 1.0,
    "brightness": 0.5,
    "gamma": 3.0,
    "black": 0.5,
    "blur": 0.1,
    "sharpen": 10.0,
    "coarsen": 0.2,
    "noise": 0.5,
    "border": 0.5,
    "erase": 0.9,
    "jpeg": 1.0,
}


_OPTIMIZER_SETTINGS = (
    *("nesterov", "beta_1", "beta_2", "epsilon", "amsgrad", "rho", "momentum", "centered", "initial_accumulator_value"),
    *("clipnorm", "clipvalue", "global_clipnorm"),
)


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """How a model is fitted: optimiser, schedule, batches, regularisation, stopping."""

    epochs: int = 20
    steps_per_epoch: int | None = None  # None: the whole training role
    batch_size: int = 64
    optimizer: Optimizer = "adam"
    optimizer_settings: Mapping[str, float | bool] = field(default_factory=dict)  # further ones of Keras, as `nesterov`
    learning_rate: float = 1e-3
    momentum: float = 0.0  # sgd only
    weight_decay: float = 0.0  # decoupled; not with adam
    schedule: Literal["constant", "plateau", "cosine", "keras"] = "plateau"
    keras_schedule: str = ""  # of schedule "keras": class and settings of a learning-rate schedule of Keras, as JSON
    warmup_epochs: float = 0.0
    plateau_patience: int = 7  # epochs without improvement of `monitor` before the rate is multiplied
    plateau_factor: float = 0.5
    class_weights: Literal["none", "balanced"] | tuple[float, ...] = "balanced"  # or two, of negative and positive;
    # 74 % of the archive's train folder is positive
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0  # how much less images count that are scored well (Lin et al. 2017, "Focal Loss"); 0: none
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    monitor: Literal["objective", "val_loss", "auc", "pauc"] = "objective"  # its pruning metric: what the study wants,
    # and smooth where recall comes in steps of 1/n. The loss is not that: half the trials train on weighted classes
    average: float = 0.0  # decay per step of the moving average of weights that is judged and kept; 0: the weights
    # themselves (Izmailov et al. 2018; Cha et al. 2021, SWAD: averages help on other people's images)
    patients: float = 1.0  # share of the training patients that this trial sees, drawn by its seed
    patience: int = 14  # epochs without improvement before training stops; the best weights are kept
    precision: Precision | Literal["auto"] = "float32"  # bfloat16: weights stay float32, the rest takes half the bytes;
    # fast where the hardware computes in it (AMX, GPUs since Ampere), slow elsewhere; auto: see `training/precision.py`

    def __post_init__(self) -> None:
        check_range("epochs", self.epochs, 1, 100_000)
        if self.steps_per_epoch is not None:
            check_range("steps_per_epoch", self.steps_per_epoch, 1, 1_000_000)
        check_range("batch_size", self.batch_size, 1, 65_536)
        check_choice("optimizer", self.optimizer, get_args(Optimizer))
        for name in self.optimizer_settings:
            check_choice("optimizer_settings", name, _OPTIMIZER_SETTINGS)
        check_range("learning_rate", self.learning_rate, 1e-8, 10.0)
        check_range("momentum", self.momentum, 0.0, 0.9999)
        check_range("weight_decay", self.weight_decay, 0.0, 1.0)
        check_choice("schedule", self.schedule, ("constant", "plateau", "cosine", "keras"))
        if (self.schedule == "keras") != bool(self.keras_schedule):
            raise ValueError("`keras_schedule` must be given with `schedule='keras'`, and with no other schedule")
        check_range("warmup_epochs", self.warmup_epochs, 0.0, float(self.epochs))
        check_range("plateau_patience", self.plateau_patience, 1, 100_000)
        check_range("plateau_factor", self.plateau_factor, 0.001, 0.999)
        _check_class_weights(self.class_weights)
        check_range("focal_gamma", self.focal_gamma, 0.0, 20.0)
        check_range("label_smoothing", self.label_smoothing, 0.0, 0.5)
        check_choice("monitor", self.monitor, ("objective", "val_loss", "auc", "pauc"))
        check_range("average", self.average, 0.0, 0.99999)
        check_range("patients", self.patients, 0.001, 1.0)
        check_range("patience", self.patience, 1, 100_000)
        check_choice("precision", self.precision, ("auto", *get_args(Precision)))


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """One trial: what is read, what is built, how it is trained."""

    model: ModelSpec
    data: DataSpec = field(default_factory=DataSpec)
    train: TrainSpec = field(default_factory=TrainSpec)

    def __post_init__(self) -> None:
        if isinstance(self.model, BackboneSpec):
            smallest_px = catalog.find(self.model.name).smallest_px
            if self.data.image_size_px < smallest_px:
                raise ValueError(
                    f"`image_size_px` must be at least {smallest_px} for {self.model.name}, "
                    f"got {self.data.image_size_px}"
                )
            if self.model.head_epochs >= self.train.epochs:
                raise ValueError(
                    f"`head_epochs` must be less than the {self.train.epochs} epochs, got {self.model.head_epochs}; "
                    "to train the head alone, leave `trainable_from` at None"
                )
        if isinstance(self.model, KerasTunerSpec) and self.train.precision == "mixed_bfloat16":
            raise ValueError(
                f"`precision` must be 'float32' for {self.model.name!r}, got {self.train.precision!r}: "
                "the layers of a KerasTuner model bring their own"
            )

    @property
    def digest(self) -> str:
        return codec.digest(self)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Which of its image sizes a trial is trained on, where it is tried on small images first, and for how long."""

    index: int = 0  # a later one goes on from the weights of the one before it
    until_epoch: int | None = None  # pause after so many epochs, earlier stages included; None: train to the end
    patients: float = 1.0  # share of the trial's own training patients that this stage sees


@dataclass(frozen=True, kw_only=True)
class ObjectiveSpec:
    """What a study maximises and under which ceiling on the false-negative rate (FNR).

    Recall is 1 − FNR at one threshold, so "highest recall under an FNR ceiling" alone is won by calling
    everyone ill; the specificity floor is what makes the default objective mean something.
    """

    kind: ObjectiveKind = "recall"
    fnr_ceiling: float = 0.03
    specificity_floor: float = 0.90
    shifts: tuple[str, ...] = ()  # of `shifts.ALL`: trials are judged on validation as it is and with each image under
    # one of these, pooled, so that one threshold has to serve both

    def __post_init__(self) -> None:
        if self.kind not in get_args(ObjectiveKind):
            raise ValueError(
                f"`kind` of the objective is unknown: {self.kind!r}{nearest(self.kind, get_args(ObjectiveKind))}"
            )
        check_range("fnr_ceiling", self.fnr_ceiling, 0.0001, 0.9999)
        check_range("specificity_floor", self.specificity_floor, 0.0, 0.9999)
        shifts.check(self.shifts)


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """How images get their roles. Shares are of the images that no official test folder claims.

    `per_image_random` leaks siblings of a patient across roles; it exists only to reproduce the original
    project's published numbers (80/10/10).
    """

    protocol: Literal["patient_grouped", "per_image_random"] = "patient_grouped"
    validation: float = 0.15  # the objective's recall comes in steps of 1/n positives: not too few
    calibration: float = 0.15  # 99 positives certify a 3 % ceiling at 95 % confidence only without a miss
    test: float = 0.15  # taken only where the source has no official test folder
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("protocol", self.protocol, ("patient_grouped", "per_image_random"))
        for name in ("validation", "test"):
            check_range(name, getattr(self, name), 0.01, 0.5)
        check_range("calibration", self.calibration, 0.0, 0.5)
        if self.validation + self.calibration + self.test > 0.9:
            raise ValueError("`validation` + `calibration` + `test` must leave at least 0.1 for training")


def smallest_px(model: ModelSpec) -> int:
    """Return the side of the smallest images that `model` can be built for; 1 where nothing is known of it."""
    if isinstance(model, BackboneSpec):
        own_px = catalog.find(model.name).smallest_px  # about the factor by which it shrinks images, too
        return own_px << len(model.filters)
    return 1 << len(model.filters) if isinstance(model, CnnSpec) else 1


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise `ValueError` unless `value` is a number in [`low`, `high`]; NaN is not."""
    ok = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if ok and isinstance(low, int) and isinstance(high, int):
        ok = isinstance(value, int)
    if not ok:
        kind = "a whole number" if isinstance(low, int) and isinstance(high, int) else "a number"
        raise ValueError(f"`{name}` must be {kind} in [{low}, {high}], got {value!r}")


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise `ValueError` unless `value` is one of `choices`."""
    options = tuple(choices)
    if value not in options:
        raise ValueError(f"`{name}` must be one of {list(options)}, got {value!r}")


def _check_class_weights(value: object) -> None:
    weights = value if isinstance(value, tuple) else ()
    if value not in ("none", "balanced") and not (len(weights) == 2 and all(w > 0 for w in weights)):
        raise ValueError(
            f"`class_weights` must be 'none', 'balanced', or two weights above 0 (negative, positive), got {value!r}"
        )


def _check_positive_ints(name: str, values: tuple[int, ...], at_least: int = 0) -> None:
    ok = isinstance(values, tuple) and all(isinstance(v, int) and 1 <= v <= LARGEST_LAYER for v in values)
    if not ok or len(values) < at_least:
        what = f"a tuple of at least {at_least} whole numbers from 1 to {LARGEST_LAYER}"
        raise ValueError(f"`{name}` must be {what}, got {str(values)[:200]}")


def _check_head(spec: DenseSpec | CnnSpec | BackboneSpec) -> None:
    _check_positive_ints("units", spec.units, at_least=1 if isinstance(spec, DenseSpec) else 0)
    check_choice("activation", spec.activation, get_args(Activation))
    if not (isinstance(spec.dropout, int | float) and 0 <= spec.dropout < 1):
        raise ValueError(f"`dropout` must be in [0, 1), got {spec.dropout!r}")
    check_range("l2", spec.l2, 0.0, 1.0)
