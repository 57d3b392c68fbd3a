"""Attention against PyTorch's, whose three first layers stand in one weight."""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")
import minires as mr
from minires import nn
from tests.parity.comparison import assert_close, normal

E, H = 12, 3
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-10}


def pair_of_layers(dtype, bias):
    """A layer of both libraries with the same weights."""
    ours = nn.MultiheadAttention(E, H, bias).astype(dtype)
    theirs = torch.nn.MultiheadAttention(E, H, bias=bias, batch_first=True)
    theirs.to(torch.float32 if dtype == np.float32 else torch.float64)
    ours.load_state_dict({name: 0.5 * normal(*array.shape, seed=i)
                          for i, (name, array) in enumerate(ours.state_dict().items())})
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in as_theirs(ours.state_dict()).items()})
    return ours, theirs


def as_theirs(arrays):
    """{name: array} of ours by PyTorch's names, the first three layers one below the other."""
    kinds = ["weight", "bias"] if "q_proj.bias" in arrays else ["weight"]
    found = {f"in_proj_{kind}": np.concatenate([arrays[f"{part}_proj.{kind}"] for part in "qkv"]) for kind in kinds}
    return found | {f"out_proj.{kind}": arrays[f"out_proj.{kind}"] for kind in kinds}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("masked", [False, True])
def test_output_weights_and_gradients(masked, bias, dtype):
    ours, theirs = pair_of_layers(dtype, bias)
    arrays = [normal(2, length, E, seed=i).astype(dtype) for i, length in enumerate((4, 5, 5))]
    mask = np.triu(np.ones((4, 5), bool), 2) if masked else None
    inputs = [mr.Tensor(x, requires_grad=True) for x in arrays]
    inputs_torch = [torch.from_numpy(x.copy()).requires_grad_() for x in arrays]
    for average in (True, False):
        output, weights = ours(*inputs, attn_mask=mask, average_attn_weights=average)
        output_torch, weights_torch = theirs(*inputs_torch, attn_mask=None if mask is None else torch.from_numpy(mask),
                                             average_attn_weights=average)
        assert_close(output, output_torch, "output", TOLERANCE[dtype])
        assert_close(weights, weights_torch, "weights", TOLERANCE[dtype])
    dy = normal(*output.shape, seed=4).astype(dtype)
    output.backward(dy)
    output_torch.backward(torch.from_numpy(dy))
    for x, x_torch in zip(inputs, inputs_torch, strict=True):
        assert_close(x.grad, x_torch.grad, "gradient of an input", TOLERANCE[dtype])
    gradients = as_theirs({name: parameter.grad for name, parameter in ours.named_parameters()})
    for name, parameter in theirs.named_parameters():
        if name == "in_proj_bias":  # the keys' bias moves all scores of a query alike, and has no gradient but rounding
            gradients[name][E:2 * E] = 0
            parameter.grad[E:2 * E] = 0
        assert_close(gradients[name], parameter.grad, f"gradient of {name}", TOLERANCE[dtype])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_query_that_may_look_nowhere_gets_nan_as_in_pytorch():
    ours, theirs = pair_of_layers(np.float64, True)
    x, mask = normal(1, 3, E), np.array([[False, False, True], [True, True, True], [False, True, True]])
    output, _ = ours(mr.Tensor(x), attn_mask=mask)
    output_torch, _ = theirs(*[torch.from_numpy(x)] * 3, attn_mask=torch.from_numpy(mask))
    np.testing.assert_array_equal(np.isnan(output.data), np.isnan(output_torch.detach().numpy()))
    assert np.isnan(output.data).any(axis=2).tolist() == [[False, True, False]]
