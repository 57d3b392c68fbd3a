"""The double differs from NumPy where CuPy does: one test for each difference that can trip an op."""
import copy
import inspect
import io
import math
import pickle

import numpy as np
import pytest

from tests.strict_cupy import HiddenSynchronization, MixedDevices, array, functions, meter, no_sync, signatures
from tests.strict_cupy.indexing import UndefinedResult
from tests.strict_cupy.module import FUNCTIONS, REDUCTIONS


@pytest.fixture
def x(cupy):
    """[[0, 1, 2], [3, 4, 5]] in float32 on cuda:0, and the meters at zero."""
    x = cupy.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    meter.reset()
    return x


# ---- names and arguments

@pytest.mark.parametrize("name", ["errstate", "einsum_path", "vecdot", "matvec", "unstack", "insert", "geomspace", "nditer",
                                  "ndenumerate", "cudnn"])
def test_a_name_that_numpy_has_and_cupy_lacks_is_an_attribute_error(cupy, name):
    with pytest.raises(AttributeError, match=f"module 'cupy' has no attribute '{name}'"):
        getattr(cupy, name)


def test_a_name_that_only_the_double_lacks_says_so(cupy, x):
    with pytest.raises(NotImplementedError, match=r"cupy.fuse is in CuPy 14.*add it to tests/strict_cupy"):
        _ = cupy.fuse
    with pytest.raises(NotImplementedError, match=r"cupy.ndarray.sort is in CuPy"):
        _ = x.sort
    with pytest.raises(AttributeError, match="no attribute 'newbyteorder'"):
        _ = x.newbyteorder


@pytest.mark.parametrize("argument", [{"where": True}, {"initial": 0}])
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var"])
def test_reductions_take_neither_where_nor_initial(cupy, x, name, argument):
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        getattr(cupy, name)(x, **argument)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        getattr(x, name)(**argument)


@pytest.mark.parametrize("argument", ["where", "order", "subok", "axes"])
def test_ufuncs_take_only_out_dtype_and_casting(cupy, x, argument):
    with pytest.raises(TypeError, match="Wrong arguments"):
        cupy.add(x, x, **{argument: None})
    out = cupy.empty_like(x)
    assert cupy.add(x, x, out=out, dtype=np.float32, casting="same_kind") is out


def test_only_sums_and_products_are_ufunc_reductions(cupy, x):
    assert cupy.add.reduce(x).get().tolist() == [3, 5, 7]
    with pytest.raises(NotImplementedError, match=r"cupy_maximum\.reduce"):
        cupy.maximum.reduce(x)


def test_as_strided_has_no_writeable(cupy, x):
    with pytest.raises(TypeError, match="writeable"):
        cupy.lib.stride_tricks.as_strided(x, (2,), (4,), writeable=False)


def test_flags_have_no_writeable(x):
    assert x.flags.c_contiguous
    with pytest.raises(AttributeError):
        _ = x.flags.writeable


def test_the_random_generator_has_no_normal_permutation_shuffle_or_choice(cupy):
    methods = {name.rpartition(".")[2] for name in signatures.signatures() if name.startswith("cupy.random.Generator.")}
    assert len(methods) == 18
    assert not methods & {"normal", "permutation", "shuffle", "choice"}
    with pytest.raises(NotImplementedError):
        _ = cupy.random  # its streams are not NumPy's: minires draws on the host


# ---- NumPy and the array

@pytest.mark.parametrize("convert", [np.asarray, np.array, np.ascontiguousarray, lambda x: np.concatenate([x, np.ones(3)])])
def test_no_implicit_way_leads_to_numpy(x, convert):
    with pytest.raises(TypeError, match=r"Implicit conversion to a NumPy array is not allowed\. Please use `\.get\(\)`|"
                                        "Unsupported type"):
        convert(x)


@pytest.mark.parametrize("mix", [lambda x, a: x + a, lambda x, a: a + x, lambda x, a: np.maximum(x, a), lambda x, a: x @ a,
                                 lambda x, a: a @ x, lambda x, a: x == a, lambda x, a: x.__iadd__(a)])
def test_device_and_numpy_arrays_do_not_mix(x, mix):
    with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy\.ndarray'>"):
        mix(x, np.ones((3, 3), np.float32))


def test_numpys_functions_run_cupys_where_there_is_one(cupy, x):
    assert type(np.exp(x)) is type(np.sum(x)) is cupy.ndarray
    with pytest.raises(TypeError, match="no implementation found"):
        np.insert(x, 0, 0)


