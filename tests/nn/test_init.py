"""The initialisers: their variance, what orthogonal keeps, and what a seed decides.

Variances are tested on large weights with a fixed seed. The variance of n normal numbers is estimated with a relative
standard error of sqrt(2/n), of uniform ones with less; a test allows five of these.
"""
import math

import numpy as np
import pytest

import minires as mr
from minires import nn
from minires.errors import ArgumentError, DTypeError, ShapeError
from minires.nn import init

CONV = (40, 30, 5, 3)  # fan_in 30 * 15 = 450, fan_out 40 * 15 = 600
LINEAR = (150, 200)  # fan_in 200, fan_out 150


def weight(shape, dtype=np.float32):
    return mr.Tensor(np.full(shape, np.nan, dtype), requires_grad=True)


def drawn(initialiser, shape, seed=0, **options):
    """The values that an initialiser writes."""
    tensor = weight(shape, np.float64)
    initialiser(tensor, np.random.default_rng(seed), **options)
    return tensor.data


@pytest.mark.parametrize(("shape", "expected"), [(CONV, (450, 600)), (LINEAR, (200, 150)), ((1, 1), (1, 1))])
def test_fans_count_the_products_of_an_output_and_the_uses_of_an_input(shape, expected):
    assert init.fans(weight(shape)) == expected


@pytest.mark.parametrize(("initialiser", "options", "shape", "variance"), [
    (init.he_normal_, {}, CONV, 2 / 450),
    (init.he_normal_, {}, LINEAR, 2 / 200),
    (init.lecun_normal_, {}, CONV, 1 / 450),
    (init.lecun_normal_, {}, LINEAR, 1 / 200),
    (init.glorot_normal_, {}, CONV, 2 / 1050),
    (init.glorot_normal_, {}, LINEAR, 2 / 350),
    (init.glorot_uniform_, {}, CONV, 2 / 1050),
    (init.glorot_uniform_, {}, LINEAR, 2 / 350),
    (init.normal_, {}, CONV, 0.01**2),
    (init.normal_, {"std": 3.0}, (20_000,), 9.0),
])
def test_the_variance_is_that_of_the_paper_and_the_mean_is_zero(initialiser, options, shape, variance):
    values = drawn(initialiser, shape, **options)
    n = values.size
    assert n >= 15_000
    assert abs(values.var() / variance - 1) < 5 * math.sqrt(2 / n)
    assert abs(values.mean()) < 5 * math.sqrt(variance / n)


@pytest.mark.parametrize("initialiser", [init.he_normal_, init.lecun_normal_, init.glorot_normal_, init.normal_])
def test_normal_initialisers_have_the_tails_of_a_normal_distribution(initialiser):
    values = drawn(initialiser, CONV)
    z = values / values.std()
    for bound, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert abs((abs(z) < bound).mean() - share) < 5 * math.sqrt(share * (1 - share) / z.size)


def test_the_uniform_initialiser_fills_its_bounds_evenly():
    values = drawn(init.glorot_uniform_, CONV)
    bound = math.sqrt(6 / 1050)
    assert abs(values).max() <= bound
    assert abs(values).max() > 0.999 * bound
    counts, _ = np.histogram(values, bins=10, range=(-bound, bound))
    np.testing.assert_allclose(counts / values.size, 0.1, atol=5 * math.sqrt(0.09 / values.size))


@pytest.mark.parametrize(("shape", "side"), [((6, 4), "columns"), ((4, 6), "rows"), ((5, 5), "both"),
                                             ((30, 2, 3, 3), "columns"), ((4, 2, 3, 3), "rows")])
@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_orthogonal_weights_have_orthonormal_rows_or_columns(shape, side, gain):
    matrix = drawn(init.orthogonal_, shape, gain=gain).reshape(shape[0], -1)
    rows, columns = matrix.shape
    if side in ("rows", "both"):
        np.testing.assert_allclose(matrix @ matrix.T, gain**2 * np.eye(rows), atol=1e-12)
    if side in ("columns", "both"):
        np.testing.assert_allclose(matrix.T @ matrix, gain**2 * np.eye(columns), atol=1e-12)


def test_orthogonal_matrices_are_uniform_so_each_entry_has_mean_zero():
    # without the signs that QR leaves open, the diagonal would lean to one side
    matrices = np.array([init.orthogonal_matrix(3, 3, np.random.default_rng(seed)) for seed in range(2000)])
    np.testing.assert_allclose(matrices.mean(axis=0), 0, atol=5 * math.sqrt(1 / 3 / 2000))
    np.testing.assert_allclose((matrices**2).mean(axis=0), 1 / 3, atol=5 * math.sqrt(4 / 45 / 2000))
    assert abs(np.mean(np.linalg.det(matrices))) < 5 / math.sqrt(2000)


