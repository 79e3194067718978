"""Choosing a device."""

import pytest
import torch

from vision.devices import pick_device
from vision.errors import FoveateError


def test_the_best_there_is():
    assert pick_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "toaster", "", "cpu:x"])
def test_a_device_that_is_not_there(name):
    with pytest.raises(FoveateError, match="there is cpu"):
        pick_device(name)
