"""The products that the fast convolution is made of: panels cut by rows and by images, however little fits into one."""
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minires as mr
from minires import nn, ops
from minires.ops.kernels import correlation
from minires.ops.kernels.correlation import Geometry, Plan, column_panels, is_pointwise, number_of_parts, plan_of
from tests.strict_cupy import installed, meter

# (shape of x, shape of weight, options): each takes another way through the fast form
WAYS = {
    "kernel rows by themselves": ((5, 2, 6, 5), (3, 2, 3, 3), {"padding": 1}),
    "all kernel rows at once": ((5, 1, 6, 5), (4, 1, 3, 3), {"padding": 1}),
    "stride": ((5, 2, 7, 6), (3, 2, 3, 3), {"stride": 2, "padding": 1}),
    "dilation": ((5, 2, 7, 7), (3, 2, 3, 2), {"dilation": 2}),
    "1 x 1": ((5, 3, 4, 3), (2, 3, 1, 1), {}),
    "more padding than kernel": ((5, 2, 3, 3), (2, 2, 2, 2), {"padding": 3}),
    "groups": ((5, 4, 5, 5), (4, 2, 3, 3), {"groups": 2}),
}


@pytest.fixture(autouse=True)
def new_plans():
    """No plan is kept from before a test that changes how they are made, and none from it."""
    plan_of.cache_clear()
    yield
    plan_of.cache_clear()


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape)


def results(x_shape, weight_shape, options):
    """[y, dx, dweight, dbias] for a random dL/dy."""
    tensors = [mr.Tensor(normal(*shape), requires_grad=True) for shape in (x_shape, weight_shape, weight_shape[:1])]
    y = ops.conv2d(*tensors, **options)
    y.backward(normal(*y.shape))
    return [y.data, *(tensor.grad for tensor in tensors)]


@pytest.mark.parametrize("fits", [1, 300, 700, 1500, 4000])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_it_makes_no_difference_how_much_fits_into_a_panel(way, fits, monkeypatch):
    with mr.reference_ops():
        expected = results(*way)
    monkeypatch.setattr(correlation, "panel_bytes", lambda xp, size: fits)
    for ours, right in zip(results(*way), expected, strict=True):
        np.testing.assert_allclose(ours, right, atol=1e-12 * np.abs(right).max())


@pytest.mark.parametrize("rows", [1, 2, 7, 1000])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_it_makes_no_difference_into_how_many_products_a_panel_is_cut(way, rows, monkeypatch):
    def rows_of_one_product(xp, total, size):
        return next(count for count in range(min(rows, total), 0, -1) if total % count == 0)

    with mr.reference_ops():
        expected = results(*way)
    monkeypatch.setattr(correlation, "rows_of_one_product", rows_of_one_product)
    for ours, right in zip(results(*way), expected, strict=True):
        np.testing.assert_allclose(ours, right, atol=1e-12 * np.abs(right).max())


def plan(g, parts, panel=640 * 1024):
    return Plan(np, g, P=1, parts=parts, panel=panel, cuts_products=True, keeps_scratch=True, is_pointwise=False)


def panels(images, g, parts, fits):
    """[(block, columns), …] with copies of the columns, as the panel is used again."""
    return [(block, [part.copy() for part in columns]) for block, columns in column_panels(images, plan(g, parts, fits))]


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(("fits", "by_images", "by_rows"), [(1, 1, 1), (2500, 1, 3), (4000, 1, 5), (13_000, 3, 6)])
def test_panels_cover_every_output_once_with_the_pixels_under_the_kernel(parts, fits, by_images, by_rows):
    N, H, W, C = 4, 6, 5, 2
    images = normal(N, H, W, C)
    g = Geometry(3, 3, 1, 1, 1, 1, 1, 1, 1, 1, OH=H, OW=W)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    visited = np.zeros((N, H, W), int)
    found = panels(images, g, parts, fits)
    for (block, rows), columns in found:
        assert len(columns) == parts
        visited[block, rows] += 1
        for n, i, j in np.ndindex(columns[0].shape[:3]):
            window = padded[block.start + n, rows.start + i:rows.start + i + 3, j:j + 3]
            got = np.concatenate([part[n, i, j] for part in columns])
            np.testing.assert_array_equal(got, window.reshape(-1))
    np.testing.assert_array_equal(visited, 1)
    if parts == 1:  # a row of outputs takes 5 · 3 · 3 · 2 · 8 = 720 bytes
        (block, rows), _ = found[0]
        assert (block.stop - block.start, rows.stop - rows.start) == (by_images, by_rows)


