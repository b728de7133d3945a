"""DLPack: tensors of other libraries on the same memory."""

import numpy as np
import pytest

from nearfield.core.arrays import as_batch
from nearfield.core.dlpack import from_dlpack
from nearfield.core.errors import BadInput

X = np.random.default_rng(0).normal(size=(6, 3)).astype("f4")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "int32", "int64"])
def test_torch_shares_memory(dtype):
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy((X * 10 + 50).astype(dtype))
    for given in (tensor, tensor[1:, :2], tensor.T):
        got = from_dlpack(given)
        assert np.shares_memory(got, tensor.numpy())
        np.testing.assert_array_equal(got, given.numpy())
        assert as_batch(got).shape == tuple(given.shape)
    tensor[0, 0] = 7
    assert from_dlpack(tensor)[0, 0] == 7


class Only:
    """A tensor that speaks nothing else."""

    def __init__(self, array, device=(1, 0)):
        self.array, self.device = array, device

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


def test_nothing_but_dlpack():
    got = from_dlpack(Only(X))
    assert np.shares_memory(got, X)
    np.testing.assert_array_equal(got, X)


def test_refusals():
    torch = pytest.importorskip("torch")
    for given, match in (
        (torch.ones(2, 2, requires_grad=True), r"x\.detach\(\)"),
        (torch.ones(2, 2, dtype=torch.bfloat16), "got torch.bfloat16"),
        (Only(X, (2, 0)), "another device"),
        ([[1.0]], "got list"),
        (None, "got NoneType"),
    ):
        with pytest.raises(BadInput, match=match) as caught:
            from_dlpack(given, "queries")
        assert str(caught.value).startswith("queries: ")
        assert "\n" not in str(caught.value)
