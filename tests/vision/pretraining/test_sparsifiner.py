"""Losses and stages of Sparsifiner's training."""

import pytest
import torch

from vision.backbones.sparsifiner import Sparsifiner
from vision.pretraining.sparsifiner import (
    DISTILLATION,
    JOINT,
    RECONSTRUCTION,
    Stage,
    cosine_schedule,
    enter,
    sparsifiner_loss,
    teach,
)

SIZE = {"img_size": 64, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}


@pytest.fixture
def models() -> tuple[Sparsifiner, Sparsifiner]:
    """A student and the dense teacher with its weights."""
    torch.manual_seed(0)
    student = Sparsifiner(**SIZE, predictor={"coefficient_topk": 2}).train()
    for parameter in student.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    teacher = Sparsifiner(**SIZE, mode="dense").eval()
    missing = teacher.load_state_dict(student.state_dict(), strict=False).missing_keys
    assert missing == []
    return student, teacher


def step(student: Sparsifiner, teacher: Sparsifiner, stage: Stage) -> dict[str, torch.Tensor]:
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    target = torch.eye(5)[:4]
    loss, parts = sparsifiner_loss(student.trace(x), teach(teacher, x), target, stage.weights)
    torch.testing.assert_close(loss, torch.stack(list(parts.values())).sum())
    loss.backward()
    return parts


def test_predictors_learn_to_reconstruct(models):
    student, teacher = models
    before = {n: p.clone() for n, p in student.named_parameters()}
    optimizer = torch.optim.AdamW(enter(student, RECONSTRUCTION), lr=1e-2)
    losses = []
    for _ in range(30):
        losses.append(step(student, teacher, RECONSTRUCTION)["attn_recon"].item())
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.5 * losses[0]
    for name, parameter in student.named_parameters():
        assert parameter.equal(before[name]) == (".mask_predictor." not in name)


def test_distillation_trains_the_backbone_only(models):
    student, teacher = models
    trained = enter(student, DISTILLATION)
    parts = step(student, teacher, DISTILLATION)
    assert set(parts) == {"cls", "cls_distill", "token_distill", "attn_self_distill"}
    assert len(trained) == sum(".mask_predictor." not in n for n, _ in student.named_parameters())
    assert all(p.grad is not None for p in trained)
    assert all(b.attn.mask_predictor.proj_n.grad is None for b in student.blocks)


def test_joint_training_leaves_tokens_and_places_out(models):
    student, teacher = models
    trained = enter(student, JOINT)
    step(student, teacher, JOINT)
    assert len(trained) == len(list(student.parameters())) - 2
    assert student.pos_embed.grad is None
    assert student.blocks[0].attn.mask_predictor.proj_back_n.grad.abs().sum() > 0


def test_reconstruction_leaves_with_its_stage(models):
    student, _ = models
    x = torch.randn(1, 3, 64, 64)
    enter(student, RECONSTRUCTION)
    dense = student.trace(x).blocks[0]
    assert dense.masked.equal(dense.full)
    enter(student, DISTILLATION)
    sparse = student.trace(x).blocks[0]
    assert not sparse.masked.equal(sparse.full)


def test_a_dense_student_is_refused(models):
    _, teacher = models
    x = torch.randn(1, 3, 64, 64)
    with pytest.raises(ValueError, match="no predictors"):
        sparsifiner_loss(
            teacher.trace(x), teach(teacher, x), torch.eye(5)[:1], DISTILLATION.weights
        )


def test_schedule():
    values = cosine_schedule(1.0, 0.1, 4, 5, 1)
    assert len(values) == 20
    assert values[0] == 0.0
    assert values[4] == values[5] == 1.0
    assert values[-1] == pytest.approx(0.1, abs=0.02)
    assert cosine_schedule(0.5, 0.5, 1, 2) == [0.5, 0.5]
