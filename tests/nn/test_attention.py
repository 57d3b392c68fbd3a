"""Attention with several heads: against the definition in NumPy, masks, what is recorded, and what is refused."""
import numpy as np
import pytest

import minires as mr
from minires import nn
from minires.errors import ArgumentError, DTypeError, ShapeError


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


def layer(embed_dim=6, num_heads=2, **options):
    made = nn.MultiheadAttention(embed_dim, num_heads, generator=np.random.default_rng(0), **options).astype(np.float64)
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            parameter.data += normal(*parameter.shape)
    return made


def definition(net, query, key, value, mask=None):
    """(output, weights of each head), one example, one head and one query at a time."""
    def through(part, x):
        return x @ part.weight.data.T + part.bias.data

    q, k, v = through(net.q_proj, query), through(net.k_proj, key), through(net.v_proj, value)
    (N, L, E), S, H = q.shape, k.shape[1], net.num_heads
    D = E // H
    y, weights = np.zeros((N, L, E)), np.zeros((N, H, L, S))
    for n, h, i in np.ndindex(N, H, L):
        own = slice(h * D, (h + 1) * D)
        scores = np.array([q[n, i, own] @ k[n, j, own] / D ** 0.5 for j in range(S)])
        shares = np.exp(scores) * (1 if mask is None else ~mask[i])
        weights[n, h, i] = shares / shares.sum()
        y[n, i, own] = weights[n, h, i] @ v[n, :, own]
    return through(net.out_proj, y), weights


LATER = np.triu(np.ones((3, 3), bool), 1)


@pytest.mark.parametrize("num_heads", [1, 2, 3])
def test_it_is_the_definition(num_heads):
    net = layer(num_heads=num_heads)
    query, key, value = normal(2, 3, 6), normal(2, 4, 6), normal(2, 4, 6) + 1
    expected, weights = definition(net, query, key, value)
    output, mean = net(mr.Tensor(query), mr.Tensor(key), mr.Tensor(value))
    np.testing.assert_allclose(output.data, expected, rtol=1e-10)
    np.testing.assert_allclose(mean.data, weights.mean(axis=1), rtol=1e-10)
    _, each = net(mr.Tensor(query), mr.Tensor(key), mr.Tensor(value), average_attn_weights=False)
    np.testing.assert_allclose(each.data, weights, rtol=1e-10)
    np.testing.assert_allclose(each.data.sum(axis=3), 1)
    assert net(mr.Tensor(query), need_weights=False)[1] is None


def test_without_a_key_and_a_value_a_sequence_attends_to_itself():
    net, x = layer(), mr.Tensor(normal(2, 3, 6))
    np.testing.assert_array_equal(net(x)[0].data, net(x, x, x)[0].data)
    np.testing.assert_array_equal(net(x, mr.Tensor(normal(2, 4, 6)))[0].data,
                                  net(x, mr.Tensor(normal(2, 4, 6)), mr.Tensor(normal(2, 4, 6)))[0].data)


def test_what_is_masked_is_not_seen_and_gets_no_gradient():
    net, x = layer(), mr.Tensor(normal(2, 3, 6), requires_grad=True)
    output, weights = net(x, attn_mask=LATER)
    expected, of_heads = definition(net, x.data, x.data, x.data, LATER)
    np.testing.assert_allclose(output.data, expected, rtol=1e-10)
    np.testing.assert_allclose(weights.data, of_heads.mean(axis=1), rtol=1e-10)
    output[:, 1].sum().backward()
    assert np.abs(x.grad[:, :2]).min() > 0
    assert not x.grad[:, 2].any()


@pytest.mark.parametrize("mask", [None, LATER])
def test_its_gradient_is_right(mask):
    net = layer()
    inputs = [normal(2, 3, 6), normal(2, 3, 6) + 1, normal(2, 3, 6) - 1]
    mr.gradcheck(lambda query, key, value: net(query, key, value, attn_mask=mask)[0], inputs)
    mr.gradcheck(lambda query: net(query, attn_mask=mask, average_attn_weights=False)[1], inputs[:1])
    x = mr.Tensor(inputs[0])

    def of_weight(weight):
        net.k_proj.weight = weight
        return net(x, attn_mask=mask)[0]

    mr.gradcheck(of_weight, [normal(6, 6)])


def test_a_recording_shows_the_gradient_of_each_of_its_layers():
    net = nn.Sequential(nn.Identity())
    net.attention = nn.MultiheadAttention(8, 2)
    with mr.record_gradients(net) as record:
        output, _ = net.attention(mr.Tensor(normal(2, 5, 8).astype(np.float32)))
        (output * output).sum().backward()
    for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
        norms = record.select(f"attention.{part}")
        assert norms.output_grad_norm > 0
        assert norms.weight_grad_norm > 0
    assert output.dtype == np.float32


def test_its_weights_are_drawn_by_the_generator_and_named():
    one, other = [nn.MultiheadAttention(6, 2, generator=np.random.default_rng(3)) for _ in range(2)]
    np.testing.assert_array_equal(one.q_proj.weight.data, other.q_proj.weight.data)
    assert (one.q_proj.weight.data != one.k_proj.weight.data).any()
    assert list(nn.MultiheadAttention(6, 2, bias=False).state_dict()) == [
        "q_proj.weight", "k_proj.weight", "v_proj.weight", "out_proj.weight"]
    assert repr(one).startswith("MultiheadAttention(6, num_heads=2\n  (q_proj): Linear(")


def call(*shapes, **options):
    return layer()(*[mr.Tensor(normal(*shape)) for shape in shapes], **options)


@pytest.mark.parametrize(("make", "error", "said"), [
    (lambda: nn.MultiheadAttention(6, 4), ArgumentError, "embed_dim 6 cannot be split into 4 heads"),
    (lambda: nn.MultiheadAttention(0, 1), ArgumentError, "MultiheadAttention: embed_dim is 0"),
    (lambda: call((2, 6)), ShapeError, r"expected query \(N, length, 6\), got shape \(2, 6\)"),
    (lambda: call((2, 3, 6), (2, 3, 5)), ShapeError, r"expected key \(N, length, 6\)"),
    (lambda: call((2, 3, 6), (1, 3, 6)), ShapeError, "must have one N, and key and value one length"),
    (lambda: call((2, 3, 6), (2, 3, 6), (2, 4, 6)), ShapeError, "must have one N, and key and value one length"),
    (lambda: call((2, 3, 6), attn_mask=np.zeros((3, 2), bool)), ShapeError, "do not broadcast"),
    (lambda: call((2, 3, 6), attn_mask=np.zeros((2, 1, 1, 3, 3), bool)), ShapeError, "expected one that broadcasts to"),
    (lambda: layer()(np.ones((2, 3, 6))), DTypeError, "MultiheadAttention: query is .*expected a tensor"),
    (lambda: call((2, 3, 6), attn_mask=np.zeros((3, 3))), DTypeError, "the condition holds float64, expected booleans"),
    (lambda: call((2, 3, 6), need_weights="no"), ArgumentError, "MultiheadAttention: need_weights is 'no'"),
])
def test_what_does_not_fit_is_named(make, error, said):
    with pytest.raises(error, match=said):
        make()
