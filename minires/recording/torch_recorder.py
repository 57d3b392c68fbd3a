"""The gradient recorder for PyTorch: the same record of a `torch.nn.Module`, filled through PyTorch's hooks.

    with mr.record_gradients(torch_model, optimizer) as record:
        ...                                     # forward, loss.backward(), optimizer.step(), as often as you like

A hook on each tensor that a module returns shows its complete gradient, whatever happens to the tensor later: where the next
module changes it in place, as `nn.ReLU(inplace=True)` does, the gradient is that of what it was before. What the numbers
mean is said in record.py; the rest of this file is about what only PyTorch has:

    automatic mixed precision      give `grad_scaler`, and its scale is taken out; without one, as with bfloat16, nothing is
                                   scaled. The update ratio is that of a step that was not skipped.
    checkpoints                    `torch.utils.checkpoint`, in both forms; a part that runs again belongs to the pass in
                                   which it does.
    gradient accumulation          a row for each backward pass, of its own gradients alone; the update ratio stands in the
                                   last row before the step.
    `torch.autograd.grad`          is a backward pass, and has a row.
    layers on a shortcut           do not count as depth: those of a child that is called `downsample` or `shortcut`.
    shortcuts                      are found on the graph: see torch_shortcuts.py.
    compiled, scripted, sharded    refused: see torch_support.py.
"""
from __future__ import annotations

import threading
import warnings
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from minires.errors import ArgumentError, StateError
from minires.ops.shortcut import ShortcutAdd
from minires.recording.pass_graph import PassGraph
from minires.recording.recorder import GradientRecorder, RunningPass, activations_of
from minires.recording.torch_engine import (
    NO_PASS,
    call_at_the_end_of_the_pass,
    current_pass,
    is_transformed,
    is_view,
    own_weights,
    version_of,
)
from minires.recording.torch_flow import Fork, Terms, TorchFlow, measured
from minires.recording.torch_norms import euclidean_norm, on_host, ratio
from minires.recording.torch_statistics import count, statistics
from minires.recording.torch_support import check_model, check_optimizer, check_scaler
from minires.recording.uses import Use, tensors_of

# What a scaled loss scales
OF_GRADIENTS = ("output_grad_norm", "weight_grad_norm", "flow_through_shortcut", "flow_through_branch", "flow_together")
ON_SHORTCUTS = ("downsample", "shortcut")  # what torchvision, timm and others call the child that a shortcut goes through


class Given(NamedTuple):
    """What a tensor was before a module ran that may change it in place."""

    version: int  # PyTorch's count of changes in place
    name_of_view: str | None  # the module that returned it, if it is a view of another tensor


NOT_GIVEN = Given(-1, None)


class OutputHook:
    """What a tensor calls with its complete gradient; it knows the uses of modules that returned the tensor."""

    def __init__(self, recorder: TorchRecorder, outer: int) -> None:
        self.recorder = recorder
        self.outer = outer  # the backward pass in which a checkpoint made the tensor; else NO_PASS
        self.uses: list[tuple[Use, str]] = []  # and which part of the module's output it is

    def __call__(self, gradient: torch.Tensor | None) -> None:
        """The gradient is complete; None where there is none, as of a tensor beside the one that was used."""
        if gradient is not None:
            self.recorder.output_gradient(self, gradient)


class WeightHook:
    """What a weight calls with the gradient that a backward pass brings, before that is added to `grad`."""

    def __init__(self, recorder: TorchRecorder, place: int) -> None:
        self.recorder = recorder
        self.place = place  # the weight's id

    def __call__(self, gradient: torch.Tensor | None) -> None:
        """The gradient of this pass is complete."""
        if gradient is not None:
            self.recorder.weight_gradient(self.place, gradient)


