"""Gradients at random shapes, options and memory orders: right in float64, and the same from both forms of an op.

Values are well apart (a shuffled grid), so that no step of the numerical derivative crosses a kink.
"""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minires as mr
from minires import ops

pytestmark = pytest.mark.slow  # a case of each op, and sweeps of its parameters, are among the fast tests in the other files

# derandomize: the same examples in every run, so that a red test stays red until it is repaired
examples = settings(max_examples=100, deadline=None, derandomize=True)
many_examples = settings(max_examples=300, deadline=None, derandomize=True)
ELEMENTWISE = [ops.relu, ops.sigmoid, ops.tanh, ops.exp, ops.log, ops.negate, ops.abs, ops.sqrt, ops.leaky_relu, ops.elu,
               ops.softplus, ops.silu, ops.gelu]
BINARY = [ops.add, ops.subtract, ops.multiply, ops.divide, ops.power, ops.shortcut_add]
REDUCTIONS = [ops.sum, ops.mean, ops.max, ops.logsumexp]


# ---- values and shapes

def apart(shape, seed, low=-2.0, high=2.0):
    """The numbers of a grid from low to high in random order, none of them 0: neighbours are (high - low) / size apart."""
    size = int(np.prod(shape))
    grid = low + (high - low) * (np.arange(size) + 0.5 + 1e-3) / max(1, size)
    return np.random.default_rng([seed, *shape]).permutation(grid).reshape(shape)


def ordered(x, order):
    """The same values in another memory order."""
    if order == "Fortran":
        return np.asfortranarray(x)
    if order == "channels last" and x.ndim > 1:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    if order == "slice":
        view = np.full([2 * n + 1 for n in x.shape], np.nan)[tuple([slice(1, None, 2)] * x.ndim)]
        view = view[tuple([slice(None, None, -1)] * x.ndim)]
        view[...] = x
        return view
    return x


seeds = st.integers(0, 999)
orders = st.sampled_from(["C", "Fortran", "channels last", "slice"])
lengths = st.integers(1, 4)


@st.composite
def arrays(draw, min_ndim=0, max_ndim=4, low=-2.0, high=2.0):
    """An array of any shape and memory order, with size-1 axes among them."""
    shape = tuple(draw(st.lists(lengths, min_size=min_ndim, max_size=max_ndim)))
    x = apart(shape, draw(seeds), low, high)
    return ordered(x, draw(orders)) if x.ndim else x


@st.composite
def broadcast_pairs(draw):
    """Two arrays of positive numbers whose shapes broadcast."""
    shape = draw(st.lists(lengths, max_size=4))
    operands = []
    for seed in (1, 2):
        own = [1 if draw(st.booleans()) else n for n in shape]
        own = own[draw(st.integers(0, len(own))):]
        x = apart(tuple(own), seed, 0.5, 2.0)
        operands.append(ordered(x, draw(orders)) if x.ndim else x)
    return operands


# ---- what is checked

def cotangent(y):
    return np.random.default_rng([7, *y.shape]).standard_normal(y.shape)


def results(function, inputs):
    """[y, and dL/d(each input)]."""
    tensors = [mr.Tensor(x, requires_grad=True) for x in inputs]
    y = function(*tensors)
    y.backward(cotangent(y))
    return [y.data, *(x.grad for x in tensors)]


def assert_right(function, inputs):
    """The gradient is right, is that of contiguous inputs, and no place was left out as a kink."""
    report = mr.gradcheck(function, inputs)
    assert [argument.kinks for argument in report.arguments] == [0] * len(inputs)
    assert_same(results(function, inputs), results(function, [np.ascontiguousarray(x).reshape(x.shape) for x in inputs]))


def assert_forms_agree(function, inputs):
    """Fast and plain form: the same value and gradients."""
    fast = results(function, inputs)
    with mr.reference_ops():
        plain = results(function, inputs)
    assert_same(fast, plain)


def assert_same(found, expected):
    for array, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, right, rtol=1e-10, atol=1e-10)


# ---- convolution

