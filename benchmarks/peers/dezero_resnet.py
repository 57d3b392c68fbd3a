"""The CIFAR ResNet of `minires.models.cifar_net` (option A, with batch norm), built from DeZero's own layers."""
import numpy as np

from benchmarks.peers.dezero_engine import ZeroPad, dezero

F = dezero.functions
L = dezero.layers


def convolution(in_channels, out_channels, stride=1):
    """3 x 3, padded, without bias."""
    return L.Conv2d(out_channels, 3, stride, pad=1, nobias=True, in_channels=in_channels)


class BatchNorm(L.BatchNorm):
    """DeZero's, with the eps of the other engines: its own is 2e-5."""

    def __call__(self, x):
        return F.batch_nrom(x, self.gamma, self.beta, self.avg_mean.data, self.avg_var.data, eps=1e-5)


class Block(dezero.Layer):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x))."""

    def __init__(self, in_channels, channels, stride, residual):
        super().__init__()
        self.residual = residual
        self.changes_shape, self.channels, self.stride = in_channels != channels, channels, stride
        self.conv1, self.bn1 = convolution(in_channels, channels, stride), BatchNorm()
        self.conv2, self.bn2 = convolution(channels, channels), BatchNorm()

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.residual:
            y = y + (ZeroPad(self.channels, self.stride)(x) if self.changes_shape else x)
        return F.relu(y)


class Stage(dezero.Layer):
    """Blocks in a row, named "0", "1", … as in the other engines."""

    def __init__(self, blocks):
        super().__init__()
        self.count = len(blocks)
        for i, block in enumerate(blocks):
            setattr(self, str(i), block)

    def forward(self, x):
        for i in range(self.count):
            x = getattr(self, str(i))(x)
        return x


class CifarNet(dezero.Layer):
    """The net; the arguments are those of `minires.models.cifar_net`."""

    def __init__(self, depth, residual=True, width=16, in_channels=3, num_classes=10):
        super().__init__()
        self.conv1, self.bn1 = convolution(in_channels, width), BatchNorm()
        channels = width
        for stage in (1, 2, 3):
            blocks = []
            for i in range((depth - 2) // 6):
                blocks.append(Block(channels, width * 2 ** (stage - 1), 2 if stage > 1 and i == 0 else 1, residual))
                channels = width * 2 ** (stage - 1)
            setattr(self, f"layer{stage}", Stage(blocks))
        self.fc = L.Linear(num_classes, in_size=channels)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.layer3(self.layer2(self.layer1(y)))
        y = F.average_pooling(y, y.shape[2])
        return self.fc(y.reshape(len(y), -1))


NAMES = {"W": "weight", "b": "bias", "gamma": "weight", "beta": "bias", "avg_mean": "running_mean", "avg_var": "running_var"}


def load(net, state):
    """Copy minires's `state_dict()` into the net: every parameter of the net must be in it."""
    parameters = {}
    net._flatten_params(parameters)
    for path, parameter in parameters.items():
        *modules, last = path.split("/")
        array = state[".".join([*modules, NAMES[last]])]
        parameter.data = np.array(array.T if modules == ["fc"] and last == "W" else array)


class Step:
    """One training step: forward, backward, SGD with momentum and weight decay."""

    def __init__(self, options, images, labels, state, lr, momentum, weight_decay):
        self.net = CifarNet(**options)
        load(self.net, state)
        self.optimizer = dezero.optimizers.MomentumSGD(lr, momentum).setup(self.net)
        self.optimizer.add_hook(dezero.optimizers.WeightDecay(weight_decay))
        self.images, self.labels = dezero.Variable(images), dezero.Variable(labels)

    def __call__(self):
        loss = F.softmax_cross_entropy(self.net(self.images), self.labels)
        self.net.cleargrads()
        loss.backward()
        self.optimizer.update()
        return float(loss.data)
