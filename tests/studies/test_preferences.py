"""What a study prefers among trials that validation cannot rank."""

from dataclasses import replace

import pytest

from pneumo_core.specs import AugmentSpec, BackboneSpec, CnnSpec, DataSpec, TrainSpec, TrialSpec
from spaces.base import Suggest
from spaces.training import augmented
from studies import preferences
from studies.spec import StudySpec

PLAIN = TrialSpec(data=DataSpec(image_size_px=64), model=CnnSpec(filters=(4,)), train=TrainSpec(epochs=1))


def of(name: str, spec: TrialSpec) -> float:
    [found] = preferences.of(spec, [name])
    return found


def test_each_preference_orders_trials_by_what_it_names() -> None:
    pretrained = replace(PLAIN, model=BackboneSpec(name="EfficientNetLite0"))
    larger = replace(PLAIN, data=DataSpec(image_size_px=96))
    longer = replace(PLAIN, train=TrainSpec(epochs=2))
    strengths = [
        of("more_augmentation", replace(PLAIN, train=replace(PLAIN.train, augment=augment)))
        for augment in (
            AugmentSpec(),
            AugmentSpec(contrast=0.1),
            augmented(geometric=0.5, photometric=0.5, sharpness=0.5),
            augmented(geometric=1, photometric=0.5, sharpness=0.5),
            augmented(geometric=1, photometric=1, sharpness=1),
        )
    ]

    assert of("pretrained", pretrained) > of("pretrained", PLAIN)
    assert of("larger_images", larger) > of("larger_images", PLAIN)
    assert of("more_epochs", longer) > of("more_epochs", PLAIN)
    assert strengths == sorted(set(strengths))
    assert (strengths[0], strengths[-1]) == (0, 1)


def test_a_study_states_its_order_and_a_misspelled_one_is_refused() -> None:
    def space(_: Suggest) -> TrialSpec:
        return PLAIN

    assert preferences.of(PLAIN, StudySpec(name="s", space=space, prefer=preferences.STANDARD).prefer) == [0, 64, 0]
    with pytest.raises(ValueError, match=r"`prefer` .* got 'larger_image'; did you mean 'larger_images'"):
        StudySpec(name="s", space=space, prefer=("larger_image",))
