"""Module: what is registered, under which name, and what can be done with all of it at once."""
import copy
import pickle

import numpy as np
import pytest

import minires as mr
from minires import nn
from minires.errors import ArgumentError, BackwardError, DTypeError, ModuleError, StateError


def parameter(*shape, name=None):
    return mr.Tensor(np.ones(shape, np.float32), requires_grad=True, name=name)


class Scale(nn.Module):
    """x times a factor, with a buffer that no forward uses."""

    def __init__(self, value=2.0):
        super().__init__()
        self.factor = mr.Tensor(value, requires_grad=True)
        self.register_buffer("calls", np.zeros(1, np.float32))

    def forward(self, x):
        return x * self.factor


class Pair(nn.Module):
    """Two modules, one after the other, and a parameter made between them."""

    def __init__(self, first, second):
        super().__init__()
        self.first = first
        self.shift = parameter(1)
        self.second = second

    def forward(self, x):
        return self.second(self.first(x) + self.shift)


class Empty(nn.Module):
    pass


def small_net():
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))


# ---- registration and names


def test_parts_are_listed_in_the_order_in_which_they_were_assigned():
    net = Pair(Scale(), nn.Linear(2, 3))
    assert [name for name, _ in net.named_modules()] == ["", "first", "second"]
    assert [name for name, _ in net.named_parameters()] == ["shift", "first.factor", "second.weight", "second.bias"]
    assert list(net.parameters()) == [net.shift, net.first.factor, net.second.weight, net.second.bias]
    assert list(net.children()) == [net.first, net.second]
    assert list(net.named_children()) == [("first", net.first), ("second", net.second)]
    assert [(name, buffer is net.first.calls) for name, buffer in net.named_buffers()] == [("first.calls", True)]


def test_named_modules_goes_depth_first():
    net = Pair(nn.Sequential(nn.ReLU(), Scale()), nn.Sequential(nn.Tanh()))
    assert [name for name, _ in net.named_modules()] == ["", "first", "first.0", "first.1", "second", "second.0"]


def test_paths_and_parameter_names_grow_when_a_subtree_is_attached_late():
    scale = Scale()
    assert (scale.path, scale.factor.name) == ("", "factor")
    inner = nn.Sequential(scale)
    assert (scale.path, scale.factor.name) == ("0", "0.factor")
    outer = Empty()
    outer.layer = inner
    assert (outer.path, inner.path, scale.path, scale.factor.name) == ("", "layer", "layer.0", "layer.0.factor")
    inner.late = Scale()
    assert inner.late.path == "layer.late"
    assert inner.late.factor.name == "layer.late.factor"


def test_names_are_relative_to_the_module_that_is_asked_and_paths_to_the_root():
    net = Pair(nn.Sequential(Scale()), nn.ReLU())
    assert [name for name, _ in net.first.named_parameters()] == ["0.factor"]
    assert net.first[0].factor.name == "first.0.factor"


def test_a_subtree_that_is_taken_out_is_a_root_again():
    net = Pair(nn.Sequential(Scale()), nn.ReLU())
    part = net.first
    del net.first
    assert (part.path, part[0].path, part[0].factor.name) == ("", "0", "0.factor")
    assert [name for name, _ in net.named_modules()] == ["", "second"]


def test_a_replaced_child_keeps_its_place_in_the_order():
    net = Pair(Scale(), nn.ReLU())
    old, net.first = net.first, nn.Tanh()
    assert [name for name, _ in net.named_modules()] == ["", "first", "second"]
    assert (old.path, net.first.path) == ("", "first")


def test_a_part_that_becomes_a_plain_value_is_forgotten():
    net = Pair(Scale(), nn.ReLU())
    net.first = None
    net.shift = None
    assert [name for name, _ in net.named_modules()] == ["", "second"]
    assert list(net.named_parameters()) == []


def test_a_result_or_a_constant_is_no_parameter():
    net = Empty()
    net.constant = mr.Tensor([1.0])
    net.result = parameter(1) * 2
    assert list(net.named_parameters()) == []


def test_a_tensor_that_came_with_a_name_keeps_it():
    net = Empty()
    net.weight = parameter(2, name="my own")
    assert net.weight.name == "my own"
    assert [name for name, _ in net.named_parameters()] == ["weight"]
    Pair(net, Empty())  # a part of a larger net, whose name it does not take either
    assert net.path == "first"
    assert net.weight.name == "my own"


