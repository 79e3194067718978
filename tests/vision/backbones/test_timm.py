"""timm's own tests over every model that foveate registers."""

import pytest

import vision.backbones
from tests.vision.backbones import timm_test_models as upstream

NAMES = vision.backbones.names()
WHOLE = (
    "biformer_pico",
    "biformer_nano",
    "biformer_tiny",
    "gaussian_vit_nano",
    "sparsifiner_vit_tiny_patch16_112",
    "sparsifiner_vit_tiny_patch16_112_token70",
    "vit_tiny_d8_patch16_112",
)
"""Small enough to run as they are; the others run with one block a stage."""

TOKENS = ("sparsifiner_", "vit_")
"""Start of the names of models whose features are tokens, which timm configures otherwise."""

SMALLER = {
    "biformer_": {"depths": (1, 1, 1, 1)},
    "gaussian_vit_": {"depth": 3, "embed_dim": 96, "num_heads": 3},
    "sparsifiner_": {"depth": 3, "embed_dim": 96, "num_heads": 3, "prune_at": (1, 2)},
}
"""Arguments that make the models of a family small, by the start of their names."""

TESTS = {
    upstream.test_model_forward: (1,),
    upstream.test_model_backward: (2,),
    upstream.test_model_default_cfgs: (1, "meta"),
    upstream.test_model_forward_torchscript: (1,),
    upstream.test_model_forward_features: (1,),
    upstream.test_model_forward_intermediates_features: (1,),
    upstream.test_model_forward_intermediates: (1,),
    upstream.test_prune_intermediate_layers_params_used: (),
    upstream.test_prune_intermediate_layers_contract: (),
    upstream.test_model_forward_fx: (1,),
    upstream.test_model_backward_fx: (2,),
    upstream.test_model_forward_fx_torchscript: (1,),
}

TESTS_OF_ANY_SIZE = {
    upstream.test_reset_classifier_keeps_pool: (),
    upstream.test_feature_getter_stage_ends_torchscript: (),
    upstream.test_head_hidden_size: ({},),
    upstream.test_prune_intermediate_layers_last_feature: (True,),
}
"""Tests that timm runs over chosen models; they take pictures of several sizes."""


def test_family_is_registered():
    assert {*WHOLE, "biformer_small", "biformer_base", "biformer_stl"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_upstream(test, name, monkeypatch):
    arguments = TESTS[test]
    if test is upstream.test_model_default_cfgs:
        if name.startswith(TOKENS):
            test = upstream.test_model_default_cfgs_non_std
    elif name not in WHOLE:
        create = upstream.create_model
        smaller = next(args for start, args in SMALLER.items() if name.startswith(start))
        monkeypatch.setattr(upstream, "create_model", lambda *a, **k: create(*a, **smaller, **k))
    test(name, *arguments)


@pytest.mark.parametrize("name", ["biformer_pico", "gaussian_vit_nano"])
@pytest.mark.parametrize("test", TESTS_OF_ANY_SIZE, ids=lambda test: test.__name__)
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_upstream_of_any_size(test, name):
    test(name, *TESTS_OF_ANY_SIZE[test])
