"""What somebody holds never changes, whatever runs afterwards: buffers that are used again must not be seen from outside."""
import sys
import threading

import numpy as np
import pytest

import minires as mr
from minires import models, nn, ops
from minires.engine.state import state


class Zoo(nn.Module):
    """Layers of all kinds that a net of images may have, with a fork."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.wide = nn.Conv2d(8, 8, (3, 1), padding=(2, 0), dilation=(2, 1), groups=2)
        self.act = nn.Sigmoid()
        self.pointwise = nn.Conv2d(8, 4, 1)
        self.average = nn.AvgPool2d(2, padding=1)
        self.tanh = nn.Tanh()
        self.fc = nn.Linear(4, 10)

    def forward(self, x):
        x = self.pool(self.norm(self.stem(x)))
        x = x + self.act(self.wide(x)) * x
        x = self.tanh(self.average(self.pointwise(x)))
        return self.fc(ops.global_avg_pool2d(x))


def cifar(**options):
    return lambda: models.cifar_net(**{"depth": 8, "width": 4, **options})


NETS = {
    "residual": cifar(),
    "plain": cifar(residual=False),
    "projections": cifar(shortcut="B", preactivation=True),
    "with checkpoints": cifar(depth=14, checkpoint_every=1),
    "without batch norm": cifar(batch_norm=False),
    "all kinds of layers": Zoo,
}
FIRST_SHAPE = (5, 3, 12, 12)
OTHER_SHAPES = [(5, 3, 12, 12), (2, 3, 12, 12), (9, 3, 8, 16), (1, 3, 20, 20), (5, 3, 12, 12)]


def batch(shape, dtype=np.float32):
    """Images and labels, other ones at each call."""
    batch.calls += 1
    generator = np.random.default_rng([batch.calls, *shape])
    return generator.standard_normal(shape).astype(dtype), generator.integers(0, 10, shape[0])


batch.calls = 0


def loss_of(net, images, labels):
    return ops.cross_entropy(net(mr.Tensor(images)), labels)


def arrays_in(value):
    """All arrays in nested tuples and lists."""
    if isinstance(value, np.ndarray):
        return [value]
    return [array for item in value for array in arrays_in(item)] if isinstance(value, (tuple, list)) else []


class Holder(mr.BackwardHook):
    """Holds every array that passes by, with a copy of what it was then."""

    def __init__(self):
        self.held = []  # (what, array, copy)
        self.ops = []  # so that what they saved is held too

    def hold(self, what, *arrays):
        self.held += [(what, array, array.copy()) for array in arrays if array is not None]

    def after_forward(self, op, inputs, output):
        self.hold(f"inputs and output of {op.title}", *inputs, output)
        self.hold(f"what {op.title} saved", *arrays_in(op.saved))

    def after_step(self, step):
        self.hold(f"gradients at {step.op.title}", step.grad_output, *step.grad_inputs)

    def leaf_gradient(self, leaf, gradient):
        self.hold(f"the gradient of {leaf.name}", gradient)

    def check(self):
        """Nothing has changed."""
        assert len(self.held) > 10
        for what, array, copy in self.held:
            np.testing.assert_array_equal(array, copy, err_msg=what)


def held_step(net, images, labels):
    """A step of which everything is held, and its gradients."""
    holder = Holder()
    with holder:
        loss = loss_of(net, images, labels)
        net.zero_grad()
        loss.backward()
    holder.hold("the loss", loss.data)
    holder.hold("the images", images)
    for name, parameter in net.named_parameters():
        holder.hold(f"{name}.grad", parameter.grad)
    return holder


def run_steps(net, shapes, dtype=np.float32):
    """Training steps that nobody holds anything of, without moving the weights."""
    for shape in shapes:
        net.zero_grad()
        loss_of(net, *batch(shape, dtype)).backward()


def gradients_of(net, images, labels):
    """{name: array} of one step, and the loss."""
    net.zero_grad()
    loss = loss_of(net, images, labels)
    loss.backward()
    return {"loss": loss.data, **{name: parameter.grad for name, parameter in net.named_parameters()}}


def assert_equal_dicts(got, expected):
    assert list(got) == list(expected)
    for name in got:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


@pytest.fixture(params=["as usual", pytest.param("every op on two threads", marks=pytest.mark.slow)])
def op_threads(request, monkeypatch):
    """How ops share out their work: small arrays are usually left to one thread."""
    if request.param != "as usual":
        monkeypatch.setattr(mr.arrays.threads, "SMALLEST_SHARED", 1)
        monkeypatch.setitem(mr.arrays.threads._settings, "threads", 2)


# ---- one step is held while others run

@pytest.mark.usefixtures("op_threads")
@pytest.mark.parametrize("reference", [False, True], ids=["fast", "reference"])
@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_all_arrays_of_a_step_stay_as_they_are_while_other_steps_run(make, reference):
    net = make()
    with mr.reference_ops() if reference else mr.BackwardHook():
        holder = held_step(net, *batch((2, 3, 6, 6) if reference else FIRST_SHAPE))
        holder.check()
    run_steps(net, OTHER_SHAPES)
    run_steps(make().astype(np.float64), OTHER_SHAPES[:2], np.float64)
    run_steps(make(), OTHER_SHAPES[:2])
    holder.check()


def test_a_holder_notices_a_write_to_anything_that_it_holds():
    holder = held_step(cifar()(), *batch(FIRST_SHAPE))
    for _, array, _ in holder.held[::17]:
        kept = array.copy()
        array[...] = 1234
        with pytest.raises(AssertionError):
            holder.check()
        array[...] = kept
    holder.check()


@pytest.mark.usefixtures("op_threads")
@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_what_inference_returned_stays_as_it_is(make):
    net = make().eval()
    images, _ = batch(FIRST_SHAPE)
    with mr.no_grad():
        first = net(mr.Tensor(images)).data
        kept = first.copy()
        outputs = [(y, y.copy()) for y in [net(mr.Tensor(batch(shape)[0])).data for shape in OTHER_SHAPES]]
        np.testing.assert_array_equal(net(mr.Tensor(images)).data, first)
    np.testing.assert_array_equal(first, kept)
    for y, copy in outputs:
        np.testing.assert_array_equal(y, copy)
    assert not any(np.shares_memory(y, first) for y, _ in outputs)


def test_the_steps_of_a_pass_kept_in_a_list_stay_as_they_are():
    net = models.cifar_net(14, width=4)
    kept = []
    for step in mr.backward_steps(loss_of(net, *batch(FIRST_SHAPE))):
        kept += [(step, array, array.copy()) for array in (step.grad_output, *step.grad_inputs) if array is not None]
    assert len(kept) > 100
    loss_of(net, *batch(FIRST_SHAPE)).backward()  # adds to the gradients of the weights
    run_steps(net, OTHER_SHAPES)
    for step, array, copy in kept:
        np.testing.assert_array_equal(array, copy, err_msg=repr(step))


def test_retained_gradients_and_a_weights_old_gradient_stay_as_they_are():
    net = models.cifar_net(8, width=4)
    outputs = []
    for _, module in net.named_modules():
        module.forward_hooks.append(lambda module, inputs, output: (output.retain_grad(), outputs.append(output)))
    loss_of(net, *batch(FIRST_SHAPE)).backward()
    for _, module in net.named_modules():
        module.forward_hooks.clear()
    held = [(x.grad, x.grad.copy()) for x in (*outputs, *net.parameters())]
    assert len(held) > 50
    optimizer = mr.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True)
    optimizer.step()
    for shape in OTHER_SHAPES:
        optimizer.zero_grad()
        loss_of(net, *batch(shape)).backward()
        optimizer.step()
    for gradient, copy in held:
        np.testing.assert_array_equal(gradient, copy)


def test_what_a_record_or_a_state_dict_has_given_stays_as_it_is():
    net = models.cifar_net(8, width=4)
    optimizer = mr.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    with mr.record_gradients(net, optimizer) as record:
        loss_of(net, *batch(FIRST_SHAPE)).backward()
        optimizer.step()
        row = record.output_grad_norm[0], record.weight_grad_norm[0], record.update_ratio[0]
        weights, velocities = net.state_dict(), optimizer.state_dict()
        held = [(array, array.copy()) for array in (*row, *weights.values(), *arrays_in(list(velocities.values())))]
        for shape in OTHER_SHAPES:
            optimizer.zero_grad()
            loss_of(net, *batch(shape)).backward()
            optimizer.step()
        assert len(record) == 1 + len(OTHER_SHAPES)
        np.testing.assert_array_equal(record.output_grad_norm[0], row[0])
    for array, copy in held:
        np.testing.assert_array_equal(array, copy)


# ---- tensors and layers that are used more than once

def test_a_tensor_that_several_nets_use_is_left_alone_and_gets_the_sum_of_their_gradients():
    nets = [make() for make in NETS.values()]
    images, labels = batch(FIRST_SHAPE)
    kept = images.copy()
    apart = []
    for net in nets:
        x = mr.Tensor(images, requires_grad=True)
        ops.cross_entropy(net(x), labels).backward()
        apart.append(x.grad)
    x = mr.Tensor(images, requires_grad=True)
    sum([ops.cross_entropy(net(x), labels) for net in nets]).backward()
    np.testing.assert_array_equal(images, kept)
    np.testing.assert_allclose(x.grad, np.sum(apart, axis=0), rtol=1e-4, atol=1e-7)
    assert not np.shares_memory(x.grad, images)


def test_two_nets_that_share_a_layer_do_not_disturb_each_other():
    shared = nn.Conv2d(3, 6, 3, padding=1)
    first = nn.Sequential(shared, nn.BatchNorm2d(6), nn.GlobalAvgPool2d(), nn.Linear(6, 10))
    second = nn.Sequential(shared, nn.ReLU(), nn.Conv2d(6, 4, 3, stride=2), nn.GlobalAvgPool2d(), nn.Linear(4, 10))
    batches = [batch(FIRST_SHAPE), batch((3, 3, 9, 7))]
    apart = [gradients_of(net, *each) for net, each in zip((first, second), batches, strict=True)]
    for net in (first, second):
        net.zero_grad()
    losses = [loss_of(net, *each) for net, each in zip((first, second), batches, strict=True)]  # both forwards come first
    for loss in losses:
        loss.backward()
    for net, loss, alone in zip((first, second), losses, apart, strict=True):
        np.testing.assert_array_equal(loss.data, alone["loss"])
        for name, parameter in net.named_parameters():
            if not name.startswith("0."):
                np.testing.assert_array_equal(parameter.grad, alone[name], err_msg=name)
    for name in ("0.weight", "0.bias"):
        together = dict(first.named_parameters())[name].grad
        np.testing.assert_array_equal(together, apart[0][name] + apart[1][name], err_msg=name)


def test_many_graphs_may_wait_for_their_backward_in_any_order():
    net = models.cifar_net(8, width=4)
    batches = [batch(shape) for shape in OTHER_SHAPES]
    expected = [gradients_of(net, *each) for each in batches]
    losses = [loss_of(net, *each) for each in batches]
    for i in (2, 0, 4, 1, 3):
        net.zero_grad()
        losses[i].backward()
        assert_equal_dicts({name: p.grad for name, p in net.named_parameters()},
                           {name: array for name, array in expected[i].items() if name != "loss"})


def test_a_kept_graph_gives_the_same_gradients_again_after_other_steps():
    net = models.cifar_net(8, width=4)
    loss = loss_of(net, *batch(FIRST_SHAPE))
    results = []
    for _ in range(3):
        net.zero_grad()
        loss.backward(retain_graph=True)
        results.append({name: parameter.grad for name, parameter in net.named_parameters()})
        run_steps(net, OTHER_SHAPES)
    assert_equal_dicts(results[1], results[0])
    assert_equal_dicts(results[2], results[0])


@pytest.mark.usefixtures("op_threads")
def test_two_backward_passes_may_take_turns():
    nets = [models.cifar_net(8, width=4), models.cifar_net(8, width=4, seed=1)]
    batches = [batch(FIRST_SHAPE), batch((3, 3, 9, 7))]
    expected = [gradients_of(net, *each) for net, each in zip(nets, batches, strict=True)]
    for net in nets:
        net.zero_grad()
    passes = [mr.backward_steps(loss_of(net, *each)) for net, each in zip(nets, batches, strict=True)]
    held = []
    for steps in zip(*passes, strict=True):
        held += [(array, array.copy()) for step in steps for array in (step.grad_output, *step.grad_inputs)
                 if array is not None]
    for net, alone in zip(nets, expected, strict=True):
        for name, parameter in net.named_parameters():
            np.testing.assert_array_equal(parameter.grad, alone[name], err_msg=name)
    for array, copy in held:
        np.testing.assert_array_equal(array, copy)


# ---- threads

@pytest.fixture
def many_switches():
    """Threads take turns a thousand times as often as usual."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("many_switches", "op_threads")
