"""Every public function, given a wrong value in each of its arguments: it gives a result or a `MiniresError`, nothing else.

And what must be refused is refused, by the kind of the argument: a flag takes no text, a path no number.
"""
import inspect
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot

import minires as mr
from minires import data, debug, models, nn, ops, optim
from minires.drawing.entry import Drawing
from minires.nn import init

G = np.random.default_rng(0)
NAMESPACES = {"mr": mr, "nn": nn, "ops": ops, "optim": optim, "models": models, "data": data, "debug": debug,
              "plot": mr.plot, "init": init, "Tensor": mr.Tensor, "Module": nn.Module,
              "Optimizer": optim.Optimizer, "Schedule": optim.Schedule, "LinearWarmup": optim.LinearWarmup,
              "GradientRecord": mr.GradientRecord, "Batches": data.Batches, "Drawing": Drawing}
CLASSES = ("Tensor", "Module", "Optimizer", "Schedule", "LinearWarmup", "GradientRecord", "Batches",
           "Drawing")  # whose methods are looked at


def t(*shape):
    """A tensor of ones that wants a gradient."""
    return mr.Tensor(np.ones(shape, np.float32), requires_grad=True)


def sgd():
    return optim.SGD([t(2)], 0.1)


def adam():
    return {"params": [t(2)], "lr": 0.1, "betas": (0.9, 0.99), "eps": 0.1, "weight_decay": 0.1, "amsgrad": True}


def net():
    """A small residual net: one block."""
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), models.BasicBlock(2, 2), nn.GlobalAvgPool2d(), nn.Linear(2, 2))


def loss(model=None):
    return ops.cross_entropy((model or net())(t(2, 1, 4, 4)), [0, 1])


def record():
    model = net()
    with mr.record_gradients(model, shortcut_flow=True, histograms=True) as found:
        loss(model).backward()
    return found


def record_file(path):
    RECORD.to_csv(path)
    return path


NET, RECORD, SGD = net(), record(), sgd()  # for what does not change them
IMAGES = np.ones((4, 1, 4, 4))


def batches():
    return data.Batches(IMAGES, [0, 1, 0, 1], 2)


def state(thing):
    return thing.state_dict()


def he(**more):
    return {"tensor": t(3, 2), "generator": G, **more}


def pooling():
    return {"kernel_size": 2, "stride": 2, "padding": 0}


def block():
    return {"in_channels": 2, "channels": 2, "stride": 1, "residual": True, "shortcut": "C", "batch_norm": True,
            "stride_on": "3x3"}


def of_two():
    return {"a": t(2, 3), "b": t(2, 3)}


def reduction():
    return {"x": t(2, 3), "axis": 1, "keepdims": False}


def of_tensor(**more):
    return {"self": t(2, 3), **more}


