"""PyTorch as it is: features of clips from a network's layers, in float32 or bf16."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn import functional

from featx.errors import UsageError, nearest
from featx.extraction.backends import OUTPUT, PROB
from featx.models import Backbone, ConvBN
from featx.models.external import evaluating_copy, has_path
from featx.models.layers import Conv3d

if TYPE_CHECKING:
    from featx.extraction.projection import Projection
    from featx.extraction.settings import Layout

Precision = Literal["float32", "bf16"]


class EagerBackend:
    """A network made ready for extraction; call it with clips and get the wanted layers' outputs.

    It works on a copy of the network, in evaluation mode, and may be called from several threads at once. A row depends
    on its clip alone, not on its place or its neighbours in the batch, to the bit for one device, precision and batch
    size on CPU.

    Args:
        model: One of featx's networks, or any module.
        layers: Names as in the papers, or any module path. "prob" is the softmax of the logits. "output" is what a module
            that is none of featx's returns.
        precision: "float32" runs the plain network in float32 arithmetic, nothing folded, no TF32. "bf16" folds batch norm
            in float64 and runs in bfloat16, except the average pooling and the classifier, which are float32. "auto" is
            bf16 where the device has it natively; for a module that is none of featx's it is float32.
        device: "auto", "cpu", "cuda", "cuda:1" or a torch.device.
        input_shape: (3, T, H, W). With it, a blank clip is run at once, and `shapes` is known before the first call.
        layout: Order of the dimensions that the module takes.
        blank: How many blank clips are run.

    Raises:
        UsageError: For an unknown layer, precision or device, when a device is not there, for a layer that has no row a
            clip, and for `prob` or the classifier where the model's weights came without one.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str],
        *,
        precision: str = "auto",
        device: str | torch.device = "auto",
        input_shape: tuple[int, int, int, int] | None = None,
        layout: Layout = "NCTHW",
        blank: int = 1,
    ) -> None:
        self._project: _Project | None = None
        self.device = resolve_device(device)
        own = isinstance(model, Backbone)
        if precision == "auto" and not own:
            precision = "float32"
        self.precision: str = resolve_precision(precision, self.device)
        self.layers = checked_layers(model, layers)
        if isinstance(model, Backbone):
            _check_classifier(model, self.layers)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._local = threading.local()
        self._dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        # A module of the user's may have a part of that name.
        self._softmax = PROB in self.layers and not has_path(model, PROB)
        # Path of the module whose output is a layer: the whole network's is the empty one.
        taps = {
            n: n if has_path(model, n) else ""
            for n in self.layers
            if n != PROB or not self._softmax
        }
        self._taps = list(taps)
        self._model: nn.Module
        if isinstance(model, Backbone):
            self._model = _prepared(
                model, keep=self._taps, precision=self.precision, device=self.device
            )
        else:
            self._model = evaluating_copy(model).to(self.device, self._dtype)
        for name, path in taps.items():
            self._model.get_submodule(path).register_forward_hook(self._tap(name))
        # Modules of others may take a tensor's memory for contiguous.
        self._memory = torch.channels_last_3d if own else torch.contiguous_format
        self._time_first = layout == "NTCHW"
        if input_shape is not None:
            self(torch.zeros((blank, *input_shape)))
        if self.device.type == "cuda":
            # Other streams may be used next, and do not wait for the weights by themselves.
            torch.cuda.synchronize(self.device)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one clip's output by layer, unflattened: res5b of Res3D is (512, 1, 7, 7); empty before the first call.

        A projected layer's is (K,).
        """
        if self._project is None or not self._shapes:
            return dict(self._shapes)
        return {**self._shapes, self._project.layer: (self._project.dims,)}

    def project(self, projection: Projection) -> None:
        """Have `finish` project a layer's rows."""
        self._project = _Project(projection, self.device)

    @torch.no_grad()
    def finish(self, rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return clips' rows, (N, D) a layer, means over their views, as they are stored: projected where that was asked."""
        if self._project is None:
            return rows
        with cuda_settings() if self.device.type == "cuda" else nullcontext():
            return {
                name: self._project(value) if name == self._project.layer else value
                for name, value in rows.items()
            }

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """x: normalised clips (N, 3, T, H, W) -> layer: (N, D) float32 on the device, in the order of `layers`."""
        x = x.to(self.device, self._dtype)
        if self._time_first:
            x = x.transpose(1, 2)
        x = x.contiguous(memory_format=self._memory)
        with cuda_settings() if self.device.type == "cuda" else nullcontext():
            taken = self._run(x)
        self._shapes = {name: tuple(taken[name].shape[1:]) for name in self.layers}
        return {name: taken[name].flatten(1) for name in self.layers}

    def _run(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        # Hooks sit on modules that all threads share: what they take goes to the calling thread's own place.
        taken: dict[str, torch.Tensor] = {}
        self._local.taken, self._local.clips = taken, len(x)
        try:
            logits = self._model(x)
        except _Enough:
            pass
        else:
            if self._softmax:
                if not isinstance(logits, torch.Tensor) or logits.dim() != 2:
                    raise UsageError(
                        "prob is the softmax of a network's output, and this one's has no number a class:"
                        " name another layer"
                    )
                taken[PROB] = torch.softmax(logits.to(torch.float32), dim=1)
        finally:
            del self._local.taken
        for name in self._taps:
            if name not in taken:
                raise UsageError(
                    f"layer {name!r} takes no part in the model's forward pass: name another"
                )
        return taken

    def _tap(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if (
                not isinstance(output, torch.Tensor)
                or output.dim() < 2
                or len(output) != self._local.clips
            ):
                raise UsageError(
                    f"layer {name!r} does not give one tensor with a row a clip: name another"
                )
            taken: dict[str, torch.Tensor] = self._local.taken
            if name in taken:
                raise UsageError(
                    f"layer {name!r} runs more than once in a forward pass: name the module around it"
                )
            # Copied at once: an in-place ReLU after this module would rewrite what it returned.
            taken[name] = output.detach().to(
                torch.float32, copy=True, memory_format=torch.contiguous_format
            )
            if len(taken) == len(self.layers):
                raise _Enough

        return hook


class _Project:
    """A projection (`featx.extraction.projection`) on a device, with rows that do not depend on their place or neighbours."""

    def __init__(self, projection: Projection, device: torch.device) -> None:
        self.layer, self.dims = projection.layer, projection.dims
        # Copies: torch's own memory begins at a multiple of 64 bytes, where numpy's may not, and vectorised sums go by that.
        self._mean = torch.tensor(projection.mean, device=device)
        self._components = torch.tensor(projection.components, device=device)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """(N, D) -> (N, K), a row at a time: what a product of whole batches rounds to may depend on a row's place."""
        return torch.stack([self._row(row.clone()) for row in rows])

    def _row(self, row: torch.Tensor) -> torch.Tensor:
        norm = torch.linalg.vector_norm(row, dtype=torch.float64)
        unit = (row / torch.where(norm > 0, norm, 1.0)).to(torch.float32)
        return torch.mv(self._components, unit - self._mean)


class _Enough(Exception):
    """Every wanted layer is taken: the rest of the forward pass would be thrown away."""


def layer_names(model: nn.Module) -> list[str]:
    """Return every name under which a layer of `model` can be extracted, in forward order of definition, then `prob`."""
    own = [] if isinstance(model, Backbone) else [OUTPUT]
    parts = (name for name, _ in model.named_modules() if name)
    return list(dict.fromkeys([*parts, *own, PROB]))


def checked_layers(model: nn.Module, layers: Sequence[str]) -> tuple[str, ...]:
    """Return `layers` without repetitions; UsageError with the nearest names for one that the model does not have."""
    known = layer_names(model)
    if isinstance(layers, str) or not layers:
        raise UsageError(
            f"layers is {layers!r}: give a list of one or more layer names, such as {known[-2]!r}"
        )
    for name in layers:
        if name not in known:
            # The papers' names are without dots; with all the paths the list would be too long to read.
            choices = [n for n in known if "." not in n] if "." not in name else known
            raise UsageError(f"the model has no layer {name!r}{nearest(name, choices)}")
    return tuple(dict.fromkeys(layers))


def _check_classifier(model: Backbone, layers: Sequence[str]) -> None:
    if model.has_classifier:
        return
    needing = {PROB, model.classifier}
    if refused := [name for name in layers if name in needing]:
        had = [name for name, _ in model.named_children() if name != model.classifier]
        instead = [name for name in layers if name not in needing] or had[-1:]
        raise UsageError(
            f"these weights have no classifier, so {' and '.join(refused)} cannot be had: give `layers={instead!r}`,"
            f" or others of {', '.join(had)}"
        )


def resolve_device(name: str | torch.device) -> torch.device:
    """Return the device of that name, "auto" being the GPU if there is one; UsageError when it is not there."""
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UsageError(f"unknown device {str(name)!r}: give auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise UsageError(
                f"device {str(name)!r} was asked for, but torch {torch.__version__} sees no GPU: use `device='cpu'`"
            )
        if device.index is not None and device.index >= count:
            raise UsageError(
                f"device {str(name)!r} was asked for, but there are {count} GPUs, numbered from cuda:0"
            )
    return device


def resolve_precision(precision: str, device: torch.device) -> Precision:
    """Return "float32" or "bf16"; "auto" is bf16 where `device` computes it natively."""
    if precision == "float32":
        return "float32"
    if precision == "bf16":
        return "bf16"
    if precision != "auto":
        raise UsageError(f"precision is {precision!r}: give auto, float32 or bf16")
    return "bf16" if _has_native_bf16(device) else "float32"


def fold_batch_norm(model: nn.Module, *, keep: Collection[str] = ()) -> None:
    """Fold every ConvBN's batch norm into its convolution, in place, in float64; for evaluation only.

    keep: paths of convolutions whose own output is wanted; their ConvBN is left as it is. The path of
        a folded batch norm stays and gives the normalised output.
    """
    for path, module in model.named_modules():
        if isinstance(module, ConvBN) and f"{path}.conv" not in keep:
            module.conv = _folded(module.conv, module.bn)
            module.bn = nn.Identity()  # type: ignore[assignment]


@torch.no_grad()
def _folded(conv: Conv3d, bn: nn.BatchNorm3d) -> Conv3d:
    if bn.running_mean is None or bn.running_var is None:
        raise TypeError("a batch norm without running statistics cannot be folded")
    # The factor and the bias are computed in float64; the product is rounded once more, below float32's own step.
    scale = (bn.running_var.double() + bn.eps).rsqrt()
    if bn.weight is not None:
        scale = scale * bn.weight.double()
    bias = (
        -bn.running_mean.double()
        if conv.bias is None
        else conv.bias.double() - bn.running_mean.double()
    )
    bias = bias * scale
    if bn.bias is not None:
        bias = bias + bn.bias.double()
    with torch.device("meta"):
        folded = Conv3d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
        )
    dtype = conv.weight.dtype
    folded.weight = nn.Parameter(
        conv.weight * scale.to(dtype)[:, None, None, None, None], requires_grad=False
    )
    folded.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
    return folded.train(conv.training)


# Outputs from which on a row of torch's product does not depend on its place in the batch, and to which fewer are filled up.
# Measured on a Xeon with AVX512, torch 2.13 with MKL 2024.2: batches of 2 to 8 rows of 40 or 80 numbers, 2 or 3 outputs.
_FEW, _ENOUGH = 4, 16


class _FewOutputs(nn.Linear):
    """A linear layer of few outputs, computed as one of more: MKL's products of few columns differ by a row's place."""

    def __init__(self, own: nn.Linear) -> None:
        super().__init__(own.in_features, own.out_features, device="meta")
        self.weight, self.bias = own.weight, own.bias
        lacking = _ENOUGH - own.out_features
        bias = own.weight.new_zeros(own.out_features) if own.bias is None else own.bias
        self._filled = functional.pad(own.weight.detach(), (0, 0, 0, lacking))
        self._filled_bias = functional.pad(bias.detach(), (0, lacking))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, in_features) -> (N, out_features)."""
        return functional.linear(x, self._filled, self._filled_bias)[:, : self.out_features]


def _prepared(
    model: Backbone, *, keep: Collection[str], precision: str, device: torch.device
) -> Backbone:
    """Return a copy of `model` ready to be called on `device` with clips of `precision`."""
    if precision == "float32":
        model = copy.deepcopy(model).float()
    else:
        # The parameters' numbers need no copy of their own: folding and casting make new ones.
        shared = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in model.parameters()}
        model = copy.deepcopy(model, dict[int, Any](shared)).float()
        # A bf16 logit of 20 is off by up to 0.06, and so is the logarithm of prob: this one small layer stays in float32.
        classifier = copy.deepcopy(model.get_submodule(model.classifier))
        for module in model.modules():
            if isinstance(
                module, nn.AdaptiveAvgPool3d
            ):  # costs nothing, and keeps the mean of 49 numbers from being rounded again
                module.register_forward_pre_hook(_to_float32)
        fold_batch_norm(model, keep=keep)
        # Norms that no convolution precedes keep their numbers: a mean of 1 rounded to bf16 is off by up to 0.004.
        norms = [
            (module, module.state_dict())
            for module in model.modules()
            if isinstance(module, nn.BatchNorm3d)
        ]
        norms = [
            (module, {name: value.clone() for name, value in state.items()})
            for module, state in norms
        ]
        model.to(torch.bfloat16)
        for module, state in norms:
            module.float().load_state_dict(state)
        model.set_submodule(model.classifier, classifier)
    last = model.get_submodule(model.classifier)
    if isinstance(last, nn.Linear) and last.out_features < _FEW and device.type == "cpu":
        last = _FewOutputs(last)
        model.set_submodule(model.classifier, last)
    if precision != "float32":
        last.register_forward_pre_hook(_to_float32)
    model.eval().requires_grad_(False)
    return model.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload, no-any-return]


def _to_float32(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(x.float() for x in inputs)


def _has_native_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False  # without oneDNN, torch computes bf16 convolutions one number at a time
    if sys.platform == "linux":
        return cpu_has_bf16(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    return any(
        getattr(torch.cpu, name, bool)()
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


def cpu_has_bf16(cpuinfo: str) -> bool:
    """Return whether the text of Linux's /proc/cpuinfo names bf16 arithmetic: AVX512-BF16 or AMX on x86, BF16 on ARM."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):  # x86 and ARM; every core has the same
            return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(value.split())
    return False


_CUDA_SETTINGS = threading.Lock()


@contextmanager
def cuda_settings(*, benchmark: bool = False, deterministic: bool = True) -> Iterator[None]:
    """Exact CUDA arithmetic (no TF32) for the kernels launched inside; the process's own settings come back after.

    benchmark: have cuDNN measure which of its kernels are the fastest. deterministic: take those that repeat themselves.

    The settings belong to the process, so one thread at a time is inside: enough to launch kernels, which run on alone.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    wanted: list[tuple[Any, str, Any]] = [
        (cudnn, "benchmark", benchmark),
        (cudnn, "deterministic", deterministic),
    ]
    if hasattr(
        cudnn, "conv"
    ):  # since torch 2.9; it refuses to answer through both the new names and the old
        wanted += [(cudnn.conv, "fp32_precision", "ieee"), (matmul, "fp32_precision", "ieee")]
    else:
        wanted += [(cudnn, "allow_tf32", False), (matmul, "allow_tf32", False)]
    with _CUDA_SETTINGS:
        found = [(owner, name, getattr(owner, name)) for owner, name, _ in wanted]
        try:
            for owner, name, value in wanted:
                setattr(owner, name, value)
            yield
        finally:
            for owner, name, value in found:
                setattr(owner, name, value)