def test_a_module_under_two_names_is_visited_once_and_keeps_the_first():
    shared = Scale()
    net = Pair(shared, shared)
    assert [name for name, _ in net.named_modules()] == ["", "first"]
    assert [name for name, _ in net.named_parameters()] == ["shift", "first.factor"]
    assert list(net.state_dict()) == ["shift", "first.factor", "first.calls"]
    assert shared.path == "first"
    nn.Sequential({"pair": net})
    assert shared.path == "pair.first"


def test_tied_weights_are_one_parameter_whose_gradient_is_the_sum():
    net = Pair(Scale(3.0), Scale())
    net.second.factor = net.first.factor
    assert [name for name, _ in net.named_parameters()] == ["shift", "first.factor"]
    net(mr.Tensor([5.0])).sum().backward()
    # y = (5 w + 1) w, so dy/dw = 10 w + 1 at w = 3
    np.testing.assert_array_equal(net.first.factor.grad, 31.0)
    assert list(net.state_dict()) == ["shift", "first.factor", "first.calls", "second.calls"]


# ---- running


def test_outputs_and_ops_carry_the_dotted_name():
    net = Pair(nn.Sequential(Scale()), nn.ReLU())
    inner = net.first(mr.Tensor([1.0]))
    assert (inner.name, inner.op.layer) == ("first.0", "first.0")
    y = net(mr.Tensor([1.0]))
    assert (y.name, y.op.layer) == ("second", "second")


def test_an_op_outside_any_layer_has_no_layer_name():
    Scale()(mr.Tensor([1.0]))
    assert (parameter(1) * 2).op.layer is None


def test_the_layer_name_is_restored_after_an_error():
    net = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="layer '0'"):
        net(mr.Tensor(np.ones((1, 3))))
    assert (parameter(1) * 2).op.layer is None


def test_forward_hooks_see_module_inputs_and_output_in_order():
    net, seen = nn.Sequential(Scale(), nn.ReLU()), []
    for module in (net, net[0], net[1]):
        module.forward_hooks.append(lambda module, inputs, output: seen.append((module, inputs, output)))
    x = mr.Tensor([1.0])
    y = net(x)
    assert [module for module, _, _ in seen] == [net[0], net[1], net]
    assert seen[0][1] == (x,)
    assert seen[1][1] == (seen[0][2],)
    assert seen[2][1:] == ((x,), y)


# ---- state dicts


def test_a_state_dict_holds_copies_module_by_module():
    net = small_net()
    state = net.state_dict()
    assert list(state) == ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
                           "4.weight", "4.bias"]
    kept = state["0.weight"].copy()
    net[0].weight.data += 1
    np.testing.assert_array_equal(state["0.weight"], kept)


def test_loading_a_state_dict_makes_another_net_the_same_and_keeps_its_arrays():
    source, target = small_net(), small_net()
    source[1].running_mean += 3
    weight, array, mean = target[0].weight, target[0].weight.data, target[1].running_mean
    target.load_state_dict(source.state_dict())
    for name, values in target.state_dict().items():
        np.testing.assert_array_equal(values, source.state_dict()[name], err_msg=name)
    assert target[0].weight is weight
    assert weight.data is array
    assert target[1].running_mean is mean
    source[0].weight.data += 1
    assert not np.array_equal(source[0].weight.data, target[0].weight.data)


def test_loading_casts_to_the_dtype_of_the_net():
    source, target = small_net(), small_net().astype(np.float64)
    target.load_state_dict(source.state_dict())
    assert target[0].weight.dtype == np.float64
    np.testing.assert_array_equal(target[0].weight.data, source[0].weight.data)


def test_a_state_dict_may_hold_tensors_lists_and_integers():
    scale = Scale()
    scale.load_state_dict({"factor": mr.Tensor(5.0), "calls": [7]})
    assert scale.factor.item() == 5
    np.testing.assert_array_equal(scale.calls, [7])


def test_num_batches_tracked_is_passed_over():
    norm = nn.BatchNorm2d(2)
    norm.load_state_dict({**norm.state_dict(), "num_batches_tracked": np.array(17)})
    net = nn.Sequential(norm)
    net.load_state_dict({**net.state_dict(), "0.num_batches_tracked": np.array(17)})
    assert not hasattr(norm, "num_batches_tracked")


def test_a_state_dict_that_does_not_fit_is_refused_whole_with_all_that_is_wrong():
    net = small_net()
    before = net.state_dict()
    wrong = {name: values + 1 for name, values in before.items()}
    wrong["0.weight"] = np.zeros((2, 1, 5, 5))
    del wrong["1.running_var"], wrong["4.bias"]
    wrong["4.scale"] = np.zeros(3)
    with pytest.raises(StateError) as caught:
        net.load_state_dict(wrong)
    message = str(caught.value)
    assert "0.weight: has shape (2, 1, 5, 5), expected (2, 1, 3, 3)" in message
    assert "1.running_var: is missing" in message
    assert "4.bias: is missing" in message
    assert "4.scale: is unexpected" in message
    assert len(message.splitlines()) == 5
    for name, values in net.state_dict().items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)


