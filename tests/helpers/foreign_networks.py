"""Other libraries' networks, as far as checkpoints go: state dicts under their names, and forward passes straight from these.

Written from the libraries' descriptions of their layers for these tests, of torch.nn.functional alone: no line is shared with
featx, so that a wrong name, order, stride or padding on either side shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

State = dict[str, torch.Tensor]


class Maker:
    """Collects tensors under the names it is told: random numbers, or with seed None single zeros that are stretched."""

    def __init__(self, seed: int | None) -> None:
        self.state: State = {}
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)

    def _put(
        self,
        name: str,
        shape: Sequence[int],
        scale: float = 1.0,
        offset: float = 0.0,
        *,
        uniform: bool = False,
    ) -> None:
        if self._generator is None:
            self.state[name] = torch.zeros(1).expand(*shape)
        else:
            draw = torch.rand if uniform else torch.randn
            self.state[name] = offset + scale * draw(*shape, generator=self._generator)

    def conv(self, name: str, outputs: int, inputs: int, *kernel: int, bias: bool = False) -> None:
        fan = inputs
        for side in kernel:
            fan *= side
        self._put(f"{name}.weight", (outputs, inputs, *kernel), (2 / fan) ** 0.5)
        if bias:
            self._put(f"{name}.bias", (outputs,), 0.1)

    def norm(self, name: str, width: int, *, counter: bool = True) -> None:
        self._put(f"{name}.weight", (width,), offset=0.5, uniform=True)
        self._put(f"{name}.bias", (width,), 0.3)
        self._put(f"{name}.running_mean", (width,), 0.3)
        self._put(f"{name}.running_var", (width,), offset=0.5, uniform=True)
        if counter:
            self.state[f"{name}.num_batches_tracked"] = torch.tensor(1234)

    def linear(self, name: str, outputs: int, inputs: int) -> None:
        self._put(f"{name}.weight", (outputs, inputs), (2 / inputs) ** 0.5)
        self._put(f"{name}.bias", (outputs,), 0.1)


def conv(
    s: State,
    name: str,
    x: torch.Tensor,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
) -> torch.Tensor:
    """Convolve as the kernel's dimensions say, in 2D or 3D."""
    weight = s[f"{name}.weight"]
    convolve = F.conv2d if weight.dim() == 4 else F.conv3d
    return convolve(x, weight, s.get(f"{name}.bias"), stride, padding)


def norm(s: State, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.batch_norm(
        x,
        s[f"{name}.running_mean"],
        s[f"{name}.running_var"],
        s[f"{name}.weight"],
        s[f"{name}.bias"],
        eps=1e-5,
    )


def linear(s: State, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, s[f"{name}.weight"], s[f"{name}.bias"])


def trainable(s: State) -> int:
    """How many trainable numbers there are, as torchvision counts them."""
    return sum(value.numel() for name, value in s.items() if name.endswith((".weight", ".bias")))


# ---------------------------------------------------------------- torchvision.models.video

VIDEO = {
    "r3d_18": (3, 3, 3, 3),
    "mc3_18": (3, 1, 1, 1),
    "r2plus1d_18": None,
}  # temporal kernels of layer1 ... layer4


def video_state(kind: str, classes: int = 400, seed: int | None = 3) -> State:
    """A state dict of torchvision's r3d_18, mc3_18 or r2plus1d_18."""
    m = Maker(seed)
    times = VIDEO[kind]

    def unit(at: str, outputs: int, inputs: int, middle: int, time: int | None) -> None:
        if time is not None:
            m.conv(f"{at}.0", outputs, inputs, time, 3, 3)
        else:
            m.conv(f"{at}.0.0", middle, inputs, 1, 3, 3)
            m.norm(f"{at}.0.1", middle)
            m.conv(f"{at}.0.3", outputs, middle, 3, 1, 1)
        m.norm(f"{at}.1", outputs)

    if times is not None:
        m.conv("stem.0", 64, 3, 3, 7, 7)
        m.norm("stem.1", 64)
    else:
        m.conv("stem.0", 45, 3, 1, 7, 7)
        m.norm("stem.1", 45)
        m.conv("stem.3", 64, 45, 3, 1, 1)
        m.norm("stem.4", 64)
    inputs = 64
    for layer, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            at, time = f"layer{layer}.{block}", None if times is None else times[layer - 1]
            middle = (inputs * width * 27) // (
                inputs * 9 + 3 * width
            )  # of both of the block's units
            unit(f"{at}.conv1", width, inputs, middle, time)
            unit(f"{at}.conv2", width, width, middle, time)
            if inputs != width:
                m.conv(f"{at}.downsample.0", width, inputs, 1, 1, 1)
                m.norm(f"{at}.downsample.1", width)
            inputs = width
    m.linear("fc", classes, 512)
    return m.state