@st.composite
def convolutions(draw):
    """(inputs, options) of a convolution whose window fits into the padded image."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    N, own, each = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    C, O = groups * own, groups * each
    kernel, stride, padding, dilation, image = [], [], [], [], []
    for _ in range(2):
        kernel.append(draw(st.integers(1, 3)))
        dilation.append(draw(st.integers(1, 2)))
        padding.append(draw(st.integers(0, 2)))
        stride.append(draw(st.integers(1, 3)))
        window = dilation[-1] * (kernel[-1] - 1) + 1
        image.append(max(1, window - 2 * padding[-1]) + draw(st.integers(0, 3)))
    inputs = [apart((N, C, *image), draw(seeds)), apart((O, own, *kernel), draw(seeds))]
    if draw(st.booleans()):
        inputs.append(apart((O,), draw(seeds)))
    inputs = [ordered(x, draw(orders)) for x in inputs]
    return inputs, {"stride": tuple(stride), "padding": tuple(padding), "dilation": tuple(dilation), "groups": groups}


@many_examples
@given(convolutions())
def test_the_gradient_of_any_convolution_is_right(convolution):
    inputs, options = convolution
    assert_right(lambda x, weight, bias=None: ops.conv2d(x, weight, bias, **options), inputs)


@many_examples
@given(convolutions())
def test_both_forms_of_any_convolution_agree(convolution):
    inputs, options = convolution
    assert_forms_agree(lambda x, weight, bias=None: ops.conv2d(x, weight, bias, **options), inputs)


# ---- batch norm

def batch_norm(training, freeze_statistics=False):
    """Batch norm as a function of its tensors: each call has running statistics of its own."""
    def function(x, weight, bias):
        C = len(weight.data)
        return ops.batch_norm(x, weight, bias, np.linspace(-1, 1, C), np.linspace(0.5, 2, C), training, eps=1e-3,
                              freeze_statistics=freeze_statistics)
    return function


@st.composite
def normalizations(draw):
    """x (N, C, H, W) or (N, C) with at least three values in each channel, weight and bias."""
    N, C = draw(st.integers(1, 4)), draw(lengths)
    pixels = draw(st.sampled_from([(), (1, 1), (1, 2), (2, 3), (3, 1)]))
    if N * int(np.prod(pixels)) < 3:
        N = 3
    inputs = [apart((N, C, *pixels), draw(seeds)), apart((C,), draw(seeds)), apart((C,), draw(seeds))]
    return [ordered(x, draw(orders)) for x in inputs]


@pytest.mark.parametrize("training", [True, False])
@examples
@given(normalizations())
def test_the_gradient_of_any_batch_norm_is_right(training, inputs):
    assert_right(batch_norm(training), inputs)


@pytest.mark.parametrize(("training", "frozen"), [(True, False), (False, False), (True, True)])
@examples
@given(normalizations())
def test_both_forms_of_any_batch_norm_agree(training, frozen, inputs):
    assert_forms_agree(batch_norm(training, frozen), inputs)


@examples
@given(normalizations())
def test_frozen_statistics_give_the_gradient_of_evaluation_with_those_of_the_batch(inputs):
    x = inputs[0]
    axes = tuple(i for i in range(x.ndim) if i != 1)
    mean, var = x.mean(axis=axes), x.var(axis=axes)

    def evaluation(x, weight, bias):
        return ops.batch_norm(x, weight, bias, mean, var, False, eps=1e-3)

    assert_right(evaluation, inputs)
    assert_same(results(batch_norm(True, freeze_statistics=True), inputs), results(evaluation, inputs))


# ---- pooling

@st.composite
def poolings(draw):
    """(x, kernel, stride, padding) of a window that fits."""
    kernel, stride, padding, image = [], [], [], []
    for _ in range(2):
        kernel.append(draw(st.integers(1, 3)))
        stride.append(draw(st.integers(1, 3)))
        padding.append(draw(st.integers(0, kernel[-1] // 2)))
        image.append(max(1, kernel[-1] - 2 * padding[-1]) + draw(st.integers(0, 3)))
    x = apart((draw(st.integers(1, 3)), draw(st.integers(1, 3)), *image), draw(seeds))
    return ordered(x, draw(orders)), tuple(kernel), tuple(stride), tuple(padding)


@pytest.mark.parametrize("op", [ops.max_pool2d, ops.avg_pool2d])
@examples
@given(poolings())
def test_the_gradient_of_any_pooling_is_right(op, pooling):
    x, *window = pooling
    assert_right(lambda x: op(x, *window), [x])


def first_largest(x, dy, kernel, stride, padding):
    """dL/dx of max pooling by its definition: window by window, the first largest in reading order gets dy."""
    (KH, KW), (SH, SW), (PH, PW) = kernel, stride, padding
    x = np.pad(x, ((0, 0), (0, 0), (PH, PH), (PW, PW)), constant_values=-np.inf)
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(dy.shape):
        window = x[n, c, i * SH:i * SH + KH, j * SW:j * SW + KW]
        row, column = np.unravel_index(window.argmax(), window.shape)
        dx[n, c, i * SH + row, j * SW + column] += dy[n, c, i, j]
    return dx[:, :, PH:dx.shape[2] - PH, PW:dx.shape[3] - PW]


@examples
@given(poolings())
def test_of_equal_values_in_a_window_the_first_gets_the_gradient(pooling):
    x, *window = pooling
    tensor = mr.Tensor(np.round(x), requires_grad=True)  # five values only, so that many are equal
    y = ops.max_pool2d(tensor, *window)
    y.backward(cotangent(y))
    np.testing.assert_allclose(tensor.grad, first_largest(tensor.data, cotangent(y), *window), rtol=1e-12, atol=1e-12)


@examples
@given(arrays(min_ndim=4))
def test_the_gradient_of_any_global_pooling_is_right(x):
    assert_right(ops.global_avg_pool2d, [x])


@examples
@given(arrays(min_ndim=4), st.integers(0, 3), st.integers(1, 3))
def test_the_gradient_of_any_zero_padded_shortcut_is_right(x, added, stride):
    assert_right(lambda x: ops.zero_pad_shortcut(x, x.shape[1] + added, stride), [x])


# ---- arithmetic

@pytest.mark.parametrize("op", ELEMENTWISE, ids=[op.__name__ for op in ELEMENTWISE])
@examples
@given(arrays(), arrays(low=0.5))
def test_the_gradient_of_a_function_of_each_element_is_right(op, x, positive):
    assert_right(op, [positive if op in (ops.log, ops.sqrt) else x])


@pytest.mark.parametrize("op", BINARY, ids=[op.__name__ for op in BINARY])
@examples
@given(broadcast_pairs())
def test_the_gradient_of_any_broadcast_pair_is_right(op, pair):
    a, b = np.broadcast_arrays(*pair) if op is ops.shortcut_add else pair
    assert_right(op, [a, b])


@st.composite
def products(draw):
    """Two arrays whose product is defined: vectors, matrices, and stacks that broadcast."""
    M, K, N = draw(lengths), draw(lengths), draw(lengths)
    stack = draw(st.lists(lengths, max_size=2))
    shapes = []
    for core in ([K] if draw(st.booleans()) else [M, K], [K] if draw(st.booleans()) else [K, N]):
        own = [1 if draw(st.booleans()) else n for n in stack][draw(st.integers(0, len(stack))):]
        shapes.append((*own, *core) if len(core) == 2 else tuple(core))
    return [ordered(apart(shape, draw(seeds)), draw(orders)) for shape in shapes]


@many_examples
@given(products())
def test_the_gradient_of_any_product_is_right(pair):
    assert_right(ops.matmul, pair)


@examples
@given(lengths, lengths, lengths, st.booleans(), st.lists(orders, min_size=3, max_size=3), seeds)
def test_the_gradient_of_any_linear_layer_is_right(N, I, O, has_bias, memory, seed):
    inputs = [apart((N, I), seed), apart((O, I), seed + 1), apart((O,), seed + 2)]
    inputs = [ordered(x, order) for x, order in zip(inputs, memory, strict=True)]
    assert_right(ops.linear, inputs if has_bias else inputs[:2])


@examples
@given(st.integers(1, 5), st.integers(1, 5), seeds, orders)
def test_the_gradient_of_any_cross_entropy_is_right(N, K, seed, order):
    labels = np.random.default_rng(seed).integers(0, K, N)
    assert_right(lambda logits: ops.cross_entropy(logits, labels), [ordered(apart((N, K), seed), order)])


# ---- reductions and moves

@st.composite
def axes_of(draw, x):
    """None, an axis or several axes of x, some of them counted from the end."""
    if x.ndim == 0 or draw(st.booleans()):
        return draw(st.sampled_from([None, ()])) if x.ndim == 0 else None
    chosen = draw(st.lists(st.integers(0, x.ndim - 1), min_size=1, unique=True))
    chosen = [axis - x.ndim if draw(st.booleans()) else axis for axis in chosen]
    return chosen[0] if len(chosen) == 1 else tuple(chosen)


@pytest.mark.parametrize("op", REDUCTIONS, ids=[op.__name__ for op in REDUCTIONS])
@examples
@given(st.data())
def test_the_gradient_of_a_reduction_over_any_axes_is_right(op, data):
    x = data.draw(arrays())
    axis, keepdims = data.draw(axes_of(x)), data.draw(st.booleans())
    assert_right(lambda x: op(x, axis, keepdims), [x])


@examples
@given(st.data())
def test_the_gradient_of_any_transpose_and_reshape_is_right(data):
    x = data.draw(arrays())
    order = data.draw(st.permutations(range(x.ndim)))
    lengths_of_y = data.draw(st.permutations(x.shape))
    assert_right(lambda x: ops.transpose(x, order), [x])
    assert_right(lambda x: ops.reshape(x, tuple(lengths_of_y)), [x])
    assert_right(lambda x: ops.reshape(x, -1), [x])


@examples
@given(arrays(min_ndim=1))
def test_the_gradient_of_any_flatten_is_right(x):
    assert_right(ops.flatten, [x])


@st.composite
def keys_of(draw, x):
    """A key of x: integers, slices of either direction, None, …, and perhaps one array of indices."""
    key = []
    for n in x.shape[:draw(st.integers(0, x.ndim))]:
        kind = draw(st.sampled_from(["integer", "slice", "new axis and slice"]))
        if kind == "integer":
            key.append(draw(st.integers(-n, n - 1)))
        else:
            key += [None] * (kind == "new axis and slice")
            start, step = draw(st.integers(0, n - 1)), draw(st.sampled_from([1, 2, -1]))
            key.append(slice(start, None, step))
    if draw(st.booleans()):
        key.append(Ellipsis)
    elif key and draw(st.booleans()):
        first = next((i for i, part in enumerate(key) if part is not None), None)
        if first is not None:
            taken = draw(st.lists(st.integers(0, x.shape[0] - 1), min_size=1, max_size=5))
            key[first] = np.array(taken)
    return tuple(key)


@many_examples
@given(st.data())
def test_the_gradient_of_any_index_is_right(data):
    x = data.draw(arrays(min_ndim=1))
    key = data.draw(keys_of(x))
    assert_right(lambda x: ops.index(x, key), [x])


# ---- joining, choosing, shares

@examples
@given(st.data())
def test_the_gradients_of_any_tensors_that_are_joined_are_right(data):
    x = data.draw(arrays(min_ndim=1))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    shape = list(x.shape)
    shape[axis] = data.draw(lengths)
    assert_right(lambda a, b: ops.concatenate([a, b, a], axis), [x, ordered(apart(tuple(shape), 1), data.draw(orders))])
    assert_right(lambda a, b: ops.stack([a, b], axis), [x, ordered(apart(x.shape, 1), data.draw(orders))])


@examples
@given(st.data())
def test_the_gradient_of_any_border_and_of_any_part_is_right(data):
    x = data.draw(arrays(min_ndim=1))
    widths = [(data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in x.shape]
    axis = data.draw(st.integers(0, x.ndim - 1))
    first = data.draw(st.integers(0, x.shape[axis]))
    part = data.draw(st.integers(0, 1))
    assert_right(lambda x: ops.pad(x, widths, 0.5), [x])
    if (first, x.shape[axis] - first)[part]:
        assert_right(lambda x: ops.split(x, [first, x.shape[axis] - first], axis)[part], [x])


@examples
@given(broadcast_pairs(), seeds)
def test_the_gradients_of_any_choice_are_right(pair, seed):
    shape = np.broadcast_shapes(*[x.shape for x in pair])
    condition = np.random.default_rng(seed).random(shape[seed % (len(shape) + 1):]) < 0.5
    assert_right(lambda a, b: ops.where(condition, a, b), pair)


@examples
@given(st.data())
def test_the_gradient_of_any_softmax_and_of_its_log_is_right(data):
    x = data.draw(arrays(min_ndim=1))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    assert_right(lambda x: ops.softmax(x, axis), [x])
    assert_right(lambda x: ops.log_softmax(x, axis), [x])