def test_without_strict_only_the_common_names_are_copied():
    net = small_net()
    before = net.state_dict()
    net.load_state_dict({"4.bias": np.array([1, 2, 3]), "other": np.zeros(1)}, strict=False)
    after = net.state_dict()
    np.testing.assert_array_equal(after.pop("4.bias"), [1, 2, 3])
    for name, values in after.items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)


def test_without_strict_a_wrong_shape_is_still_refused():
    with pytest.raises(StateError, match=r"bias: has shape \(2,\), expected \(3,\)"):
        nn.Linear(2, 3).load_state_dict({"bias": np.zeros(2)}, strict=False)


@pytest.mark.parametrize(("state", "message"), [
    ([np.zeros(3)], "expected a dict of arrays, got list"),
    ({"factor": "two", "calls": [0]}, "factor holds .* expected an array of real numbers"),
    ({"factor": np.array(1j), "calls": [0]}, "factor holds complex128 values"),
])
def test_what_is_no_state_dict_is_refused(state, message):
    with pytest.raises(StateError, match=message):
        Scale().load_state_dict(state)


# ---- switching and casting


def test_train_and_eval_reach_every_module_and_return_the_net():
    net = Pair(nn.Sequential(nn.BatchNorm2d(2)), nn.ReLU())
    assert all(module.training for _, module in net.named_modules())
    assert net.eval() is net
    assert not any(module.training for _, module in net.named_modules())
    assert net.train() is net
    assert all(module.training for _, module in net.named_modules())
    net.first.eval()
    assert [module.training for _, module in net.named_modules()] == [True, False, False, True]


def test_astype_float64_converts_parameters_gradients_and_buffers_in_place():
    net = small_net()
    x = np.random.default_rng(0).standard_normal((2, 1, 4, 4))
    net(mr.Tensor(x.astype(np.float32))).sum().backward()
    parameters, state = list(net.parameters()), net.state_dict()
    assert net.astype(np.float64) is net
    assert list(net.parameters()) == parameters
    for tensor in net.parameters():
        assert tensor.dtype == tensor.grad.dtype == np.float64, tensor
    for name, values in net.state_dict().items():
        assert values.dtype == np.float64, name
        np.testing.assert_array_equal(values, state[name], err_msg=name)
    net.zero_grad()
    y = net(mr.Tensor(x))
    y.sum().backward()
    assert y.dtype == np.float64
    assert all(tensor.grad.dtype == np.float64 for tensor in net.parameters())
    assert net[1].running_mean.dtype == net[1].running_var.dtype == np.float64


def test_a_net_in_float64_has_the_right_gradients():
    net = small_net().astype(np.float64)
    mr.gradcheck(net, [np.random.default_rng(0).standard_normal((2, 1, 4, 4))])


def test_astype_float32_comes_back():
    net = small_net()
    state = net.state_dict()
    net.astype(np.float64).astype(np.float32)
    for name, values in net.state_dict().items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, state[name])


@pytest.mark.parametrize("dtype", [np.float16, np.int32, "complex64"])
def test_astype_refuses_other_dtypes(dtype):
    with pytest.raises(DTypeError, match=r"expected np.float32 or np.float64, got"):
        small_net().astype(dtype)


def test_zero_grad_sets_every_gradient_to_none():
    net = small_net()
    net(mr.Tensor(np.ones((2, 1, 4, 4)))).sum().backward()
    assert all(tensor.grad is not None for tensor in net.parameters())
    net.zero_grad()
    assert all(tensor.grad is None for tensor in net.parameters())


def test_to_cpu_changes_nothing_on_a_cpu():
    net = small_net()
    arrays = [tensor.data for tensor in net.parameters()]
    assert net.to("cpu") is net
    assert all(tensor.data is array for tensor, array in zip(net.parameters(), arrays, strict=True))


def test_a_deep_copy_is_a_net_of_its_own():
    net = small_net()
    twin = copy.deepcopy(net)
    twin[0].weight.data += 1
    twin(mr.Tensor(np.ones((2, 1, 4, 4)))).sum().backward()
    assert net[0].weight.grad is None
    assert not np.array_equal(net[0].weight.data, twin[0].weight.data)
    assert [name for name, _ in twin.named_parameters()] == [name for name, _ in net.named_parameters()]


