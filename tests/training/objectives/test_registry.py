from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from training.errors import TrainingError
from training.objectives import arbitrary_pairs, groups, mixing, prototypes
from training.objectives import contrastive as contrast
from training.objectives import distillation as distil
from training.objectives.registry import OF_WHOLE, WholeBatch, check_objectives
from training.recipe import Phase, Recipe


def unit(count, width=6):
    return F.normalize(torch.randn(count, width, dtype=torch.float64), dim=-1)


@pytest.fixture
def whole():
    torch.manual_seed(0)
    return WholeBatch(
        scale=torch.tensor(9.0, dtype=torch.float64),
        image=unit(4),
        text=unit(4),
        picture=torch.tensor([0, 1, 0, 2]),
        meaning=unit(4),
        sentence=unit(3),
        sentence_meaning=unit(3),
        probabilities=torch.softmax(torch.randn(4, 5, dtype=torch.float64), dim=-1),
        class_vectors=unit(5),
        teacher_image=unit(4),
        teacher_scale=torch.tensor(30.0),
        shares=torch.rand(4, 2),
        gate=torch.rand(4, 6, dtype=torch.float64),
        prototypes=unit(3),
        image_prototypes=unit(3),
        text_prototypes=unit(3),
        centroids=unit(3),
        image_key=unit(4),
        text_key=unit(4),
        image_queue=unit(7),
        text_queue=unit(7),
    )


def expected(name, batch):
    w = SimpleNamespace(**batch)
    soft = contrast.soft_targets(w.meaning, 0.05)
    same = contrast.same_picture(w.picture)
    nearest = torch.cdist(w.meaning, w.centroids).argmin(1)
    pairs = ((w.image, w.text_key, w.text_queue), (w.text, w.image_key, w.image_queue))
    return {
        "contrastive": lambda: contrast.contrastive_loss(w.image, w.text, w.scale, contrast.same_picture_targets(w.picture)),
        "soft_contrastive": lambda: contrast.contrastive_loss(w.image, w.text, w.scale, soft),
        "contrastive_to_teacher": lambda: contrast.contrastive_loss(w.image, w.meaning, w.scale, soft),
        "decoupled_contrastive": lambda: contrast.decoupled_contrastive_loss(w.image, w.text, w.scale),
        "weighted_decoupled_contrastive": lambda: contrast.decoupled_contrastive_loss(w.image, w.text, w.scale, 0.5),
        "continuously_weighted_contrastive": lambda: contrast.continuously_weighted_contrastive_loss(
            w.image, w.text, w.scale, contrast.similarity_of(w.meaning)
        ),
        "attraction_repulsion": lambda: groups.attraction_repulsion_loss(w.image, w.text, same),
        "group_ordering": lambda: groups.group_ordering_loss(w.image, w.text, same),
        "mixed_contrastive": lambda: mixing.mixed_contrastive_loss(
            w.image, w.text, w.scale, contrast.same_picture_targets(w.picture), w.shares
        ),
        "arbitrary_pairs": lambda: arbitrary_pairs.arbitrary_pairs_loss(
            w.image, w.text, w.scale, w.gate, arbitrary_pairs.share_a_label(w.meaning, w.picture)
        ),
        "swapped_prototypes": lambda: prototypes.swapped_prototypes_loss(w.image, w.text, w.prototypes),
        "clustered_prototypes": lambda: prototypes.clustered_prototypes_loss(
            w.image, w.text, w.image_prototypes, w.text_prototypes, nearest
        ),
        "momentum_contrast": lambda: sum(contrast.momentum_contrast_loss(*one, w.scale) for one in pairs) / 2,
        "kl_alignment": lambda: contrast.kl_alignment_loss(*(contrast.retrieval_logits(*one, w.scale) for one in pairs)),
        "sentence_distillation": lambda: distil.imitation_loss(torch.cat([w.text, w.sentence]), torch.cat([w.meaning, w.sentence_meaning])),
        "image_distillation": lambda: distil.imitation_loss(w.image, w.teacher_image),
        "relational_distillation": lambda: distil.relational_distillation_loss(
            w.image, w.text, w.teacher_image, w.meaning, scale=w.scale, teacher_scale=torch.tensor(30.0)
        ),
        "class_distillation": lambda: distil.class_distillation_loss(w.image, w.class_vectors, w.probabilities, torch.tensor(20.0)),
    }[name]()


@pytest.mark.parametrize("name", OF_WHOLE)
def test_each_name_computes_its_loss_from_the_right_inputs(name, whole):
    assert_close(OF_WHOLE[name](whole), expected(name, whole))


@pytest.mark.parametrize(
    "name",
    [
        "soft_contrastive",
        "contrastive_to_teacher",
        "continuously_weighted_contrastive",
        "arbitrary_pairs",
        "clustered_prototypes",
        "sentence_distillation",
        "class_distillation",
        "image_distillation",
        "relational_distillation",
    ],
)
def test_an_objective_without_its_teacher_says_which_setting_is_missing(name):
    with pytest.raises(TrainingError, match=r"Name an? .*teacher"):
        check_objectives(recipe({name: 1.0}))


def recipe(objectives, *, batch=4, sentences=0, **teachers):
    return Recipe(phases=(Phase(steps=1, batch=batch, sentences=sentences, objectives=objectives),), **teachers)


def test_an_unknown_objective_is_refused_with_the_known_ones():
    with pytest.raises(TrainingError, match=r"no objective 'contrast'\. Allowed: .*captioning.*contrastive"):
        check_objectives(recipe({"captioning": 1.0, "contrast": 1.0}))


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("language", "sentences"),
        ("soft_contrastive", "sentence_teacher"),
        ("arbitrary_pairs", "sentence_teacher"),
        ("clustered_prototypes", "sentence_teacher"),
        ("class_distillation", "class_teacher"),
        ("image_distillation", "image_teacher"),
    ],
)
def test_missing_inputs_of_an_objective_are_reported_before_the_run(name, missing):
    with pytest.raises(TrainingError, match=rf"Phase 'training' gives {name} no .*{missing}"):
        check_objectives(recipe({name: 1.0}))
    check_objectives(recipe({name: 1.0}, sentences=3, sentence_teacher="minilm", class_teacher="a", image_teacher="b"))


@pytest.mark.parametrize("name", ["masked_words", "group_ordering", "mixed_contrastive", "swapped_prototypes"])
def test_an_objective_of_pictures_is_refused_in_a_phase_without_pictures(name):
    with pytest.raises(TrainingError, match=rf"gives {name} no 'text'\. Give its phase a batch of pictures"):
        check_objectives(recipe({name: 1.0}, batch=0, sentences=3))