def test_kernel_rows_are_multiplied_by_themselves_only_where_that_is_less_work():
    def geometry(KH, KW, SH=1):
        return Geometry(KH, KW, SH, 1, 1, 1, 0, 0, 0, 0, 4, 4)

    assert number_of_parts(np, geometry(3, 3), C=16, O=16) == 3
    assert number_of_parts(np, geometry(3, 3), C=1, O=16) == 1   # 3 products of 16 numbers added for each window of 9
    assert number_of_parts(np, geometry(3, 3, SH=2), C=16, O=16) == 1  # moved down by one, it is another panel
    assert number_of_parts(np, geometry(1, 3), C=16, O=16) == 1


def test_on_a_gpu_one_product_serves_a_whole_panel():
    with installed() as cupy:
        g = Geometry(3, 3, 1, 1, 1, 1, 1, 1, 1, 1, OH=8, OW=8)
        assert number_of_parts(cupy, g, C=16, O=16) == 1
        conv = nn.Conv2d(4, 4, 3, padding=1).to("cuda")
        x = mr.Tensor(np.ones((32, 4, 8, 8), np.float32)).to("cuda")
        meter.reset()
        y = conv(x)
        assert meter.launches["matmul"] == 1
        assert meter.launches["copy of an operand"] == 0
        meter.reset()
        y.sum().backward()
        assert meter.launches["matmul"] == 1  # dweight; x wants no gradient
        assert meter.launches["copy of an operand"] == 0


@pytest.mark.parametrize("P", [1, 2, 3, 4])
@pytest.mark.parametrize("width", [4, 6, 12])
@pytest.mark.parametrize(("stride", "kernel"), [(1, (3, 3)), (2, (3, 3)), (1, (1, 3)), (3, (2, 2))])
def test_neighbouring_outputs_may_be_computed_as_one(P, width, stride, kernel, monkeypatch):
    used = []

    def pixels_at_once(xp, g, C, O):
        used.append(P if g.OW % P == 0 and g.DW == 1 and not is_pointwise(g) else 1)
        return used[-1]

    x_width = (width - 1) * stride + kernel[1]
    way = (3, 2, 7, x_width), (4, 2, *kernel), {"stride": stride}
    with mr.reference_ops():
        expected = results(*way)
    monkeypatch.setattr(correlation, "pixels_at_once", pixels_at_once)
    for ours, right in zip(results(*way), expected, strict=True):
        np.testing.assert_allclose(ours, right, atol=1e-12 * np.abs(right).max())
    assert used[0] == (P if width % P == 0 else 1)


def test_narrow_convolutions_compute_two_or_four_outputs_as_one():
    def chosen(C, O, OW, **others):
        g = Geometry(3, 3, 1, 1, 1, 1, 1, 1, 1, 1, OH=8, OW=OW)._replace(**others)
        return correlation.pixels_at_once(np, g, C, O)

    assert [chosen(16, 16, 32), chosen(4, 4, 14), chosen(3, 16, 32), chosen(3, 16, 30)] == [2, 2, 4, 2]
    assert [chosen(16, 16, 7), chosen(32, 32, 16), chosen(16, 16, 32, DW=2)] == [1, 1, 1]
    assert chosen(16, 16, 32, KH=1, KW=1, top=0, bottom=0, left=0, right=0) == 1


def test_scratch_is_kept_for_the_next_call_and_for_this_thread_alone():
    g = Geometry(3, 3, 1, 1, 1, 1, 1, 1, 1, 1, OH=6, OW=6)

    def scratch_of_a_call():
        columns = next(column_panels(normal(2, 6, 6, 3), plan(g, 3)))[1]
        return columns[0].__array_interface__["data"][0]

    with ThreadPoolExecutor(1) as other:
        here, there = scratch_of_a_call(), other.submit(scratch_of_a_call).result()
        assert here == scratch_of_a_call() != there