# ---- text


def test_repr_is_a_tree_of_the_arguments():
    net = Pair(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Flatten())
    assert repr(net) == ("Pair(\n"
                         "  (first): Sequential(\n"
                         "    (0): Linear(in_features=2, out_features=3, bias=True)\n"
                         "    (1): ReLU()\n"
                         "  )\n"
                         "  (second): Flatten()\n"
                         ")")


# ---- errors


class NoSuper(nn.Module):
    def __init__(self):
        self.layer = nn.ReLU()


class NoSuperNorPart(nn.Module):
    def __init__(self):
        self.size = 3


@pytest.mark.parametrize("kind", [NoSuper, NoSuperNorPart])
def test_a_missing_super_init_is_named(kind):
    with pytest.raises(ModuleError, match=rf"{kind.__name__}: was not set up: call super\(\).__init__\(\) first"):
        kind()


def test_an_unknown_attribute_comes_with_a_suggestion_and_the_layer():
    net = nn.Sequential(nn.Conv2d(1, 1, 1))
    with pytest.raises(ModuleError, match=r"Conv2d \(layer '0'\): has no attribute 'wieght': did you mean weight"):
        _ = net[0].wieght
    with pytest.raises(AttributeError, match=r"no attribute 'zzzzzz'$"):
        _ = net.zzzzzz
    assert not hasattr(net, "zzzzzz")


def test_deleting_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing_here"):
        del Empty().nothing_here


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_of_modules_is_refused(kind):
    net = Empty()
    with pytest.raises(ArgumentError, match=rf"'layers': the parameters of modules in a {kind.__name__} would not be found"):
        net.layers = kind([nn.ReLU()])


def test_a_list_of_modules_that_are_registered_already_is_a_plain_attribute():
    net = Pair(nn.ReLU(), nn.ReLU())
    net.order = [net.second, net.first]
    assert [name for name, _ in net.named_modules()] == ["", "first", "second"]


def test_a_module_without_forward_says_so():
    with pytest.raises(ModuleError, match=r"Empty: has no forward: define forward\(self, x\)"):
        Empty()(mr.Tensor([1.0]))


def test_a_module_cannot_hold_itself():
    net = Pair(nn.ReLU(), nn.ReLU())
    with pytest.raises(ArgumentError, match="cannot hold itself"):
        net.again = net
    with pytest.raises(ArgumentError, match="cannot hold itself"):
        net.first.above = net


def test_a_parameter_is_not_replaced_by_an_array():
    net = Scale()
    with pytest.raises(DTypeError, match="'factor' is a parameter: got ndarray"):
        net.factor = np.zeros(1)
    assert [name for name, _ in net.named_parameters()] == ["factor"]


def test_a_buffer_is_replaced_only_by_an_array():
    net = Scale()
    net.calls = np.full(1, 5.0)
    assert list(net.state_dict()) == ["factor", "calls"]
    np.testing.assert_array_equal(net.state_dict()["calls"], [5.0])
    with pytest.raises(DTypeError, match="expected a NumPy or CuPy array"):
        net.calls = 5
    with pytest.raises(DTypeError, match="expected a NumPy or CuPy array"):
        net.register_buffer("other", [1, 2])
    net.register_buffer("calls", np.full(2, 6.0))  # once more, in another shape
    assert list(net.state_dict()) == ["factor", "calls"]
    np.testing.assert_array_equal(net.state_dict()["calls"], [6.0, 6.0])


@pytest.mark.parametrize("name", ["forward", "parameters", "path", "training", "forward_hooks"])
def test_a_name_that_every_module_uses_is_refused(name):
    with pytest.raises(ArgumentError, match=f"'{name}' has a meaning for every module"):
        setattr(Empty(), name, nn.ReLU())
    with pytest.raises(ArgumentError, match=f"'{name}' has a meaning for every module"):
        Empty().register_buffer(name, np.zeros(1))


@pytest.mark.parametrize("name", ["", "a.b"])
def test_a_name_with_a_dot_or_none_is_refused(name):
    with pytest.raises(ArgumentError, match="cannot name a part of a module"):
        setattr(Empty(), name, nn.ReLU())


def test_a_frozen_parameter_stays_in_the_state_dict_and_gets_no_gradient():
    net = nn.Sequential(Scale(), Scale())
    net[0].factor.requires_grad = False
    net(mr.Tensor([1.0])).sum().backward()
    assert net[0].factor.grad is None
    assert net[1].factor.grad is not None
    assert "0.factor" in net.state_dict()