def test_lists_and_numpy_indices_are_copied_to_the_device_without_a_word(x):
    _ = x[[1, 0]], x[np.array([1, 0])]
    assert len(meter.uploads) == 2


def test_saving_pickling_and_deep_copies_are_made_without_a_word(x):
    assert pickle.loads(pickle.dumps(x)).get().tolist() == x.get().tolist()
    assert copy.deepcopy(x).get().tolist() == x.get().tolist()
    file = io.BytesIO()
    np.save(file, x)
    file.seek(0)
    assert np.load(file).tolist() == x.get().tolist()


@pytest.mark.parametrize("value", [np.ones(2, np.float32), [1.0, 2.0]])
def test_host_arrays_and_lists_cannot_be_assigned(x, value):
    with pytest.raises(ValueError, match=r"non-scalar numpy\.ndarray cannot be used for fill"):
        x[:, 1] = value


# ---- what waits

WAITS = {"float": float, "int": int, "bool": bool, "item": lambda x: x.item(), "get": lambda x: x.get(),
         "tolist": lambda x: x.tolist(), "print": str, "repr": repr, "f-string": lambda x: f"{x:.2f}", "math": math.sqrt,
         "nonzero": lambda x: x.reshape(1).nonzero(), "mask": lambda x: x.reshape(1)[x.reshape(1) > 0],
         "pickle": pickle.dumps, "if": lambda x: 1 if x > 0 else 2}


@pytest.mark.parametrize("wait", WAITS)
def test_what_asks_for_a_value_waits_and_raises_inside_no_sync(x, wait):
    total = x.sum()
    WAITS[wait](total)
    with no_sync(), pytest.raises(HiddenSynchronization, match=r"waits for the GPU, inside no_sync\(\)"):
        WAITS[wait](total)
    WAITS[wait](total)


def test_a_reduction_leaves_a_0_d_array_on_the_device(cupy, x):
    total = x.sum()
    assert isinstance(total, cupy.ndarray)
    assert total.shape == ()
    assert not meter.downloads
    with pytest.raises(TypeError):
        range(total)
    with pytest.raises(TypeError):
        cupy.zeros((total,))


def test_sliding_window_view_copies_at_each_call_and_as_strided_does_not(cupy, x):
    windows = cupy.lib.stride_tricks.sliding_window_view(x, (2, 2))
    assert (len(meter.uploads), len(meter.downloads)) == (1, 2)
    meter.reset()
    same = cupy.lib.stride_tricks.as_strided(x, windows.shape, windows.strides)
    assert (len(meter.uploads), len(meter.downloads)) == (0, 0)
    assert same.get().tolist() == windows.get().tolist()


def test_joining_many_arrays_copies_their_addresses_to_the_device(cupy, x):
    cupy.stack([x] * 8)
    assert not meter.uploads
    cupy.stack([x] * 9)
    assert meter.uploads == [9 * 8]


# ---- values

def test_none_is_compared_elementwise(x):
    assert (x == None).get().tolist() == [[False] * 3] * 2  # noqa: E711
    assert (x != None).get().tolist() == [[True] * 3] * 2  # noqa: E711


def test_a_python_float_keeps_float32_and_a_numpy_scalar_does_not(x):
    assert (0.1 * x).dtype == np.float32
    assert (np.float64(0.1) * x).dtype == np.float64
    assert (x.sum(dtype="float64") * x).dtype == np.float64  # a 0-d array counts as an array


def test_indices_out_of_range_wrap_without_a_word(cupy, x):
    assert x[cupy.asarray([2, -3])].get().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert x[cupy.asarray([0, 1]), cupy.asarray([3, 4])].get().tolist() == [0, 4]
    with pytest.raises(IndexError):
        _ = x[2]  # a Python integer is looked at


def test_assigning_to_one_place_twice_is_undefined(cupy, x):
    x[cupy.asarray([0, 1])] = 7.0
    with pytest.raises(UndefinedResult, match="twice"):
        x[cupy.asarray([0, 2])] = 7.0


def test_add_at_counts_every_contribution(cupy, x):
    cupy.add.at(x, cupy.asarray([0, 0, 3]), cupy.ones((3, 3), np.float32))
    assert x.get().tolist() == [[2, 3, 4], [4, 5, 6]]


def test_empty_holds_nothing_that_passes_for_zeros(cupy, x):
    assert np.isnan(cupy.empty((2, 2)).get()).all()
    assert np.isnan(cupy.empty_like(x).get()).all()
    assert (cupy.empty(3, dtype=np.int64).get() > 1000).all()


