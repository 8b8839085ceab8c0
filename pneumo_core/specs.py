"""What one trial is, as data: preprocessing, model, training, and the objective that judges it.

Every spec is frozen, keyword-only, validated when made, and travels as JSON (`codec`). A default lives
here once, its reason beside it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, get_args

from pneumo_core import catalog, codec, shifts
from pneumo_core.checked import Checked, Range, check_choice, check_range
from pneumo_core.errors import nearest

Activation = Literal["relu", "gelu", "silu", "elu", "tanh"]
Normalization = Literal["none", "batch", "layer"]
Resize = Literal["squash", "pad"]
Precision = Literal["float32", "mixed_bfloat16"]
Optimizer = Literal["sgd", "adam", "adamw", "rmsprop", "nadam", "lion", "adamax", "adagrad"]
WEIGHT_HOSTS = ("https://storage.googleapis.com/", "https://github.com/fchollet/", "https://github.com/keras-team/")
ObjectiveKind = Literal["recall", "specificity", "pauc", "auc", "recall_and_specificity"]
LARGEST_LAYER = 2**20  # units or filters: more are refused before they are built


@dataclass(frozen=True)
class _Sizes:
    """Units or filters of layers."""

    at_least: int = 0

    def check(self, name: str, value: Any) -> None:
        ok = isinstance(value, tuple) and all(isinstance(v, int) and 1 <= v <= LARGEST_LAYER for v in value)
        if not ok or len(value) < self.at_least:
            what = f"a tuple of at least {self.at_least} whole numbers from 1 to {LARGEST_LAYER}"
            raise ValueError(f"`{name}` must be {what}, got {str(value)[:200]}")


class _Dropout:
    def check(self, name: str, value: Any) -> None:
        if not (isinstance(value, int | float) and 0 <= value < 1):
            raise ValueError(f"`{name}` must be in [0, 1), got {value!r}")


Sizes = Annotated[tuple[int, ...], _Sizes()]
Dropout = Annotated[float, _Dropout()]
Share = Annotated[float, Range(0.0, 1.0)]
SomeShare = Annotated[float, Range(0.001, 1.0)]
Half = Annotated[float, Range(0.0, 0.5)]
Epochs = Annotated[int, Range(1, 100_000)]


@dataclass(frozen=True, kw_only=True)
class DataSpec(Checked):
    """How a decoded X-ray becomes an array of `image_size_px` × `image_size_px` × `channels`, uint8."""

    image_size_px: Annotated[int, Range(8, 1024)] = 64
    channels: Literal[1, 3] = 1  # X-rays are grey; a pretrained backbone repeats the channel inside the model
    resize: Resize = "squash"  # "pad" keeps the aspect ratio, itself a shortcut on this data (AUC 0.875)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.image_size_px, self.image_size_px, self.channels)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Return what networks take: maps, or for a dense one flat pixels."""
        return self.shape, (math.prod(self.shape),)


@dataclass(frozen=True, kw_only=True)
class DenseSpec(Checked):
    """A multi-layer perceptron over flattened pixels."""

    kind: Literal["dense"] = "dense"
    units: Annotated[tuple[int, ...], _Sizes(1)] = (64,)
    activation: Activation = "relu"
    normalization: Normalization = "none"
    dropout: Dropout = 0.0
    l2: Share = 0.0


@dataclass(frozen=True, kw_only=True)
class CnnSpec(Checked):
    """Convolutional blocks, each halving the image, then a head."""

    kind: Literal["cnn"] = "cnn"
    filters: Annotated[tuple[int, ...], _Sizes(1)] = (16, 32, 64)  # one entry a block
    convolutions_per_block: Annotated[int, Range(1, 4)] = 1
    kernel_px: Literal[1, 3, 5, 7] = 3
    pooling: Literal["max", "average", "stride"] = "max"
    normalization: Normalization = "none"
    residual: bool = False
    head: Literal["flatten", "average"] = "flatten"
    units: Sizes = ()  # dense layers between head and output
    activation: Activation = "relu"
    dropout: Dropout = 0.0
    l2: Share = 0.0


