"""The study to start with: pretrained EfficientNet-Lites and small networks of our own, judged under shifts.

    pneumo launch pneumonia --data FOLDER --timeout 15m
    pneumo finalize pneumonia --data FOLDER --out bundle       # the average of five of its networks, certified

Inside one archive all images look alike, and validation there ranks noise. So trials are judged on validation images as
they are and as other hospitals might have sent them, every network is trained under changes of that kind, and the
bundle averages several different ones. The queued points come first, the cheap ones before the others: good settings
that differ in network, image size, depth of fine-tuning, patients seen and augmentation. `docs/results.md` has
the results.
"""

from collections.abc import Mapping

from pneumo_core.specs import BackboneSpec, DataSpec, ModelSpec, TrainSpec, TrialSpec
from spaces import Prefixed, Suggest, augmentation, cnn
from spaces.base import Scalar
from studies.spec import UNDER_SHIFTS, BudgetSpec, PrunerSpec, SamplerSpec, StudySpec

LITES = ("EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2")
BATCH = 32
LEAST_AUGMENTATION = 0.4  # below it validation rises, and what networks keep elsewhere falls
STEPS_PER_EPOCH = 32  # an epoch is 1,024 images, whatever part of the patients a trial sees: it is judged as often


def space(suggest: Suggest) -> TrialSpec:
    network = suggest.suggest_categorical("network", ["cnn", *LITES])
    return TrialSpec(
        data=DataSpec(image_size_px=suggest.suggest_categorical("image_size_px", [96, 128, 160, 192, 224])),
        model=cnn(Prefixed(suggest, "cnn_"), min_blocks=3, max_blocks=5, max_first_filters=24, max_filters=128)
        if network == "cnn"
        else _pretrained(suggest, network),
        train=_training(suggest, network),
    )


def _pretrained(suggest: Suggest, network: str) -> ModelSpec:
    trained = suggest.suggest_categorical("trained", ["frozen", "stage-1", "stage-2", "stage-3"])
    tuned = trained != "frozen"
    return BackboneSpec(
        name=network,
        trainable_from=trained if tuned else None,
        backbone_rate=suggest.suggest_float("backbone_rate", 0.05, 1.0, log=True) if tuned else 1.0,
        dropout=suggest.suggest_float("dropout", 0.0, 0.5),
    )


def _training(suggest: Suggest, network: str) -> TrainSpec:
    rate = (3e-4, 1e-2) if network == "cnn" else (2e-4, 5e-3)
    return TrainSpec(
        epochs=suggest.suggest_int("epochs", 6, 20),
        steps_per_epoch=STEPS_PER_EPOCH,
        batch_size=BATCH,
        optimizer="adamw",
        learning_rate=suggest.suggest_float("learning_rate", *rate, log=True)
        if network != "cnn"
        else suggest.suggest_float("cnn_learning_rate", *rate, log=True),
        weight_decay=1e-2,
        schedule="cosine",
        warmup_epochs=1.0,  # without, two of eleven trainings of this kind collapsed
        patience=8,
        label_smoothing=suggest.suggest_float("label_smoothing", 0.0, 0.1),
        average=0.98,
        patients=suggest.suggest_categorical("patients", [0.25, 0.5, 1.0]),
        augment=augmentation(suggest, least=LEAST_AUGMENTATION),
        precision="auto",
    )


def _point(network: str, image_size_px: int, trained: str, epochs: int, **other: Scalar) -> Mapping[str, Scalar]:
    settings: dict[str, Scalar] = {
        "network": network,
        "image_size_px": image_size_px,
        "trained": trained,
        "epochs": epochs,
        "dropout": 0.2,
        "learning_rate": 1e-3,
        "label_smoothing": 0.02,
        "patients": 1.0,
        "augment_geometric": 0.7,
        "augment_photometric": 0.6,
        "augment_sharpness": 1.0,
        "augment_flip": False,
    }
    tuned: dict[str, Scalar] = {} if trained == "frozen" else {"backbone_rate": 0.5}
    return settings | tuned | other


POINTS = (  # the cheap ones first; a quarter of an hour on two cores ends with those of eight epochs
    _point("EfficientNetLite0", 128, "frozen", 8, learning_rate=3e-3, augment_sharpness=0.4),
    _point("EfficientNetLite0", 96, "stage-2", 8),
    _point("EfficientNetLite0", 96, "stage-2", 8, augment_photometric=0.4, augment_flip=True),
    _point("EfficientNetLite0", 96, "stage-2", 8, augment_geometric=0.6, augment_sharpness=0.7),
    _point("EfficientNetLite1", 96, "stage-2", 8),
    _point("EfficientNetLite0", 128, "stage-2", 8),
    _point("EfficientNetLite0", 96, "stage-2", 12, augment_geometric=0.6),
    _point("EfficientNetLite1", 96, "stage-2", 8, augment_photometric=0.4, augment_flip=True),
    _point("EfficientNetLite0", 128, "stage-2", 8, augment_photometric=0.4, augment_flip=True),
    _point("EfficientNetLite2", 96, "stage-2", 8, augment_sharpness=0.7),
    _point("EfficientNetLite1", 128, "stage-2", 8, augment_flip=True),
    # Of more epochs, for those with an hour and more.
    _point("EfficientNetLite0", 128, "stage-2", 12, augment_photometric=0.4),
    _point("EfficientNetLite2", 128, "stage-2", 12, augment_flip=True),
    _point("EfficientNetLite0", 160, "stage-2", 12, augment_photometric=0.7, augment_flip=True),
    _point("EfficientNetLite1", 128, "stage-2", 16, augment_photometric=0.4),
    _point("EfficientNetLite0", 128, "stage-3", 12, augment_flip=True),
    _point("EfficientNetLite0", 128, "stage-2", 20, augment_flip=True),
    _point("EfficientNetLite1", 160, "stage-2", 16, augment_geometric=0.6),
    _point("EfficientNetLite2", 160, "stage-2", 16, augment_photometric=0.4),
    _point("EfficientNetLite0", 192, "stage-2", 16, augment_sharpness=0.7),
    _point("EfficientNetLite2", 192, "stage-2", 16, augment_flip=True),
    _point("EfficientNetLite1", 192, "stage-2", 16, augment_photometric=0.4, augment_flip=True),
    _point("EfficientNetLite0", 224, "stage-2", 16),
)

STUDY = StudySpec(
    name="pneumonia",
    description="EfficientNet-Lite 0 to 2 and small networks, 96 to 224 px, judged under shifts",
    space=space,
    objective=UNDER_SHIFTS,
    prefer=("pretrained", "more_epochs", "larger_images"),
    sampler=SamplerSpec(n_startup_trials=len(POINTS)),
    pruner=PrunerSpec(n_startup_trials=len(POINTS)),
    budget=BudgetSpec(trials=60),
    enqueue=POINTS,
)