def video_forward(s: State, x: torch.Tensor) -> torch.Tensor:
    """x: (N, 3, T, H, W) -> (N, classes)."""

    def unit(at: str, x: torch.Tensor, stride: int) -> torch.Tensor:
        if f"{at}.0.0.weight" in s:
            x = F.relu(
                norm(s, f"{at}.0.1", conv(s, f"{at}.0.0", x, (1, stride, stride), (0, 1, 1)))
            )
            x = conv(s, f"{at}.0.3", x, (stride, 1, 1), (1, 0, 0))
        else:
            time = s[f"{at}.0.weight"].shape[2]
            x = conv(
                s, f"{at}.0", x, (stride if time == 3 else 1, stride, stride), (time // 2, 1, 1)
            )
        return norm(s, f"{at}.1", x)

    if "stem.3.weight" in s:
        x = F.relu(norm(s, "stem.1", conv(s, "stem.0", x, (1, 2, 2), (0, 3, 3))))
        x = F.relu(norm(s, "stem.4", conv(s, "stem.3", x, 1, (1, 0, 0))))
    else:
        x = F.relu(norm(s, "stem.1", conv(s, "stem.0", x, (1, 2, 2), (1, 3, 3))))
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            at, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = unit(f"{at}.conv2", F.relu(unit(f"{at}.conv1", x, stride)), 1)
            if stride == 2:
                flat = f"{at}.conv1.0.weight" in s and s[f"{at}.conv1.0.weight"].shape[2] == 1
                x = norm(
                    s,
                    f"{at}.downsample.1",
                    conv(s, f"{at}.downsample.0", x, (1, 2, 2) if flat else 2),
                )
            x = F.relu(x + y)
    return linear(s, "fc", x.mean(dim=(2, 3, 4)))


# ---------------------------------------------------------------- ResNets: Hara et al.'s in 3D, ImageNet's in 2D

RESNETS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


def resnet_state(
    depth: int, *, dims: int, projected: bool, classes: int, seed: int | None = 5
) -> State:
    """A ResNet of 2 or 3 dimensions; `projected`: its shortcuts have weights (type B), or none (type A)."""
    m = Maker(seed)
    blocks, bottleneck = RESNETS[depth]
    m.conv("conv1", 64, 3, *[7] * dims)
    m.norm("bn1", 64)
    inputs = 64
    for layer, count in enumerate(blocks, start=1):
        width = 32 << layer
        outputs = 4 * width if bottleneck else width
        for block in range(count):
            at = f"layer{layer}.{block}"
            shapes = (
                [(width, inputs, 1), (width, width, 3), (outputs, width, 1)] if bottleneck else []
            )
            for i, (o, n, k) in enumerate(
                shapes or [(width, inputs, 3), (width, width, 3)], start=1
            ):
                m.conv(f"{at}.conv{i}", o, n, *[k] * dims)
                m.norm(f"{at}.bn{i}", o)
            if projected and block == 0 and (layer > 1 or inputs != outputs):
                m.conv(f"{at}.downsample.0", outputs, inputs, *[1] * dims)
                m.norm(f"{at}.downsample.1", outputs)
            inputs = outputs
    m.linear("fc", classes, inputs)
    return m.state


def resnet_trunk(
    s: State, x: torch.Tensor, depth: int, upto: tuple[int, int] | None = None
) -> torch.Tensor:
    """x: (N, 3, [T,] H, W) -> what the last block, or block `upto` (layer, number), gives."""
    blocks, bottleneck = RESNETS[depth]
    three_d = x.dim() == 5
    x = conv(s, "conv1", x, (1, 2, 2) if three_d else 2, 3)
    x = F.relu(norm(s, "bn1", x))
    x = F.max_pool3d(x, 3, 2, 1) if three_d else F.max_pool2d(x, 3, 2, 1)
    for layer, count in enumerate(blocks, start=1):
        for block in range(count):
            at, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            if bottleneck:
                y = F.relu(norm(s, f"{at}.bn1", conv(s, f"{at}.conv1", x)))
                y = F.relu(norm(s, f"{at}.bn2", conv(s, f"{at}.conv2", y, stride, 1)))
                y = norm(s, f"{at}.bn3", conv(s, f"{at}.conv3", y))
            else:
                y = F.relu(norm(s, f"{at}.bn1", conv(s, f"{at}.conv1", x, stride, 1)))
                y = norm(s, f"{at}.bn2", conv(s, f"{at}.conv2", y, 1, 1))
            if f"{at}.downsample.0.weight" in s:
                x = norm(s, f"{at}.downsample.1", conv(s, f"{at}.downsample.0", x, stride))
            elif x.shape != y.shape:
                x = F.avg_pool3d(x, 1, stride)
                x = torch.cat(
                    [x, torch.zeros(x.shape[0], y.shape[1] - x.shape[1], *x.shape[2:])], dim=1
                )
            x = F.relu(x + y)
            if upto == (layer, block):
                return x
    return x


def resnet_forward(s: State, x: torch.Tensor, depth: int) -> torch.Tensor:
    """x: (N, 3, [T,] H, W) -> (N, classes)."""
    return linear(s, "fc", resnet_trunk(s, x, depth).flatten(2).mean(2))


# ---------------------------------------------------------------- C3D

C3D = {
    "conv1a": (64, 3),
    "conv2a": (128, 64),
    "conv3a": (256, 128),
    "conv3b": (256, 256),
    "conv4a": (512, 256),
    "conv4b": (512, 512),
    "conv5a": (512, 512),
    "conv5b": (512, 512),
}
_SEQUENCE = {
    "conv1a": "features.0",
    "conv2a": "features.3",
    "conv3a": "features.6",
    "conv3b": "features.8",
    "conv4a": "features.11",
    "conv4b": "features.13",
    "conv5a": "features.16",
    "conv5b": "features.18",
    "fc6": "classifier.0",
    "fc7": "classifier.3",
    "fc8": "classifier.6",
}


def c3d_state(classes: int | None, seed: int | None = 7) -> State:
    """C3D under the names that DavideA/c3d-pytorch gives its layers, fc8 left out for None."""
    m = Maker(seed)
    for name, (outputs, inputs) in C3D.items():
        m.conv(
            {"conv1a": "conv1", "conv2a": "conv2"}.get(name, name),
            outputs,
            inputs,
            3,
            3,
            3,
            bias=True,
        )
    m.linear("fc6", 4096, 8192)
    m.linear("fc7", 4096, 4096)
    if classes is not None:
        m.linear("fc8", classes, 4096)
    return m.state


def c3d_names(s: State, port: str) -> State:
    """The same tensors under another port's names: sequence (pytorch-video-recognition), mmaction2, or its pretrained one."""
    renamed = {}
    for name, value in s.items():
        module, leaf = name.split(".")
        module = {"conv1": "conv1a", "conv2": "conv2a"}.get(module, module)
        if port == "sequence":
            module = _SEQUENCE[module]
        else:
            module += ".conv" if module in C3D else ""
            if port == "mmaction2":
                module = "cls_head.fc_cls" if module == "fc8" else f"backbone.{module}"
        renamed[f"{module}.{leaf}"] = value
    return renamed


def c3d_forward(s: State, x: torch.Tensor, *, padded: bool) -> dict[str, torch.Tensor]:
    """x: (N, 3, T, 112, 112) -> fc6, fc7 and, where there is one, fc8; `padded`: pool5 as ports have it, else Caffe's."""

    def pool(x: torch.Tensor, number: int) -> torch.Tensor:
        if padded:
            return F.max_pool3d(
                x, (1 if number == 1 else 2, 2, 2), padding=(0, 1, 1) if number == 5 else 0
            )
        t, h, w = x.shape[2:]
        # Caffe rounds up: what is missing at the end counts as nothing.
        x = F.pad(x, (0, w % 2, 0, h % 2, 0, t % 2 if number > 1 else 0), value=-torch.inf)
        return F.max_pool3d(x, (1 if number == 1 else 2, 2, 2))

    for number, names in enumerate(
        (["conv1"], ["conv2"], ["conv3a", "conv3b"], ["conv4a", "conv4b"], ["conv5a", "conv5b"]), 1
    ):
        for name in names:
            x = F.relu(conv(s, name, x, 1, 1))
        x = pool(x, number)
    found = {"fc6": F.relu(linear(s, "fc6", x.flatten(1)))}
    found["fc7"] = F.relu(linear(s, "fc7", found["fc6"]))
    if "fc8.weight" in s:
        found["fc8"] = linear(s, "fc8", found["fc7"])
    return found


# ---------------------------------------------------------------- ImageNet: VGG-16, DenseNets

VGG16 = (
    64,
    64,
    0,
    128,
    128,
    0,
    256,
    256,
    256,
    0,
    512,
    512,
    512,
    0,
    512,
    512,
    512,
    0,
)  # 0: a pooling


def vgg_state(widths: Sequence[int] = VGG16, seed: int | None = 9) -> State:
    m = Maker(seed)
    inputs, index = 3, 0
    for width in widths:
        if width:
            m.conv(f"features.{index}", width, inputs, 3, 3, bias=True)
            inputs = width
        index += 2 if width else 1
    m.linear("classifier.6", 10, 4)  # a classifier has no place in a semi-CNN, whatever its shape
    return m.state


def vgg_lower(s: State, x: torch.Tensor, layers: int) -> torch.Tensor:
    """x: (N, 3, H, W) -> what the first `layers` convolutions and poolings of VGG-16 give."""
    index = 0
    for width in VGG16[:layers]:
        x = F.relu(conv(s, f"features.{index}", x, 1, 1)) if width else F.max_pool2d(x, 2)
        index += 2 if width else 1
    return x


DENSENETS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32)}