@pytest.mark.parametrize(("shape", "gain"), [((4, 4, 3, 3), 1.0), ((6, 4, 3, 5), 1.0), ((4, 4, 1, 1), 2.0)])
def test_a_delta_orthogonal_convolution_keeps_the_norm_at_every_pixel(shape, gain):
    layer = nn.Conv2d(shape[1], shape[0], shape[2:], padding=(shape[2] // 2, shape[3] // 2), bias=False).astype(np.float64)
    init.delta_orthogonal_(layer.weight, np.random.default_rng(0), gain=gain)
    x = np.random.default_rng(1).standard_normal((2, shape[1], 5, 6))
    y = layer(mr.Tensor(x)).data
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), gain * np.linalg.norm(x, axis=1))
    off_centre = layer.weight.data.copy()
    off_centre[:, :, shape[2] // 2, shape[3] // 2] = 0
    assert not off_centre.any()


def test_zeros_and_ones_need_no_generator():
    tensor = weight((3,))
    np.testing.assert_array_equal(init.zeros_(tensor).data, [0, 0, 0])
    np.testing.assert_array_equal(init.ones_(tensor).data, [1, 1, 1])
    for initialiser in (init.zeros_, init.ones_):
        with pytest.raises(DTypeError, match=r"^init: generator is 0, expected a np\.random\.Generator"):
            initialiser(tensor, 0)


DRAWING = [init.he_normal_, init.lecun_normal_, init.glorot_normal_, init.glorot_uniform_, init.normal_, init.orthogonal_,
           init.delta_orthogonal_]


@pytest.mark.parametrize("initialiser", [*DRAWING, init.zeros_, init.ones_])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_values_are_written_in_place_in_the_dtype_of_the_tensor_which_is_returned(initialiser, dtype):
    tensor = weight((4, 3, 3, 3), dtype)
    array = tensor.data
    assert initialiser(tensor, np.random.default_rng(0)) is tensor
    assert tensor.data is array
    assert array.dtype == dtype
    assert np.isfinite(array).all()


@pytest.mark.parametrize("initialiser", DRAWING)
def test_the_generator_decides_the_values(initialiser):
    first, second, other = (drawn(initialiser, (4, 3, 3, 3), seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("initialiser", [init.he_normal_, init.lecun_normal_, init.glorot_normal_, init.glorot_uniform_,
                                         init.orthogonal_])
def test_a_bias_has_no_fan_in(initialiser):
    with pytest.raises(ShapeError, match="has 1 axes: fan_in is defined for weights"):
        initialiser(weight((3,)), np.random.default_rng(0))


@pytest.mark.parametrize("shape", [(4, 3), (4, 4, 2, 3), (4, 4, 3, 2), (3, 4, 3, 3)])
def test_delta_orthogonal_refuses_what_cannot_keep_the_norm(shape):
    with pytest.raises(ShapeError, match=r"delta_orthogonal_: got Tensor\(.*with odd KH and KW and O >= C"):
        init.delta_orthogonal_(weight(shape), np.random.default_rng(0))


# ---- seeds


def test_a_generator_depends_on_seed_and_name_and_on_nothing_else():
    def numbers(seed, name):
        return tuple(init.generator_for(seed, name).standard_normal(4))

    cases = [(0, "a.weight"), (0, "b.weight"), (1, "a.weight"), (0, "a.weigh"), (0, ""), (2**40, "a.weight"), (0, "é")]
    first = [numbers(*case) for case in cases]
    np.random.default_rng(0).standard_normal(10)
    assert [numbers(*case) for case in reversed(cases)] == first[::-1]
    assert len(set(first)) == len(cases)
    assert numbers(np.int64(1), "a") == numbers(1, "a")


@pytest.mark.parametrize("seed", [-1, 1.0, True, None, "0"])
def test_a_bad_seed_is_named(seed):
    with pytest.raises(ArgumentError, match=r"seed is .*, expected an integer of at least 0"):
        init.generator_for(seed, "weight")


def test_initialize_draws_each_matrix_by_its_name_and_leaves_the_rest():
    net = nn.Sequential({"conv": nn.Conv2d(2, 4, 3), "bn": nn.BatchNorm2d(4), "fc": nn.Linear(4, 3)})
    net.conv.bias.data += 7
    assert init.initialize_(net, init.he_normal_, seed=5, linear_init=init.lecun_normal_) is net
    np.testing.assert_array_equal(
        net.conv.weight.data, init.he_normal_(weight((4, 2, 3, 3)), init.generator_for(5, "conv.weight")).data)
    np.testing.assert_array_equal(
        net.fc.weight.data, init.lecun_normal_(weight((3, 4)), init.generator_for(5, "fc.weight")).data)
    np.testing.assert_array_equal(net.bn.weight.data, np.ones(4))
    np.testing.assert_array_equal(net.conv.bias.data, np.full(4, 7))


def test_initialize_uses_one_initialiser_for_all_unless_told():
    net = nn.Sequential(nn.Linear(4, 3))
    init.initialize_(net, init.glorot_normal_, seed=1)
    np.testing.assert_array_equal(
        net[0].weight.data, init.glorot_normal_(weight((3, 4)), init.generator_for(1, "0.weight")).data)


def test_initialize_does_not_depend_on_the_order_in_which_layers_were_made():
    forwards = nn.Sequential({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    backwards = nn.Sequential({"b": nn.Linear(2, 2), "a": nn.Linear(2, 2)})
    for net in (forwards, backwards):
        init.initialize_(net, init.he_normal_, seed=0)
    np.testing.assert_array_equal(forwards.a.weight.data, backwards.a.weight.data)
    np.testing.assert_array_equal(forwards.b.weight.data, backwards.b.weight.data)
    assert not np.array_equal(forwards.a.weight.data, forwards.b.weight.data)
