"""timm's own tests over every model that foveate registers."""

import pytest

import vision.backbones
from tests.vision.backbones import timm_test_models as upstream

NAMES = vision.backbones.names()
WHOLE = ("biformer_pico", "biformer_nano", "biformer_tiny")
"""Small enough to run as they are; the others run with one block a stage."""

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


def test_family_is_registered():
    assert {*WHOLE, "biformer_small", "biformer_base", "biformer_stl"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_upstream(test, name, monkeypatch):
    if name not in WHOLE and test is not upstream.test_model_default_cfgs:
        create = upstream.create_model
        monkeypatch.setattr(
            upstream, "create_model", lambda *a, **k: create(*a, depths=(1, 1, 1, 1), **k)
        )
    test(name, *TESTS[test])