# The arguments with which each function works, every one of its parameters; "*shape" is a tuple of positional ones.
CALLS = {
    **{f"ops.{name}": of_two for name in ("add", "subtract", "multiply", "divide", "power")},
    **{f"ops.{name}": lambda: {"x": t(2, 3)} for name in ("negate", "relu", "sigmoid", "tanh", "exp", "log", "abs",
                                                           "sqrt", "silu", "flatten")},
    "ops.leaky_relu": lambda: {"x": t(2, 3), "negative_slope": 0.2},
    "ops.elu": lambda: {"x": t(2, 3), "alpha": 1.5},
    "ops.softplus": lambda: {"x": t(2, 3), "beta": 2.0, "threshold": 20.0},
    "ops.gelu": lambda: {"x": t(2, 3), "approximate": "tanh"},
    **{f"ops.{name}": reduction for name in ("sum", "mean", "max", "logsumexp")},
    **{f"ops.{name}": lambda: {"x": t(2, 3), "axis": 1} for name in ("softmax", "log_softmax")},
    **{f"ops.{name}": lambda: {"x": t(2, 2, 4, 4), **pooling()} for name in ("max_pool2d", "avg_pool2d")},
    "ops.matmul": lambda: {"a": t(2, 3), "b": t(3, 2)},
    "ops.conv2d": lambda: {"x": t(2, 2, 5, 5), "weight": t(4, 2, 3, 3), "bias": t(4), "stride": 1, "padding": 0,
                           "dilation": 1, "groups": 1},
    "ops.linear": lambda: {"x": t(2, 3), "weight": t(4, 3), "bias": t(4)},
    "ops.batch_norm": lambda: {"x": t(4, 2, 3, 3), "weight": t(2), "bias": t(2), "running_mean": np.zeros(2, np.float32),
                               "running_var": np.ones(2, np.float32), "training": True, "momentum": 0.1, "eps": 1e-5,
                               "freeze_statistics": False},
    "ops.cross_entropy": lambda: {"logits": t(2, 3), "labels": [0, 1], "label_smoothing": 0.1, "ignore_index": -1},
    "ops.binary_cross_entropy_with_logits": lambda: {"logits": t(2, 3), "target": np.ones((2, 3))},
    "ops.mse_loss": lambda: {"prediction": t(2, 3), "target": np.ones((2, 3))},
    "ops.layer_norm": lambda: {"x": t(2, 3), "normalized_shape": 3, "weight": t(3), "bias": t(3), "eps": 1e-5},
    "ops.group_norm": lambda: {"x": t(2, 4, 3), "num_groups": 2, "weight": t(4), "bias": t(4), "eps": 1e-5},
    "ops.rms_norm": lambda: {"x": t(2, 3), "normalized_shape": [3], "weight": t(3), "eps": 1e-5},
    "ops.dropout": lambda: {"x": t(2, 3), "p": 0.5, "training": True, "generator": np.random.default_rng(0)},
    "ops.embedding": lambda: {"indices": [0, 1], "weight": t(2, 3)},
    "ops.conv1d": lambda: {"x": t(2, 2, 5), "weight": t(4, 1, 3), "bias": t(4), "stride": 1, "padding": 0, "dilation": 1,
                           "groups": 2},
    "ops.conv_transpose2d": lambda: {"x": t(2, 2, 3, 3), "weight": t(2, 4, 3, 3), "bias": t(4), "stride": 2, "padding": 0,
                                     "output_padding": 1, "groups": 1, "dilation": 1},
    "ops.upsample": lambda: {"x": t(2, 2, 3, 3), "scale_factor": 2, "mode": "bilinear"},
    "ops.global_avg_pool2d": lambda: {"x": t(2, 2, 4, 4)},
    "ops.reshape": lambda: {"x": t(2, 3), "shape": (3, 2)},
    "ops.transpose": lambda: {"x": t(2, 3), "axes": (1, 0)},
    "ops.index": lambda: {"x": t(2, 3), "key": 0},
    **{f"ops.{name}": lambda: {"tensors": [t(2, 3), t(2, 3)], "axis": 0} for name in ("concatenate", "stack")},
    "ops.split": lambda: {"x": t(2, 3), "sizes_or_count": [1, 2], "axis": 1},
    "ops.pad": lambda: {"x": t(2, 3), "pad_width": ((0, 1), (2, 0)), "value": 0.5},
    "ops.where": lambda: {"condition": [True, False, True], "a": t(2, 3), "b": t(2, 3)},
    "ops.clip": lambda: {"x": t(2, 3), "low": -1.0, "high": 1.0},
    "ops.shortcut_add": lambda: {"residual": t(2, 2, 4, 4), "shortcut": t(2, 2, 4, 4)},
    "ops.zero_pad_shortcut": lambda: {"x": t(2, 2, 4, 4), "out_channels": 4, "stride": 2},
    "ops.cast": lambda: {"x": t(2), "dtype": np.float64},
    "ops.to_device": lambda: {"x": t(2), "device": "cpu"},

    "mr.Tensor": lambda: {"array": [1.0], "requires_grad": True, "name": "x"},
    "Tensor.backward": lambda: {"self": (t(2) * 2).sum(), "gradient": 1, "retain_graph": False},
    "Tensor.to": lambda: of_tensor(device="cpu"),
    "Tensor.astype": lambda: of_tensor(dtype=np.float64),
    "Tensor.reshape": lambda: of_tensor(**{"*shape": (3, 2)}),
    "Tensor.transpose": lambda: of_tensor(**{"*axes": (1, 0)}),
    **{f"Tensor.{name}": lambda: of_tensor(axis=1, keepdims=False) for name in ("sum", "mean", "max")},
    "mr.backward_steps": lambda: {"root": loss(NET), "gradient": None, "retain_graph": False},
    "mr.reference_ops": lambda: {"enabled": True},

    "nn.Conv2d": lambda: {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "stride": 1, "padding": 0, "dilation": 1,
                          "groups": 1, "bias": True, "generator": G},
    "nn.Linear": lambda: {"in_features": 3, "out_features": 4, "bias": True, "generator": G},
    "nn.BatchNorm2d": lambda: {"num_features": 3, "eps": 1e-5, "momentum": 0.1},
    "nn.LeakyReLU": lambda: {"negative_slope": 0.2},
    "nn.ELU": lambda: {"alpha": 1.5},
    "nn.Softplus": lambda: {"beta": 2.0, "threshold": 20.0},
    "nn.GELU": lambda: {"approximate": "tanh"},
    "nn.Softmax": lambda: {"dim": 1},
    "nn.LogSoftmax": lambda: {"dim": 1},
    "nn.LayerNorm": lambda: {"normalized_shape": 3, "eps": 1e-5, "elementwise_affine": True, "bias": False},
    "nn.GroupNorm": lambda: {"num_groups": 2, "num_channels": 4, "eps": 1e-5, "affine": True},
    "nn.RMSNorm": lambda: {"normalized_shape": (3,), "eps": 1e-5, "elementwise_affine": True},
    "nn.MultiheadAttention": lambda: {"embed_dim": 4, "num_heads": 2, "bias": True, "generator": G},
    "nn.Dropout": lambda: {"p": 0.5, "seed": 0},
    "nn.Embedding": lambda: {"num_embeddings": 3, "embedding_dim": 2, "generator": G},
    "nn.Conv1d": lambda: {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "stride": 1, "padding": 0, "dilation": 1,
                          "groups": 1, "bias": True, "generator": G},
    "nn.ConvTranspose2d": lambda: {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "stride": 1, "padding": 0,
                                   "output_padding": 0, "groups": 1, "bias": True, "dilation": 1, "generator": G},
    "nn.Upsample": lambda: {"scale_factor": 2, "mode": "nearest"},
    "nn.MaxPool2d": pooling,
    "nn.AvgPool2d": pooling,
    "nn.Sequential": lambda: {"*modules": (nn.ReLU(), nn.ReLU())},
    "nn.ModuleList": lambda: {"modules": [nn.ReLU()]},
    "nn.ModuleDict": lambda: {"modules": {"a": nn.ReLU()}},
    "nn.Parameter": lambda: {"data": [1.0], "requires_grad": True, "name": "w"},
    "nn.checkpoint": lambda: {"function": ops.relu, "*inputs": (t(2),)},
    "Module.to": lambda: {"self": net(), "device": "cpu"},
    "Module.astype": lambda: {"self": net(), "dtype": np.float64},
    "Module.train": lambda: {"self": net(), "mode": True},
    "Module.load_state_dict": lambda: {"self": nn.Linear(2, 2), "state_dict": state(nn.Linear(2, 2)), "strict": True},
    "Module.register_buffer": lambda: {"self": nn.ReLU(), "name": "b", "array": np.ones(2)},

    "init.fans": lambda: {"weight": t(3, 2)},
    **{f"init.{name}": he for name in ("he_normal_", "lecun_normal_", "glorot_normal_", "glorot_uniform_", "zeros_",
                                       "ones_")},
    "init.normal_": lambda: he(std=0.1),
    "init.orthogonal_": lambda: he(gain=1.0),
    "init.delta_orthogonal_": lambda: he(tensor=t(3, 2, 3, 3), gain=1.0),
    "init.orthogonal_matrix": lambda: {"rows": 3, "columns": 2, "generator": G},
    "init.generator_for": lambda: {"seed": 0, "name": "fc.weight"},
    "init.initialize_": lambda: {"module": net(), "init": init.he_normal_, "seed": 0, "linear_init": init.zeros_},

    "optim.SGD": lambda: {"params": [t(2)], "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "nesterov": True},
    "optim.MultiStepLR": lambda: {"optimizer": sgd(), "milestones": [1, 2], "gamma": 0.1},
    "optim.Adam": adam,
    "optim.AdamW": adam,
    "optim.RMSProp": lambda: {"params": [{"params": [t(2)]}], "lr": 0.1, "alpha": 0.9, "eps": 0.1, "weight_decay": 0.1,
                              "momentum": 0.9, "centered": False},
    "optim.CosineLR": lambda: {"optimizer": SGD, "T_max": 5, "eta_min": 0.0},
    "optim.LinearWarmup": lambda: {"optimizer": SGD, "total_steps": 5, "start_factor": 0.1,
                                   "after": optim.CosineLR(SGD, 5)},
    "optim.clip_grad_norm_": lambda: {"parameters": [t(2)], "max_norm": 1.0, "error_if_nonfinite": False},
    "Optimizer.load_state_dict": lambda: {"self": sgd(), "state_dict": state(sgd())},
    "Schedule.load_state_dict": lambda: {"self": optim.MultiStepLR(sgd(), [1]), "state_dict": {"steps": 1}},
    "LinearWarmup.load_state_dict": lambda: {"self": optim.LinearWarmup(sgd(), 1),
                                             "state_dict": {"steps": 1, "base_lrs": [0.1]}},

    "models.cifar_net": lambda: {"depth": 8, "residual": True, "width": 2, "in_channels": 1, "num_classes": 2,
                                 "shortcut": "A", "batch_norm": True, "preactivation": False, "init": init.zeros_,
                                 "seed": 0, "checkpoint_every": None},
    "models.flat_net": lambda: {"depth": 2, "width": 2, "in_channels": 1, "activation": "relu", "batch_norm": False,
                                "init": init.zeros_, "seed": 0, "checkpoint_every": None},
    "models.imagenet_net": lambda: {"depth": 18, "residual": True, "num_classes": 2, "shortcut": "B", "stride_on": "3x3",
                                    "preactivation": False, "zero_init_residual": False, "init": init.zeros_, "seed": 0,
                                    "checkpoint_every": None},
    "models.make": lambda: {"name": "resnet20"},
    **{f"models.{name}": block for name in ("BasicBlock", "Bottleneck", "PreactivationBasicBlock",
                                            "PreactivationBottleneck")},
    "models.ZeroPadShortcut": lambda: {"out_channels": 2, "stride": 1},
    "models.FlatNet": lambda: {"depth": 2, "width": 2, "in_channels": 1, "activation": "relu", "batch_norm": False,
                               "num_classes": 2, "checkpoint_every": None},
    "models.ResNet": lambda: {"block": models.BasicBlock, "blocks": [1, 1], "widths": [2, 2], "in_channels": 1,
                              "num_classes": 2, "stem": "cifar", "preactivation": False, "batch_norm": True,
                              "checkpoint_every": None},

    "data.Batches": lambda: {"images": IMAGES, "labels": [0, 1, 0, 1], "batch_size": 2, "seed": 0, "shuffle": True,
                             "drop_last": False},
    "Batches.order": lambda: {"self": batches(), "epoch": 0},
    "Batches.batches": lambda: {"self": batches(), "order": [2, 1, 0]},
    "data.standardize": lambda: {"images": G.random((4, 1, 2, 2)), "mean": [0.5], "std": [0.1]},
    "data.channel_mean_and_std": lambda: {"images": G.random((4, 1, 2, 2)), "chunk": 2},
    "data.average_2x2": lambda: {"images": IMAGES},
    "data.random_crop": lambda: {"images": IMAGES, "generator": G, "padding": 1},
    "data.shift_and_flip": lambda: {"images": IMAGES, "generator": G, "padding": 1},
    "data.random_flip": lambda: {"images": IMAGES, "generator": G},
    "data.fashion_mnist_sample": lambda: {"split": "test"},
    "data.cifar10": lambda: {"folder": "none", "split": "train"},
    "data.fashion_mnist": lambda: {"folder": "none", "split": "train"},
    "data.read_idx": lambda: {"path": "none"},

    "mr.describe": lambda: {"tensor": t(2)},
    "mr.explain": lambda: {"root": (t(2) * 2).sum(), "gradient": 1.0},
    "mr.gradcheck": lambda: {"function": ops.relu, "inputs": [np.full(3, 1.5)], "rtol": 1e-5, "atol": 1e-7, "seed": 0},
    "debug.break_at": lambda: {"layer_or_op": "conv1", "when": "backward", "op": None, "step": None, "if_": None,
                               "first": None},
    "mr.draw": lambda: {"model_or_loss": NET, "path": "a.dot", "input_shape": (1, 1, 4, 4), "gradients": None,
                        "columns": None, "title": None},
    "Drawing.save": lambda: {"self": mr.draw(NET, input_shape=(1, 1, 4, 4)), "path": "a.dot"},
    "mr.summary": lambda: {"model": NET, "input_shape": (1, 1, 4, 4)},
    "mr.save": lambda: {"module_or_dict": {"a": np.ones(2)}, "path": "a.npz"},
    "mr.load": lambda: {"path": "a.npz"},
    "mr.set_threads": lambda: {"n": 1},
    "mr.record_gradients": lambda: {"model": NET, "optimizer": sgd(), "shortcut_flow": False, "activations": True,
                                    "histograms": True, "grad_scaler": None},
    "mr.stack_records": lambda: {"records": [RECORD, RECORD]},
    "mr.GradientRecord": lambda: {"columns": RECORD.columns, "rows": [], "passes": RECORD.passes},
    "GradientRecord.values": lambda: {"self": RECORD, "quantity": "weight_norm"},
    "GradientRecord.missing": lambda: {"self": RECORD, "quantity": "weight_norm"},
    "GradientRecord.with_columns": lambda: {"self": RECORD, "columns": RECORD.columns},
    "GradientRecord.select": lambda: {"self": RECORD, "*kinds": (nn.Conv2d, "3")},
    "GradientRecord.to_csv": lambda: {"self": RECORD, "path": "a.csv"},
    "GradientRecord.from_csv": lambda: {"path": Path(__file__).parent / "recording" / "two_passes.csv"},
    "GradientRecord.from_arrays": lambda: {"names": ["a", "b"], "values": {"weight_norm": [1.0, 2.0]},
                                                  "types": ["Conv2d"] * 2},
    "plot.gradient_norms": lambda: {"records": [RECORD], "labels": ["a"], "quantity": "weight_norm", "ax": None,
                                     "names": True},
    "plot.gradient_heatmap": lambda: {"record": RECORD, "quantity": "weight_norm", "ax": None},
    "plot.gradient_histograms": lambda: {"record": RECORD, "pass_number": 0, "ax": None},
    "plot.shortcut_flow": lambda: {"record": RECORD, "ax": None},
}

WITHOUT = {  # what the table lacks, and why
    "mr.BackwardStep": "a backward pass makes it",
    "models.Block": "a base class: the blocks are in the table",
    "Module.take_name": "a module calls it on its parts when they are set",
    "Module.forward": "a subclass defines it",
    "Drawing.of": "draw() calls it on the diagrams that it made",
    "optim.Optimizer": "a base class: its subclasses are in the table",
    "optim.Schedule": "a base class: its subclasses are in the table",
    "Optimizer.update": "a subclass defines it; step() calls it",
    "Optimizer.check_group": "a subclass defines it",
    "Optimizer.kept": "a subclass's update calls it",
    "Schedule.lr_after": "a subclass defines it; step() calls it",
    "LinearWarmup.lr_after": "step() calls it",
    "optim.UpdateHook": "a type for checkers",
    **{f"models.{name}": "passes its options on to cifar_net or imagenet_net" for name in models.NAMED},
}

JUNK = ["x", None, 1.5, True, -1, 0, [], {}, (), object(), [1, "a"], np.ones(3), 2, (1, 2, 3), float("nan"), "cpu",
        lambda: 1, nn.ReLU(), t(2, 3), 1j, b"x", np.int64(2), [None], [[1], [1, 2]], {1: 2}, {"a": "b"}, np.array("a"),
        "a\0b"]
CALLED = {"init", "linear_init", "function", "if_"}  # what a function calls: errors of the call itself are the user's

NUMBERS = {"lr", "momentum", "weight_decay", "gamma", "eps", "std", "gain", "rtol", "atol", "alpha", "beta",
           "label_smoothing", "negative_slope", "threshold", "eta_min", "start_factor", "max_norm", "p"}
NAMES = {"shortcut", "stride_on", "activation", "split", "quantity", "when", "first", "stem", "approximate", "mode"}
MAY_BE_INFINITE = {"threshold", "max_norm"}
NO_NUMBER = ["1", None, True, 1j, float("nan"), [0.1], np.ones(1), 10**400]
REFUSED = {  # what an argument of this kind never takes
    "flag": ["no", "", None, [], 2, 1.0, float("nan"), np.ones(3), np.array(True), object()],
    "path": [0, 1, True, 1.5, b"a", ["a"], {}, "a\0b"],
    "generator": [0, 1, "x", [], np.random, np.random.RandomState(0)],
    "seed": [-1, 1.5, True, "0", None, [0], np.ones(1), float("nan")],
    "dtype": [None, "x", int, 1.5, [], np.ones(2), "float16"],
    "device": [None, 0, "gpu", ["cpu"], np.ones(3), b"cpu"],
    "number": [*NO_NUMBER, float("inf"), np.float32("-inf")],
    "number or infinity": NO_NUMBER,
    "name": ["zzz", 0, True, [], {}, (), ["A"], np.ones(3), b"A"],
    "function": ["x", 0, 1.5, [], {}],
}


OTHERWISE = {("ops.shortcut_add", "shortcut"), ("data.standardize", "std"),  # of another kind than the name says
             ("Module.train", "mode"),
             ("ops.rms_norm", "eps"), ("nn.RMSNorm", "eps")}  # None has a meaning


def function_of(name):
    """The function or class of a dotted name, such as "ops.sum" or "Tensor.backward"."""
    space, _, last = name.partition(".")
    return getattr(NAMESPACES[space], last)


def call(name, arguments):
    """Run a function on arguments by name, to the end of what it gives; those of a layer run forward too."""
    positional, named = [], dict(arguments)
    for key, value in arguments.items():
        if key.startswith("*"):
            del named[key]
            positional, named = [*named.values(), *value], {}
    result = function_of(name)(*positional, **named)
    if isinstance(result, Iterator):
        list(result)
    return result


def with_each_place(arguments, name, value):
    """The arguments with `value` in the place of one of them; of several positional ones, in each of their places."""
    if not name.startswith("*"):
        return [{**arguments, name: value}]
    several = arguments[name]
    return [{**arguments, name: (*several[:i], value, *several[i + 1:])} for i in range(len(several))]


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """A folder of its own for what is written, and everything as it was afterwards."""
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of NumPy, about NaN; of the tests here, errors alone count
        yield
    mr.set_threads(None)
    pyplot.close("all")


@pytest.mark.parametrize("name", CALLS)
def test_junk_in_an_argument_gives_a_result_or_an_error_of_ours(name, monkeypatch):
    if name == "models.imagenet_net":  # eleven million weights for each call, and nothing is asked of them
        monkeypatch.setattr(init, "normal_", lambda tensor, generator, std: tensor)
    for argument in CALLS[name]():
        for junk in JUNK:
            if argument == "self" or (argument in CALLED and callable(junk)):
                continue
            for arguments in with_each_place(CALLS[name](), argument, junk):
                try:
                    call(name, arguments)
                except mr.MiniresError:
                    pass
                except Exception as error:
                    pytest.fail(f"{name}: {argument}={junk!r} raised {type(error).__name__}: {error}")
                pyplot.close("all")


def kind_of(argument, parameter):
    """The kind of an argument, by its name or the flag that is its default; None for others."""
    if isinstance(parameter.default, bool) or (argument in ("training", "preactivation", "batch_norm")):
        return "flag"
    if argument in ("path", "folder"):
        return "path"
    if argument in NUMBERS | NAMES:
        numeric = "number or infinity" if argument in MAY_BE_INFINITE else "number"
        return numeric if argument in NUMBERS else "name"
    return "function" if argument in CALLED else argument if argument in ("generator", "seed", "dtype", "device") else None


def arguments_to_refuse():
    """(function, argument, kind) of all whose kind is known."""
    for name, arguments in CALLS.items():
        parameters = inspect.signature(function_of(name)).parameters
        for argument in arguments():
            kind = kind_of(argument, parameters[argument]) if argument in parameters else None
            if kind is not None and (name, argument) not in OTHERWISE:
                yield name, argument, kind


@pytest.mark.parametrize(("name", "argument", "kind"), list(arguments_to_refuse()))
def test_what_an_argument_of_its_kind_never_takes_is_refused(name, argument, kind):
    for value in REFUSED[kind]:
        try:
            result = call(name, {**CALLS[name](), argument: value})
        except mr.MiniresError:
            continue
        pytest.fail(f"{name}: {argument}={value!r} gave {result!r}")


@pytest.mark.parametrize("name", CALLS)
def test_the_table_has_every_parameter_and_its_arguments_work(name):
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    parameters = inspect.signature(function_of(name)).parameters.values()
    expected = [stars.get(each.kind, "") + each.name for each in parameters]
    assert list(CALLS[name]()) == [each for each in expected if not each.startswith("**")]
    if name == "mr.load":
        mr.save({"a": np.ones(2)}, "a.npz")
    if name not in ("data.cifar10", "data.fashion_mnist", "data.read_idx"):  # which need files that are not here
        call(name, CALLS[name]())


def public_names():
    """The names of all that is public and takes arguments."""
    for space, owner in NAMESPACES.items():
        for name in getattr(owner, "__all__", vars(owner)):
            thing = getattr(owner, name)
            is_from_elsewhere = not hasattr(owner, "__all__") and getattr(thing, "__module__", "") != home_of(owner)
            is_error = isinstance(thing, type) and issubclass(thing, mr.MiniresError)
            if name.startswith("_") or not callable(thing) or is_from_elsewhere or is_error:
                continue
            if [each for each in inspect.signature(thing).parameters if each != "self"]:
                yield f"{space}.{name}"


def home_of(owner):
    """The module where a module's or a class's own functions are from."""
    return owner.__module__ if isinstance(owner, type) else owner.__name__


def test_no_public_function_is_missing_from_the_table():
    public = set(public_names())
    short = {name.partition(".")[2] for name in CALLS if name.startswith(("mr.", "debug."))}
    again = {f"{space}.{name}" for space in ("mr", "debug") for name in short}  # mr.gradcheck is debug.gradcheck
    assert sorted(public - {*CALLS, *WITHOUT} - again) == []
    assert sorted({*CALLS, *WITHOUT} - public) == []
    assert len(public) > 120


@pytest.mark.parametrize("path", [1, True, np.int64(1)])
def test_the_standard_output_is_no_path_and_stays_open(path):
    before = os.fstat(1)
    with pytest.raises(mr.DTypeError, match="the path is"):
        RECORD.to_csv(path)
    assert os.fstat(1).st_ino == before.st_ino
    assert list(Path().iterdir()) == []
