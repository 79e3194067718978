"""The one rule: argument, then environment, then device."""

import pytest
import torch

from kernels.dispatch import VARIABLE, choose

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.mark.parametrize(
    ("argument", "environment", "device", "form"),
    [
        (None, None, CPU, "cpu"),
        (None, None, META, "reference"),
        (None, "reference", CPU, "reference"),
        (None, "", CPU, "cpu"),
        ("cpu", "reference", CPU, "cpu"),
        ("reference", "triton", CPU, "reference"),
    ],
)
def test_order_of_precedence(
    argument: str | None,
    environment: str | None,
    device: torch.device,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if environment is not None:
        monkeypatch.setenv(VARIABLE, environment)
    assert choose(argument, device) == form


def test_an_unknown_name_is_told_the_choices() -> None:
    with pytest.raises(ValueError, match=r"backend='cuda' .* reference, cpu, triton"):
        choose("cuda", CPU)


def test_an_unknown_name_in_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "fast")
    with pytest.raises(ValueError, match=r"FOVEATE_KERNELS='fast'"):
        choose(None, CPU)


def test_forms_that_cannot_run_say_so() -> None:
    with pytest.raises(ValueError, match="no triton form yet"):
        choose("triton", CPU)
    with pytest.raises(ValueError, match="cannot run on meta"):
        choose("cpu", META)
