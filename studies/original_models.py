"""The five models of the original project, with their published training settings, as points of one space.

    pneumo launch original_models --data FOLDER      # patient-grouped roles; the published, leaking protocol:
    pneumo launch original_models --data FOLDER --protocol per_image_random --name leaking

Published (random per-image split, 256 px): accuracy 92.15, 96.08, 95.05, 95.90 and 95.73 %, false negatives
5.84, 2.57, 3.50, 3.50 % (the fifth is not given). Models 3 to 5 need the ImageNet weights of VGG19.
The original stated 150 epochs for some models and 100 for others; here all have 150 as an upper bound, which
early stopping (14 stale epochs) ends.
"""

from dataclasses import replace

from pneumo_core.specs import AugmentSpec, DataSpec, ModelSpec, TrainSpec, TrialSpec
from spaces import Prefixed, Suggest, backbone, cnn, dense, training
from spaces.base import Scalar
from studies.spec import BudgetSpec, PrunerSpec, StudySpec

# The original wrote one augmented copy of the training set to disk and trained on both.
PUBLISHED_AUGMENTATION = AugmentSpec(flip=0.5, rotation_deg=40, shift=0.1, shear_deg=6, zoom=0.1, fixed_copies=1)


def space(suggest: Suggest, *, image_size_px: int = 256) -> TrialSpec:
    data = DataSpec(image_size_px=image_size_px, channels=3)
    return TrialSpec(data=data, model=_model(suggest), train=_train(suggest))


def _model(suggest: Suggest) -> ModelSpec:
    family = suggest.suggest_categorical("family", ["dense", "cnn", "backbone"])
    if family == "dense":
        return dense(Prefixed(suggest, "dense_"))
    if family == "cnn":
        return cnn(Prefixed(suggest, "cnn_"))
    return backbone(Prefixed(suggest, "backbone_"), names=("VGG19",), fine_tune=False)


def _train(suggest: Suggest) -> TrainSpec:
    drawn = training(suggest, epochs=150, steps_per_epoch=100, augment=PUBLISHED_AUGMENTATION)
    return replace(drawn, monitor="val_loss")  # as published


_PLAIN: dict[str, Scalar] = {"activation": "relu", "dropout": 0.0, "use_l2": False}
_TRAINING: dict[str, Scalar] = {
    "optimizer": "sgd",
    "momentum": 0.0,
    "learning_rate": 0.01,
    "schedule": "plateau",
    "batch_size": 50,
    "class_weights": "balanced",
    "label_smoothing": 0.0,
}


def _point(family: str, **model: Scalar) -> dict[str, Scalar]:
    named = {f"{family}_{name}": value for name, value in (_PLAIN | model).items()}
    return {"family": family} | named | _TRAINING


def _units(*widths: int) -> dict[str, int]:
    return {"n_dense_layers": len(widths)} | {f"units_{i + 1}": width for i, width in enumerate(widths)}


def _vgg19(*filters: int, units: tuple[int, ...]) -> dict[str, Scalar]:
    convolutions = {f"filters_{i + 1}": width for i, width in enumerate(filters)}
    return _point(
        "backbone",
        backbone="VGG19",
        backbone_training="frozen",
        head="flatten",
        n_convolutions=len(filters),
        **convolutions,
        **_units(*units),
    )


MODELS = (
    _point("dense", normalization="none", **_units(25, 50)) | {"learning_rate": 0.001, "batch_size": 100},
    _point(
        "cnn",
        n_blocks=1,
        filters_1=256,
        convolutions_per_block=1,
        kernel_px=3,
        pooling="max",
        normalization="none",
        residual=False,
        head="flatten",
        **_units(25, 50),
    ),
    _vgg19(units=(25, 50)),
    _vgg19(256, units=(25, 50)),
    _vgg19(128, 256, units=(25, 50, 75, 100)),
)

STUDY = StudySpec(
    name="original_models",
    description="the original project's five models with their published settings, 256 px",
    space=space,
    pruner=PrunerSpec(kind="none"),
    budget=BudgetSpec(trials=len(MODELS)),
    enqueue=MODELS,
)