@dataclass(frozen=True, kw_only=True)
class BackboneSpec(Checked):
    """A named image network, frozen or fine-tuned from a layer on, optional convolutions, and a head."""

    kind: Literal["backbone"] = "backbone"
    name: str = "EfficientNetLite0"
    weights: Literal["imagenet", "none"] = "imagenet"
    trainable_from: str | None = None  # None: frozen; "all": whole network; "stage-2": the last two stages, each of
    # maps of one size; else the name of the first trainable layer or block ("block5" of VGG16)
    head_epochs: Annotated[int, Range(0, 99_999)] = 0  # first epochs that train the head only, so that its first large
    # gradients spoil no weights
    train_norms: bool = False  # pretrained batch normalisation that is fine-tuned learns from each batch; else it stays
    # in inference mode, its statistics being better than those of some thousand images (untrained, it always learns)
    backbone_rate: Annotated[float, Range(1e-6, 1.0)] = 1.0  # factor of the learning rate in the pretrained layers
    layer_decay: Annotated[float, Range(0.01, 1.0)] = 1.0  # a further factor for each stage down from the last (Howard
    # & Ruder 2018: 1 / 2.6)
    filters: Sizes = ()  # optional extra 3×3 convolutions, each followed by 2×2 max pooling
    head: Literal["flatten", "average"] = "average"
    units: Sizes = ()
    activation: Activation = "relu"
    dropout: Dropout = 0.0
    l2: Share = 0.0
    views: Annotated[int, Range(0, 1000)] = 8  # augmented and partly frozen: passes take turns among so many changed
    # versions of the images, whose features are kept. A version costs one pass through that part, so that 20 epochs
    # cost 8; 0: none is kept

    def __post_init__(self) -> None:
        catalog.find(self.name)
        super().__post_init__()
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
class AugmentSpec(Checked):
    """Random changes of training images. Zero turns one off; ranges are symmetric and uniform.

    Lengths are shares of the image side, so that they mean the same at every image size.
    """

    flip: Share = 0.0  # probability of a left-right flip, which mirrors the heart
    rotation_deg: Annotated[float, Range(0.0, 180.0)] = 0.0
    shift: Half = 0.0
    shear_deg: Annotated[float, Range(0.0, 60.0)] = 0.0
    zoom: Annotated[float, Range(0.0, 0.9)] = 0.0  # 0.1: scale between 0.9 and 1.1
    crop: Annotated[float, Range(0.0, 0.9)] = 0.0  # 0.3: a window of 0.7 to 1 of the side, anywhere, fills the picture
    aspect: Share = 0.0  # 0.25: width and height are stretched apart by up to 1.25, either way
    contrast: Share = 0.0  # 0.2: factor between 0.8 and 1.2 about the image mean
    brightness: Half = 0.0  # 0.1: a tenth of the range of grey levels is added or taken away
    gamma: Annotated[float, Range(0.0, 3.0)] = 0.0  # 0.5: exponent between 1 / 1.5 and 1.5
    black: Half = 0.0  # 0.1: black is lifted by up to a tenth of the range, as where the background is grey
    blur: Annotated[float, Range(0.0, 0.1)] = 0.0  # largest Gaussian radius; 0.01 is 2 pixels of 224
    sharpen: Annotated[float, Range(0.0, 10.0)] = 0.0  # largest strength; 1: twice the detail finer than a hundredth of
    # the side
    coarsen: Annotated[float, Range(0.0, 0.2)] = 0.0  # largest detail that is lost by shrinking and enlarging; 0.02
    # leaves 50 pixels a side
    noise: Half = 0.0  # largest deviation, of the range of grey levels
    border: Half = 0.0  # largest width of a bar of one grey level along one side
    erase: Annotated[float, Range(0.0, 0.9)] = 0.0  # largest side of a rectangle of one grey level anywhere: hides
    # markers and single places
    jpeg: Share = 0.0  # probability of a JPEG round trip at quality 30 to 90: hides compression shortcuts
    fixed_copies: Annotated[int, Range(0, 10)] = 0  # 0: fresh every epoch; k: originals plus k copies drawn once, as
    # the original project

    @property
    def is_identity(self) -> bool:
        return not any(getattr(self, f.name) for f in fields(self) if f.name != "fixed_copies")


_OPTIMIZER_SETTINGS = (
    *("nesterov", "beta_1", "beta_2", "epsilon", "amsgrad", "rho", "momentum", "centered", "initial_accumulator_value"),
    *("clipnorm", "clipvalue", "global_clipnorm"),
)