def test_results_lie_in_c_order_whatever_the_inputs_order(cupy, x):
    for made in (x.T + 1, cupy.exp(x.T), -x.T, cupy.where(x.T > 1, x.T, 0), x.T[cupy.asarray([1, 0])], x.T @ x,
                 cupy.maximum(x.T, x.T), x[:, ::-1].T * x.T, x.T.copy()):
        assert made.flags.c_contiguous, made
    assert x.T.astype(np.float64).flags.f_contiguous  # K, as NumPy's


def test_float32_denormals_are_zero_and_float64_ones_are_not(cupy):
    tiny = cupy.asarray(np.array([1e-30], np.float32))
    assert (tiny * np.float32(1e-12)).get() == 0
    assert (tiny.astype(np.float64) * 1e-280).get() > 0


@pytest.mark.parametrize(("product", "copies"), [
    (lambda cupy, x: x @ x.T, 0),
    (lambda cupy, x: cupy.tensordot(x, x, axes=((0,), (0,))), 0),
    (lambda cupy, x: x.reshape(2, 3, 1) @ x.reshape(2, 3, 1).swapaxes(1, 2), 0),  # length 1: it lies in C order as well
    (lambda cupy, x: x.reshape(1, 2, 3).swapaxes(1, 2) @ x.reshape(1, 2, 3), 1),
])
def test_a_transposed_matrix_costs_no_copy_and_a_transposed_stack_does(cupy, x, product, copies):
    product(cupy, x)
    assert meter.launches["copy of an operand"] == copies


# ---- devices

def test_kernels_run_on_the_current_device_and_refuse_an_array_of_another(cupy, x):
    with cupy.cuda.Device(1):
        y = cupy.ones((2, 3), np.float32)
        assert y.device.id == 1
        with pytest.raises(MixedDevices, match=r"resides \(0\) is different from the current device \(1\)"):
            _ = x + 1
    with pytest.raises(MixedDevices):
        _ = x + y
    with pytest.raises(MixedDevices):
        x[...] = y
    assert cupy.asarray(y).device.id == 0


def test_a_matrix_product_does_not_look_at_devices_and_gives_nonsense(cupy, x):
    with cupy.cuda.Device(1):
        y = cupy.ones((3, 2), np.float32)
    assert np.isnan((x @ y).get()).all()


def test_a_device_that_is_not_there_is_a_runtime_error(cupy):
    assert cupy.cuda.runtime.getDeviceCount() == 2
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="invalid device ordinal"):
        cupy.cuda.Device(2).use()


def test_the_meters_count_bytes_and_launches(cupy, x):
    y = cupy.asarray(np.ones((2, 3)))
    y += x
    y.get()
    assert (meter.uploads, meter.downloads, dict(meter.launches)) == ([48], [48], {"add": 1})


# ---- the double keeps to its list

METHODS = [name for name, value in vars(array.ndarray).items() if inspect.isfunction(value) or isinstance(value, property)]


@pytest.mark.parametrize("name", [name for name in METHODS if not name.startswith("_") or name.endswith("__")])
def test_the_array_has_no_method_and_no_argument_that_cupys_lacks(name):
    if name in ("__getattr__",):
        return  # how the double finds out what it lacks
    assert f"cupy.ndarray.{name}" in signatures.signatures()
    method = vars(array.ndarray)[name]
    if name.startswith("__") or name in REDUCTIONS or isinstance(method, property):
        return
    assert set(inspect.signature(method).parameters) <= set(signatures.signature(f"cupy.ndarray.{name}").parameters)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_can_take_what_the_list_lets_through(name):
    ours = inspect.signature(getattr(functions, name))
    listed = signatures.signature(f"cupy.{name}")
    if any(p.kind is p.VAR_POSITIONAL for p in listed.parameters.values()):
        return
    names = set(ours.parameters)
    assert {p.name for p in listed.parameters.values() if p.kind is not p.VAR_KEYWORD} <= names | {"order"}, name
    assert names <= set(listed.parameters) | {"kwargs"}


def test_the_list_is_that_of_the_installed_cupy():
    installed = pytest.importorskip("cupy", reason="CuPy is not installed")
    if installed.__version__ != signatures.VERSION:
        pytest.skip(f"the list is of CuPy {signatures.VERSION}, and {installed.__version__} is installed")
    from tests.strict_cupy import make_signatures

    assert list(make_signatures.lines())[1:] == signatures.LIST.read_text(encoding="utf-8").splitlines()[1:]