def densenet_state(depth: int, seed: int | None = 11) -> State:
    m = Maker(seed)
    m.conv("features.conv0", 64, 3, 7, 7)
    m.norm("features.norm0", 64, counter=False)
    width = 64
    for block, layers in enumerate(DENSENETS[depth], start=1):
        for layer in range(1, layers + 1):
            at = f"features.denseblock{block}.denselayer{layer}"
            m.norm(f"{at}.norm1", width, counter=False)
            m.conv(f"{at}.conv1", 128, width, 1, 1)
            m.norm(f"{at}.norm2", 128, counter=False)
            m.conv(f"{at}.conv2", 32, 128, 3, 3)
            width += 32
        if block < 4:
            m.norm(f"features.transition{block}.norm", width, counter=False)
            m.conv(f"features.transition{block}.conv", width // 2, width, 1, 1)
            width //= 2
    m.norm("features.norm5", width, counter=False)
    m.linear("classifier", 1000, width)
    return m.state


def old_densenet_names(s: State) -> State:
    """The names in the files that torchvision distributes: a dot before a dense layer's 1s and 2s."""
    renamed = {}
    for name, value in s.items():
        for part in ("norm1", "conv1", "norm2", "conv2"):
            if ".denselayer" in name:
                name = name.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
        renamed[name] = value
    return renamed


def densenet_lower(s: State, x: torch.Tensor) -> torch.Tensor:
    """x: (N, 3, H, W) -> (N, 320, H/8, W/8), what the sixth layer of the second block gives."""

    def dense(x: torch.Tensor, block: int) -> torch.Tensor:
        for layer in range(1, 7):
            at = f"features.denseblock{block}.denselayer{layer}"
            y = conv(s, f"{at}.conv1", F.relu(norm(s, f"{at}.norm1", x)))
            x = torch.cat(
                [x, conv(s, f"{at}.conv2", F.relu(norm(s, f"{at}.norm2", y)), 1, 1)], dim=1
            )
        return x

    x = F.max_pool2d(F.relu(norm(s, "features.norm0", conv(s, "features.conv0", x, 2, 3))), 3, 2, 1)
    x = dense(x, 1)
    x = conv(s, "features.transition1.conv", F.relu(norm(s, "features.transition1.norm", x)))
    return dense(F.avg_pool2d(x, 2), 2)