class TorchPass(RunningPass):
    """What has arrived so far in a backward pass, with the gradients that reentrant checkpoints bring in parts."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.complete: set[int] = set()  # ids of the weights whose gradient came as a whole
        self.sums: dict[int, torch.Tensor] = {}  # id(weight) -> what the passes inside this one have brought
        self.terms: dict[Fork, Terms] = {}  # of the shortcuts of which a part has come
        self.flow: list[tuple[str, Use, Any]] = []  # (quantity, use, number) of the others


class TorchRecorder(GradientRecorder):
    """Fills a `GradientRecord` from a `torch.nn.Module` while its `with` block runs. Use `record_gradients`.

    Raises:
        ArgumentError: the model cannot be recorded, and why.
        DTypeError: the optimizer or the scaler is not one of PyTorch's.
    """

    _frames_to_the_call = 6
    _has_arrays = False

    def __init__(self, model: Any, optimizer: Any = None, shortcut_flow: bool = False, activations: bool = False,
                 edges: np.ndarray | None = None, grad_scaler: Any = None) -> None:
        check_model(model)
        check_optimizer(optimizer)
        check_scaler(grad_scaler)
        super().__init__(model, optimizer, activations=activations, edges=edges)
        self._grad_scaler = grad_scaler
        self._on_shortcuts = {id(module) for name, module in model.named_modules()
                              if not set(ON_SHORTCUTS).isdisjoint(name.split("."))}
        self._is_layer_of: dict[int, bool] = {}  # id(module) -> is its weight a kernel or a matrix?
        self._given: dict[tuple[int, int], dict[int, Given]] = {}  # (thread, id(module)) -> {id(input): what it was}
        self._outer: dict[int, int] = {}  # a backward pass that a checkpoint runs inside another -> that one
        self._handles: list[Any] = []  # of the hooks on modules, weights and the optimizer
        self._watched_weights: set[int] = set()  # ids of those that have a hook
        self._before: dict[Use, dict[Use, None]] = {}  # what uses were computed from, of those that are new
        self._has_run = False  # has any module of the model run?
        self._torch_flow: TorchFlow | None = None
        if shortcut_flow:
            named = list(model.named_modules())
            with_parameters = [name for name, module in named if any(True for _ in module.parameters(recurse=False))]
            self._torch_flow = TorchFlow(with_parameters, self.flow_gradient, self)
            self._modules = [module for _, module in named]  # with the model itself, which may add too

    def __reduce__(self) -> Any:
        """Where a whole model is pickled, its hooks are too."""
        raise StateError("record_gradients: a model cannot be pickled while it is recorded: save model.state_dict(), or "
                         "save the model after the block")

    def __enter__(self) -> Any:
        for module in self._modules:
            if self._torch_flow is not None or _may_change_its_input(module):
                self._handles.append(module.register_forward_pre_hook(self._before_module, with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._after_module, with_kwargs=True))
        optimizer: Any = self.optimizer
        if optimizer is not None:
            self._handles.append(optimizer.register_step_pre_hook(self._before_optimizer))
            self._handles.append(optimizer.register_step_post_hook(self._after_optimizer))
        self._is_open = True
        return self.record

    def __exit__(self, *exception: object) -> None:
        self._is_open = False
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._watched_weights.clear()
        self._passes.clear()
        self._given.clear()
        self._outer.clear()
        if not any(exception):  # else that says what is wrong
            self._say_what_is_missing()

    def _say_what_is_missing(self):
        """Nothing is left out in silence."""
        if not self._modules:
            warnings.warn("record_gradients: the model has no modules inside, which alone have columns: record "
                          "nn.Sequential(model), and run that", stacklevel=3)
        elif not self._has_run:
            warnings.warn("record_gradients: no module of the model ran in this block. If a function that torch.compile "
                          "made ran it: no hook is called inside compiled code, so run the function that was compiled",
                          stacklevel=3)
        elif self._torch_flow is not None:
            self._torch_flow.end()

    # ---- the forward pass

    def _before_module(self, module, inputs, options):
        """Note what the inputs are before the module may change them in place."""
        self._given[threading.get_ident(), id(module)] = {
            id(x): Given(version_of(x), self._name_of_view(x)) for x in _tensors_in(inputs, options) if x.requires_grad}
        if self._torch_flow is not None:
            self._torch_flow.before_module(module)

    def _name_of_view(self, x):
        """The module that returned this tensor, if it is a view of another one; else None."""
        hooks = x.grad_fn.metadata.get(self, {}) if x.grad_fn is not None and is_view(x) else {}
        return hooks[x.output_nr].uses[-1][0].name if x.output_nr in hooks else None

    def _after_module(self, module, inputs, options, output):
        name = self._names.get(id(module))
        if name is None or not self._is_open:
            return  # a copy of a module that is watched
        if is_transformed():
            raise ArgumentError("record_gradients: the model runs inside a transform of torch.func (grad, vmap, …), whose "
                                "gradients cannot be read: record loss.backward()")
        self._has_run = True
        outputs, unknown = self._made_by(name, module, inputs, options, output)
        if unknown and name and torch.is_grad_enabled():
            self._warn_once(name, unknown[0])
        if not outputs:
            self._note_frozen(name, module)
            return
        use = self._use_of(name, outputs) if name else None
        if self._activations and use is not None:
            use.activations = activations_of(outputs, statistics)
        if self._torch_flow is not None:
            self._note_shortcuts(self._torch_flow, module, name, use, [x for _, x in outputs])
        if use is not None:  # else this is the net itself
            self._note_use(use, module, outputs)

    def _made_by(self, name, module, inputs, options, output):
        """([(part, tensor)] of what the module made and whose gradient may come, what may hold others).

        A tensor that it was given is the output of the module before, if it was not changed in place.
        """
        before = self._given.pop((threading.get_ident(), id(module)), None)
        found, unknown = tensors_of(output, kind=torch.Tensor)
        made = {id(x): (part, x) for part, x in found if x.grad_fn is not None}
        for x in _tensors_in(inputs, options) if made else ():
            if id(x) in made:
                was = Given(version_of(x), None) if before is None else before.get(id(x), NOT_GIVEN)
                if was.version == version_of(x):
                    del made[id(x)]
                elif was.name_of_view is not None:
                    self._warn_of_view(was.name_of_view, name)
        return [(part, x) for part, x in found if id(x) in made], unknown

    def _warn_of_view(self, name, changed_by):
        if name not in self._warned:
            self._warned.add(name)
            warnings.warn(f"record_gradients: {name!r} returned a view of a tensor, which {changed_by!r} changed in place: "
                          "PyTorch keeps no gradient of what it was, so its column has NaN. Give that module inplace=False",
                          stacklevel=self._frames_to_the_call + 1)

    def _note_use(self, use, module, outputs):
        """From now on the tensors of an output know whose they are, and the weight does."""
        outer = self._outer_pass()
        if not self._layout.has(use.name):
            self._know(use.name, module)
            if outer == NO_PASS:  # else others have run before it: its place is known at the end of the pass
                self._layout.append(use)
        for part, tensor in outputs:
            hook = self._hook_on(tensor, outer)
            if self._is_new:
                self._note_before(use, [other for other, _ in hook.uses] or self._uses_before(tensor.grad_fn))
            hook.uses.append((use, part))
        for weight in own_weights(module):
            self._note_weight(weight, use.name)
            if weight.requires_grad and id(weight) not in self._watched_weights:
                self._watched_weights.add(id(weight))
                self._handles.append(weight.register_hook(WeightHook(self, id(weight))))

    def _note_shortcuts(self, flow, module, name, use, outputs):
        """Watch the shortcuts of a module; those with a name of their own stand behind the modules before them."""
        nodes, shortcuts = flow.after_module(module, name, outputs)
        if use is not None and len(shortcuts) == 1:
            flow.watch(shortcuts[0], use, is_numbered=False)
            return
        for i, shortcut in enumerate(shortcuts):
            before, after = flow.times_around(nodes, shortcut.add)
            time = max(before) if before else min(after) - 1 if after else next(self._clock)
            own_name = f"{name}.shortcut_add{i + 1}" if name else f"shortcut_add{i + 1}"
            self._layout.know(own_name, ShortcutAdd, False, False)
            flow.watch(shortcut, Use(own_name, None if self._is_rebuilding() else (time, i + 1)), is_numbered=True)

    def _note_before(self, use, others):
        """A use was computed from others that ran before it; None where a checkpoint hides some of them."""
        if use.time is not None and others is not None:
            earlier = [other for other in others if other.time is not None and other.time < use.time]
            self._before.setdefault(use, {}).update(dict.fromkeys(earlier))

    def _uses_before(self, node):
        """The uses that returned the tensors from which a node of PyTorch's graph was computed, none between; or None."""
        found, seen, ahead = [], set(), list(node.next_functions)
        while ahead:
            node, output_nr = ahead.pop()
            if node is None or (node, output_nr) in seen:
                continue
            seen.add((node, output_nr))
            hook = node.metadata.get(self, {}).get(output_nr)
            if hook is not None:
                found += [use for use, _ in hook.uses]
            elif node.name() == "CheckpointFunctionBackward":  # what it holds will run in the backward pass
                return None
            else:
                ahead += node.next_functions
        return found

    def _graph_of(self, one):
        """What is known of the uses that a pass has reached."""
        graph, reached = PassGraph(), {use for uses, _ in one.arrived for use, _ in uses}
        for use in reached & self._before.keys():
            graph.before[use] = {other: None for other in self._before[use] if other in reached}
        self._before.clear()
        return graph

    def _hook_on(self, tensor, outer):
        """The hook on a tensor, one for all the modules that return it, such as a block and the last layer in it."""
        hooks = tensor.grad_fn.metadata.setdefault(self, {})  # lives as long as the graph
        if tensor.output_nr not in hooks:
            hooks[tensor.output_nr] = OutputHook(self, outer)
            tensor.register_hook(hooks[tensor.output_nr])
        return hooks[tensor.output_nr]

    def _is_layer(self, module):
        """Is its weight a kernel or a matrix? One that is computed anew for each forward, by a parametrization, counts."""
        if id(module) not in self._is_layer_of:
            weight: Any = getattr(module, "weight", None)
            weights = [weight] if isinstance(weight, torch.Tensor) else own_weights(module)
            self._is_layer_of[id(module)] = any(weight.ndim >= 2 for weight in weights)
        return self._is_layer_of[id(module)]

    def _is_rebuilding(self):
        return current_pass() != NO_PASS

    def _outer_pass(self):
        """The backward pass in which a checkpoint runs this forward; NO_PASS in any other forward."""
        if not self._is_rebuilding():
            return NO_PASS
        self._running_pass()  # begins it, as only inside it can be asked when it ends
        return self._outer.get(current_pass(), current_pass())

    # ---- the backward pass

    def output_gradient(self, hook: OutputHook, gradient: torch.Tensor) -> None:
        """The gradient of a module's output is complete."""
        if self._is_open:
            if hook.outer != NO_PASS:
                self._outer[current_pass()] = hook.outer
            one = self._running_pass()
            one.arrived.append((hook.uses, euclidean_norm(gradient)))
            if self._histograms is not None:
                one.counts.append((hook.uses, count(gradient, self._histograms.edges, one.scale)))

    def weight_gradient(self, place: int, gradient: torch.Tensor) -> None:
        """The gradient that this pass brings to a weight is complete; or a part of it, in a pass inside this one."""
        if not self._is_open:
            return
        one = self._running_pass()
        if place in one.sums:
            one.sums[place] += gradient.detach()
        elif current_pass() in self._outer:
            one.sums[place] = gradient.detach().clone()
        else:
            one.complete.add(place)
            self._note_weight_gradient(one, place, gradient)

    def flow_gradient(self, fork: Fork, way: int, gradient: torch.Tensor | None) -> None:
        """One of the nodes behind a fork has brought what it brings."""
        if not self._is_open:
            return
        one = self._running_pass()
        terms = one.terms.setdefault(fork, Terms())
        terms.add(way, gradient)
        if terms.count == fork.expected:
            del one.terms[fork]
            one.flow += measured(fork, terms)
            if fork.is_numbered:
                one.arrived.append(([(fork.use, None)], None))

    def _note_weight_gradient(self, one, place, gradient):
        one.of_weights.append((place, euclidean_norm(gradient), euclidean_norm(self._weights[place][0])))

    def _add_sums(self, one: Any) -> None:
        """The parts of these gradients are there; of one that seemed to be whole before, nothing is known."""
        for place, gradient in one.sums.items():
            if place not in one.complete:
                self._note_weight_gradient(one, place, gradient)
                continue
            one.of_weights = [norms for norms in one.of_weights if norms[0] != place]
            name = self._weights[place][1]["weight_norm"][0][1]
            if name not in self._warned:
                self._warned.add(name)
                warnings.warn(f"record_gradients: the weight of {name!r} is used inside a checkpoint and outside of it, and "
                              "the two parts of its gradient arrive apart: there is NaN in its place. Give the checkpoint "
                              "use_reentrant=False", stacklevel=2)

    def _running_pass(self) -> Any:
        """What has arrived in the backward pass that runs; one that a checkpoint runs is a part of the pass around it."""
        number = self._outer.get(current_pass(), current_pass())
        if number not in self._passes:
            self._passes[number] = TorchPass(1.0 if self._histograms is None else self._scale())
            self._frozen.clear()
            call_at_the_end_of_the_pass(partial(self._end, number))
        return self._passes[number]

    def _end(self, number: int) -> None:
        """Add the numbers of this pass."""
        one: Any = self._passes.pop(number, None)
        self._outer = {inner: outer for inner, outer in self._outer.items() if outer != number}
        if one is not None and self._is_open:
            self._add_sums(one)
            if one.arrived or one.of_weights:
                if self._is_new:
                    one.graph = self._graph_of(one)
                one.counts = [(uses, counts.cpu().numpy()) for uses, counts in one.counts]
                self._add_row(one, one.flow)

    def _scale(self):
        """What the gradients of this pass are multiplied with, and the record's are not."""
        return 1.0 if self._grad_scaler is None else self._grad_scaler.get_scale()

    def _as_arrays(self, numbers):
        """[(key, 0-d tensor)] as [(key, number of NumPy)]; those of a scaled loss without its scale."""
        scale = self._scale()
        values = on_host([number for _, number in numbers])
        return [(key, value / scale if key[0] in OF_GRADIENTS else value)
                for (key, _), value in zip(numbers, values, strict=True)]

    # ---- the optimizer

    def _before_optimizer(self, optimizer, inputs, options):
        self.before_update(optimizer)

    def _after_optimizer(self, optimizer, inputs, options):
        self.after_update(optimizer)

    def _copy_of(self, weight):
        return weight.detach().clone()

    def _ratio(self, moved, before):
        return ratio(moved, before)

    def _move(self, weight, before):
        return euclidean_norm(weight.detach() - before), euclidean_norm(before)

    def _together(self, norms, others):
        return tuple(torch.hypot(one, other.to(one.device)) for one, other in zip(norms, others, strict=True))


def _tensors_in(inputs, options):
    """All tensors in the arguments of a module."""
    for x in inputs:
        if isinstance(x, torch.Tensor):
            yield x
        elif x is not None:
            yield from [found for _, found in tensors_of(x, kind=torch.Tensor)[0]]
    if options:
        yield from [found for _, found in tensors_of(options, kind=torch.Tensor)[0]]


def _may_change_its_input(module):
    """May it change a tensor that it is given in place, and return it? The layers of PyTorch do so only where asked to."""
    is_layer_of_pytorch = type(module).__module__.startswith("torch.nn.modules.") and not any(module.children())
    return not is_layer_of_pytorch or getattr(module, "inplace", False)
