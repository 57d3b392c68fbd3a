"""The nets of minires.models, written again in PyTorch, with the same names for every module and parameter."""
import contextlib

import torch
from torch import nn


class ZeroPad(nn.Module):
    """Option A of He et al. 2015."""

    def __init__(self, out_channels, stride):
        super().__init__()
        self.out_channels = out_channels
        self.stride = stride

    def forward(self, x):
        kept = x[:, :, ::self.stride, ::self.stride]
        return nn.functional.pad(kept, (0, 0, 0, 0, 0, self.out_channels - x.shape[1]))


def convolution(in_channels, out_channels, kernel_size, stride=1):
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)


def normalization(channels, batch_norm):
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()


class BasicBlock(nn.Module):
    """Original or pre-activation, residual or plain."""

    def __init__(self, in_channels, channels, stride, residual, shortcut, batch_norm, preactivation):
        super().__init__()
        self.residual, self.preactivation = residual, preactivation
        self.conv1 = convolution(in_channels, channels, 3, stride)
        self.bn1 = normalization(in_channels if preactivation else channels, batch_norm)
        self.relu1 = nn.ReLU()
        self.conv2 = convolution(channels, channels, 3)
        self.bn2 = normalization(channels, batch_norm)
        self.relu2 = nn.ReLU()
        if residual and shortcut == "A" and (stride > 1 or in_channels != channels):
            self.downsample = ZeroPad(channels, stride)
        elif residual and (stride > 1 or in_channels != channels or shortcut == "C"):
            self.downsample = nn.Sequential(convolution(in_channels, channels, 1, stride),
                                            normalization(channels, batch_norm and not preactivation))
        else:
            self.downsample = None

    def forward(self, x):
        if self.preactivation:
            activated = self.relu1(self.bn1(x))
            y = self.conv2(self.relu2(self.bn2(self.conv1(activated))))
            start = activated if isinstance(self.downsample, nn.Sequential) else x
        else:
            y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
            start = x
        if self.residual:
            y = y + (start if self.downsample is None else self.downsample(start))
        return y if self.preactivation else self.relu2(y)


class CifarNet(nn.Module):
    """`minires.models.cifar_net`, with the same arguments."""

    def __init__(self, depth, residual=True, width=16, in_channels=3, num_classes=10, shortcut="A", batch_norm=True,
                 preactivation=False):
        super().__init__()
        self.conv1 = convolution(in_channels, width, 3)
        if not preactivation:
            self.bn1, self.relu = normalization(width, batch_norm), nn.ReLU()
        channels = width
        for stage in (1, 2, 3):
            blocks = []
            for i in range((depth - 2) // 6):
                stride = 2 if stage > 1 and i == 0 else 1
                out_channels = width * 2 ** (stage - 1)
                blocks.append(BasicBlock(channels, out_channels, stride, residual, shortcut, batch_norm, preactivation))
                channels = out_channels
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        if preactivation:
            self.bn_last, self.relu_last = normalization(channels, batch_norm), nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x):
        y = self.conv1(x)
        if hasattr(self, "bn1"):
            y = self.relu(self.bn1(y))
        y = self.layer3(self.layer2(self.layer1(y)))
        if hasattr(self, "bn_last"):
            y = self.relu_last(self.bn_last(y))
        return self.fc(torch.flatten(self.avgpool(y), 1))


class FlatNet(nn.Module):
    """`minires.models.flat_net`, with the same arguments."""

    def __init__(self, depth, width=16, in_channels=1, activation="relu", batch_norm=False):
        super().__init__()
        act = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[activation]
        self.depth = depth
        for i in range(depth):
            layer = {"conv": convolution(width if i else in_channels, width, 3), "bn": normalization(width, batch_norm),
                     "act": act()}
            setattr(self, f"layer{i + 1}", nn.ModuleDict(layer))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, 10)

    def forward(self, x):
        for i in range(self.depth):
            layer = getattr(self, f"layer{i + 1}")
            x = layer["act"](layer["bn"](layer["conv"](x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))


@contextlib.contextmanager
def outputs_of(net):
    """{module name: its output} of the forward that runs in the `with` block, each with its gradient kept.

    An identity makes no output of its own.
    """
    outputs = {}

    def keep(name):
        def hook(module, inputs, output):
            output.retain_grad()
            outputs[name] = output
        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in net.named_modules()
               if name and not isinstance(module, (nn.ModuleDict, nn.Identity))]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


class KinkCount:
    """How many inputs came close to a kink, of how many."""

    def __init__(self):
        self.close = 0
        self.seen = 0


@contextlib.contextmanager
def count_kinks(net, closeness=1e-9):
    """Counts, in the forward that runs in the `with` block, what lies at a kink of a piecewise linear layer.

    That is each input of a ReLU that lies within `closeness` of 0, and each window of a max pooling whose two largest
    values lie as close to each other (unless they are 0: a ReLU that comes before lets no gradient through either).
    """
    count = KinkCount()

    def relu_hook(module, inputs):
        count.close += int((inputs[0].abs() < closeness).sum())
        count.seen += inputs[0].numel()

    def max_pool_hook(module, inputs):
        x = inputs[0].detach()
        N, C, H, W = x.shape
        padded = nn.functional.pad(x, [module.padding] * 4, value=-torch.inf).reshape(N * C, 1, H + 2 * module.padding, -1)
        windows = nn.functional.unfold(padded, module.kernel_size, stride=module.stride)  # (N·C, KH·KW, OH·OW)
        largest = windows.topk(2, dim=1).values
        count.close += int(((largest[:, 0] - largest[:, 1] < closeness) & (largest[:, 0] != 0)).sum())
        count.seen += largest[:, 0].numel()

    handles = [module.register_forward_pre_hook(relu_hook if isinstance(module, nn.ReLU) else max_pool_hook)
               for module in net.modules() if isinstance(module, (nn.ReLU, nn.MaxPool2d))]
    try:
        yield count
    finally:
        for handle in handles:
            handle.remove()