def test_a_net_that_is_all_frozen_has_nothing_to_differentiate():
    net = Scale()
    net.factor.requires_grad = False
    with pytest.raises(BackwardError, match="wants no gradient"):
        net(mr.Tensor([1.0])).sum().backward()


def test_forward_takes_options_by_name():
    class Scaled(nn.Module):
        def forward(self, x, scale=1):
            return x * scale

    module, seen = Scaled(), []
    module.forward_hooks.append(lambda module, inputs, output: seen.append(inputs))
    x = mr.Tensor([2.0])
    assert module(x, scale=3).item() == module(x=x, scale=3).item() == 6
    assert [[each if each == 3 else each is x for each in inputs] for inputs in seen] == [[True, 3]] * 2


def test_what_a_forward_hook_returns_takes_the_place_of_the_output():
    layer, calls = nn.Identity(), []
    layer.forward_hooks += [lambda module, inputs, output: output * 2, lambda module, inputs, output: None,
                            lambda module, inputs, output: (calls.append(output), 3)]
    assert layer(mr.Tensor([1.0])).item() == 2
    assert len(calls) == 1


def test_a_forward_hook_that_removes_itself_skips_none_of_the_others():
    layer, called = nn.Identity(), []

    def once(module, inputs, output):
        called.append("once")
        module.forward_hooks.remove(once)

    layer.forward_hooks += [once, lambda module, inputs, output: called.append("after")]
    layer(mr.Tensor([1.0]))
    assert called == ["once", "after"]


HIDDEN = {
    "list of modules": lambda: [nn.Linear(2, 2)],
    "dict of modules": lambda: {"a": nn.Linear(2, 2)},
    "tuple in a list": lambda: [(nn.Linear(2, 2),)],
    "list of parameters": lambda: [mr.Tensor([1.0], requires_grad=True)],
}


@pytest.mark.parametrize("make", HIDDEN.values(), ids=HIDDEN)
@pytest.mark.parametrize("use", [lambda net: list(net.parameters()), lambda net: net.state_dict(),
                                 lambda net: mr.optim.SGD(net.parameters(), lr=0.1)],
                         ids=["parameters", "state_dict", "SGD"])
def test_parts_that_a_list_hides_are_refused_by_name(make, use):
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    vars(net[1])["blocks"] = make()  # as a list that was assigned while it was empty
    with pytest.raises(ArgumentError, match=r"'1\.blocks'.*would not be found.*use (nn\.Module|setattr\(self, name)"):
        use(net)


def test_a_list_of_parts_that_are_attributes_too_hides_nothing():
    net = nn.Sequential(nn.Linear(2, 2))
    net.order, net.shared, net.constants = [net[0]], {"w": net[0].weight}, [mr.Tensor([1.0])]
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]


def test_a_read_only_array_is_not_loaded_into_and_nothing_changes():
    layer = nn.Linear(2, 2)
    layer.bias.data = np.broadcast_to(np.float32(0), (2,))
    before = layer.weight.data.copy()
    with pytest.raises(ArgumentError, match=r"load_state_dict: bias: its array is read-only"):
        layer.load_state_dict({"weight": np.ones((2, 2)), "bias": np.ones(2)})
    np.testing.assert_array_equal(layer.weight.data, before)


def test_a_net_inside_a_recording_is_copied_and_pickled_without_its_hooks():
    net = nn.Sequential(nn.Linear(2, 2))
    net[0].forward_hooks.append(print_nothing)
    with mr.record_gradients(net):
        net(mr.Tensor(np.ones((1, 2)))).sum().backward()
        copies = [copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    for twin in copies:
        assert [len(module.forward_hooks) for _, module in twin.named_modules()] == [0, 1]
        twin(mr.Tensor(np.ones((1, 2))))


def print_nothing(module, inputs, output):
    """A user's own hook, which a copy keeps."""


def test_numbers_that_the_dtype_cannot_hold_and_masks_are_not_loaded():
    layer = nn.Linear(2, 1)
    state = layer.state_dict()
    with pytest.raises(StateError, match="weight: holds numbers that are too large for float32"):
        layer.load_state_dict({**state, "weight": np.array([[1e300, 1.0]])})
    with pytest.raises(DTypeError, match="weight: got a masked array"):
        layer.load_state_dict({**state, "weight": np.ma.masked_array(np.ones((1, 2)), True)})
    layer.load_state_dict({**state, "weight": np.array([[np.inf, 1.0]])})
    assert layer.weight.data[0, 0] == np.inf
