"""Norms of PyTorch's tensors against NumPy's, in every precision and layout that a gradient may come in."""
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install minires[parity]")

from minires.recording import torch_norms
from minires.recording.torch_norms import cosine, euclidean_norm, on_host, ratio
from tests.parity.comparison import normal

LARGE = (64, 25, 7, 9)  # large enough to be summed up in rows, and no whole number of them


def tensor(*shape, dtype=torch.float32, scale=1.0):
    return torch.from_numpy(np.asarray(normal(*shape) * scale)).to(dtype)


def norm_of(x):
    return np.linalg.norm(x.detach().to(torch.float64).numpy().ravel())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-12), (torch.bfloat16, 1e-12), (torch.float32, 1e-7),
                                                  (torch.float64, 1e-12)])
@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (32768,), LARGE])
def test_a_norm_is_that_of_all_elements_in_float64(shape, dtype, tolerance):
    x = tensor(*shape, dtype=dtype)
    norm = euclidean_norm(x)
    assert (norm.dtype, norm.shape) == (torch.float64, ())
    np.testing.assert_allclose(float(norm), norm_of(x), rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("arrange", [lambda x: x.transpose(0, 2), lambda x: x.to(memory_format=torch.channels_last),
                                     lambda x: x[:, ::2], lambda x: x[:1].expand(LARGE), lambda x: x.requires_grad_()],
                         ids=["transposed", "channels last", "steps", "expanded", "wants a gradient"])
def test_the_layout_does_not_matter(arrange, dtype):
    x = arrange(tensor(*LARGE, dtype=dtype))
    norm = euclidean_norm(x)
    assert not norm.requires_grad
    np.testing.assert_allclose(float(norm), norm_of(x), rtol=1e-7)


@pytest.mark.parametrize("shape", [(5,), LARGE])
@pytest.mark.parametrize(("dtype", "scale"), [(torch.float32, 1e-30), (torch.float32, 1e-20), (torch.float32, 1e25),
                                              (torch.float64, 1e-300), (torch.float64, 1e300)])
def test_tiny_and_huge_values_are_not_rounded_away(shape, dtype, scale):
    x = tensor(*shape, dtype=dtype, scale=scale)
    expected = np.linalg.norm(x.to(torch.float64).numpy().ravel() / scale)
    np.testing.assert_allclose(float(euclidean_norm(x)) / scale, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5,), LARGE])
@pytest.mark.parametrize("value", [0.0, math.inf, -math.inf, math.nan])
def test_zeros_and_what_is_not_finite_stay(value, shape, dtype):
    zeros = torch.zeros(shape, dtype=dtype)
    zeros.view(-1)[-1] = value
    np.testing.assert_equal(float(euclidean_norm(zeros)), abs(value))


def test_nothing_has_norm_zero():
    assert float(euclidean_norm(torch.zeros(0, 3))) == 0


def test_sparse_and_complex_gradients_have_the_norm_of_their_values():
    embedding = torch.nn.Embedding(9, 3, sparse=True)
    embedding(torch.tensor([2, 2, 5])).sum().backward()
    assert embedding.weight.grad.is_sparse
    np.testing.assert_allclose(float(euclidean_norm(embedding.weight.grad)), math.sqrt(3 * 2 ** 2 + 3))
    x = torch.complex(tensor(3, 4), tensor(4, 3).T.contiguous())
    for y in (x, x.conj()):
        np.testing.assert_allclose(float(euclidean_norm(y)), np.linalg.norm(x.numpy()), rtol=1e-6)


def test_a_device_without_float64_has_its_norms_taken_on_the_host(monkeypatch):
    moved = []
    monkeypatch.setattr(torch_norms, "NO_FLOAT64", ("cpu",))
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x: moved.append(x) or x)
    assert float(euclidean_norm(torch.tensor([3.0, 4.0]))) == 5
    assert len(moved) == 1


@pytest.mark.parametrize("shape", [(5,), LARGE])
@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_cosine_is_that_of_all_elements_in_float64(dtype, scale, shape):
    a, b = tensor(*shape, dtype=dtype, scale=scale), torch.from_numpy(normal(*shape, seed=1)).to(dtype)
    b += 0.5 * a / scale
    x, y = [z.to(torch.float64).numpy().ravel() / np.linalg.norm(z.to(torch.float64).numpy()) for z in (a, b)]
    np.testing.assert_allclose(float(cosine(a, b, euclidean_norm(a), euclidean_norm(b))), x @ y, rtol=1e-7)
    np.testing.assert_equal(float(cosine(a, 0 * b, euclidean_norm(a), euclidean_norm(0 * b))), np.nan)


def test_a_ratio_to_zero_is_nan():
    numerator, denominator = torch.tensor([1.0, 0.0, 6.0]), torch.tensor([0.0, 0.0, 3.0])
    np.testing.assert_array_equal(ratio(numerator, denominator), [np.nan, np.nan, 2])


def test_numbers_come_to_the_host_in_their_order():
    numbers = on_host([torch.tensor(float(i), dtype=torch.float64) for i in range(5)])
    assert numbers == [0, 1, 2, 3, 4]
    assert all(type(number) is np.float64 for number in numbers)
    assert on_host([]) == []