@pytest.mark.parametrize("same_shape", [True, False])
def test_threads_that_train_at_the_same_time_get_what_each_gets_alone(same_shape):
    shapes = [FIRST_SHAPE] * 3 if same_shape else OTHER_SHAPES[1:4]
    nets = [models.cifar_net(8, width=4, seed=i) for i in range(3)]
    batches = [[batch(shape) for _ in range(6)] for shape in shapes]
    alone = [[gradients_of(net, *each) for each in own] for net, own in zip(nets, batches, strict=True)]
    barrier, results = threading.Barrier(3), {}

    def train(i):
        barrier.wait()
        results[i] = [gradients_of(nets[i], *each) for each in batches[i]]

    threads = [threading.Thread(target=train, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    for i in range(3):
        for got, expected in zip(results[i], alone[i], strict=True):
            assert_equal_dicts(got, expected)


def test_what_a_thread_made_outlives_it():
    net, holders = models.cifar_net(8, width=4), []
    for _ in range(2):
        thread = threading.Thread(target=lambda: holders.append(held_step(net, *batch(FIRST_SHAPE))))
        thread.start()
        thread.join()
    run_steps(net, OTHER_SHAPES)
    assert len(holders) == 2
    for holder in holders:
        holder.check()


# ---- a step that ends in the middle

class Interrupt(mr.BackwardHook):
    """Raises at the n-th op, in forward or in backward."""

    def __init__(self, n, direction):
        self.n, self.direction = n, direction

    def count(self, direction):
        if direction == self.direction:
            self.n -= 1
            if self.n == 0:
                raise KeyboardInterrupt

    def after_forward(self, op, inputs, output):
        self.count("forward")

    def before_step(self, step):
        self.count("backward")


@pytest.mark.usefixtures("op_threads")
@pytest.mark.parametrize("n", [4, 20])
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("checkpoint_every", [None, 2])
def test_after_an_interrupted_step_the_next_one_is_clean(direction, n, checkpoint_every):
    def make():
        return models.cifar_net(8, width=4, checkpoint_every=checkpoint_every)

    images, labels = batch(FIRST_SHAPE)
    net, untouched = make(), make()
    before = held_step(net, *batch(FIRST_SHAPE))
    net.zero_grad()
    with pytest.raises(KeyboardInterrupt), Interrupt(n, direction):
        loss_of(net, images, labels).backward()
    assert (state.hooks, state.layer, state.grad_enabled, state.rebuilding) == ((), None, True, None)
    assert_equal_dicts(gradients_of(net, images, labels), gradients_of(untouched, images, labels))
    before.check()


def test_a_pass_that_is_left_in_the_middle_disturbs_nobody():
    images, labels = batch(FIRST_SHAPE)
    net = models.cifar_net(8, width=4)
    expected = gradients_of(net, images, labels)
    net.zero_grad()  # as a pass adds to the gradients that there are
    steps = mr.backward_steps(loss_of(net, *batch(FIRST_SHAPE)))
    held = [(step.grad_output, step.grad_output.copy()) for step, _ in zip(steps, range(8), strict=False)]
    assert_equal_dicts(gradients_of(net, images, labels), expected)
    steps.close()
    assert_equal_dicts(gradients_of(net, images, labels), expected)
    for array, copy in held:
        np.testing.assert_array_equal(array, copy)


@pytest.mark.usefixtures("op_threads")
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_an_error_inside_a_convolution_leaves_nothing_that_the_next_one_would_see(direction, monkeypatch):
    layer = nn.Conv2d(3, 5, 3, padding=1)
    images = batch((40, 3, 16, 16))[0]

    def run():
        layer.zero_grad()
        x = mr.Tensor(images, requires_grad=True)
        y = layer(x)
        y.backward(np.ones(y.shape, np.float32))
        return {"y": y.data, "dx": x.grad, "dw": layer.weight.grad, "db": layer.bias.grad}

    expected = run()
    y = layer(mr.Tensor(images, requires_grad=True))
    with monkeypatch.context() as patch:
        count = iter(range(100))
        matmul = np.matmul

        def breaks(*args, **options):
            if next(count) == 2:
                raise MemoryError("in the middle")
            return matmul(*args, **options)

        patch.setattr(np, "matmul", breaks)
        with pytest.raises(MemoryError):
            _ = run() if direction == "forward" else y.backward(np.ones(y.shape, np.float32))
    assert_equal_dicts(run(), expected)