@dataclass(frozen=True, kw_only=True)
class TrainSpec(Checked):
    """How a model is fitted: optimiser, schedule, batches, regularisation, stopping."""

    epochs: Epochs = 20
    steps_per_epoch: Annotated[int, Range(1, 1_000_000)] | None = None  # None: the whole training role
    batch_size: Annotated[int, Range(1, 65_536)] = 64
    optimizer: Optimizer = "adam"
    optimizer_settings: Mapping[str, float | bool] = field(default_factory=dict)  # further ones of Keras, as `nesterov`
    learning_rate: Annotated[float, Range(1e-8, 10.0)] = 1e-3
    momentum: Annotated[float, Range(0.0, 0.9999)] = 0.0  # sgd only
    weight_decay: Share = 0.0  # decoupled; not with adam
    schedule: Literal["constant", "plateau", "cosine", "keras"] = "plateau"
    keras_schedule: str = ""  # of schedule "keras": class and settings of a learning-rate schedule of Keras, as JSON
    warmup_epochs: float = 0.0
    plateau_patience: Epochs = 7  # epochs without improvement of `monitor` before the rate is multiplied
    plateau_factor: Annotated[float, Range(0.001, 0.999)] = 0.5
    class_weights: Literal["none", "balanced"] | tuple[float, ...] = "balanced"  # or two, of negative and positive;
    # 74 % of the archive's train folder is positive
    label_smoothing: Half = 0.0
    focal_gamma: Annotated[float, Range(0.0, 20.0)] = 0.0  # how much less images count that are scored well (Lin et al.
    # 2017, "Focal Loss"); 0: none
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    monitor: Literal["objective", "val_loss", "auc", "pauc"] = "objective"  # its pruning metric: what the study wants,
    # and smooth where recall comes in steps of 1/n. The loss is not that: half the trials train on weighted classes
    average: Annotated[float, Range(0.0, 0.99999)] = 0.0  # decay per step of the moving average of weights that is
    # judged and kept; 0: the weights themselves (Izmailov et al. 2018; Cha et al. 2021, SWAD: averages help on other
    # people's images)
    patients: SomeShare = 1.0  # share of the training patients that this trial sees, drawn by its seed
    patience: Epochs = 14  # epochs without improvement before training stops; the best weights are kept
    precision: Literal["auto", Precision] = "float32"  # bfloat16: weights stay float32, the rest takes half the bytes;
    # fast where the hardware computes in it (AMX, GPUs since Ampere), slow elsewhere; auto: see `training/precision.py`

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.optimizer_settings:
            check_choice("optimizer_settings", name, _OPTIMIZER_SETTINGS)
        if (self.schedule == "keras") != bool(self.keras_schedule):
            raise ValueError("`keras_schedule` must be given with `schedule='keras'`, and with no other schedule")
        check_range("warmup_epochs", self.warmup_epochs, 0.0, float(self.epochs))
        _check_class_weights(self.class_weights)


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

    index: int = 0  # a later one continues from the weights of the one before it
    until_epoch: int | None = None  # pause after so many epochs, earlier stages included; None: train to the end
    patients: float = 1.0  # share of the trial's own training patients that this stage sees


@dataclass(frozen=True, kw_only=True)
class ObjectiveSpec(Checked):
    """What a study maximises and under which ceiling on the false-negative rate (FNR).

    Recall is 1 − FNR at one threshold, so calling everyone ill would win "highest recall under an FNR ceiling"; the
    specificity floor prevents this.
    """

    kind: ObjectiveKind = "recall"
    fnr_ceiling: Annotated[float, Range(0.0001, 0.9999)] = 0.03
    specificity_floor: Annotated[float, Range(0.0, 0.9999)] = 0.90
    shifts: tuple[str, ...] = ()  # of `shifts.ALL`: trials are judged on validation as it is and with each image under
    # one of these, pooled, so that one threshold has to serve both

    def __post_init__(self) -> None:
        if self.kind not in get_args(ObjectiveKind):
            raise ValueError(
                f"`kind` of the objective is unknown: {self.kind!r}{nearest(self.kind, get_args(ObjectiveKind))}"
            )
        super().__post_init__()
        shifts.check(self.shifts)


@dataclass(frozen=True, kw_only=True)
class SplitSpec(Checked):
    """How images get their roles. Shares are of the images that no official test folder claims.

    `per_image_random` leaks siblings of a patient across roles; it exists only to reproduce the original
    project's published numbers (80/10/10).
    """

    protocol: Literal["patient_grouped", "per_image_random"] = "patient_grouped"
    validation: Annotated[float, Range(0.01, 0.5)] = 0.15  # the objective's recall comes in steps of 1/n positives: not
    # too few
    calibration: Half = 0.15  # 99 positives certify a 3 % ceiling at 95 % confidence only without a miss
    test: Annotated[float, Range(0.01, 0.5)] = 0.15  # taken only where the source has no official test folder
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation + self.calibration + self.test > 0.9:
            raise ValueError("`validation` + `calibration` + `test` must leave at least 0.1 for training")


def smallest_px(model: ModelSpec) -> int:
    """Return the side of the smallest images that `model` can be built for; 1 where nothing is known of it."""
    if isinstance(model, BackboneSpec):
        own_px = catalog.find(model.name).smallest_px  # about the factor by which it shrinks images, too
        return own_px << len(model.filters)
    return 1 << len(model.filters) if isinstance(model, CnnSpec) else 1


def _check_class_weights(value: object) -> None:
    weights = value if isinstance(value, tuple) else ()
    if value not in ("none", "balanced") and not (len(weights) == 2 and all(w > 0 for w in weights)):
        raise ValueError(
            f"`class_weights` must be 'none', 'balanced', or two weights above 0 (negative, positive), got {value!r}"
        )
