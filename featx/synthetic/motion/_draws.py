"""Random numbers that are a pure function of where they are drawn: no generator, no state, the same on every device.

A counter is hashed (the 32-bit integer hash "lowbias32", C. Wellons, "Prospecting for Hash Functions", 2018), so that clip
number 17 of a stream is the same clip in whatever batch, process or order it is made.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch

_GOLDEN = 0x9E3779B9


def signed(word: int) -> int:
    """Return the low 32 bits as torch's int32 holds them."""
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >= 1 << 31 else word


def moved(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a CPU tensor, none of whose numbers share memory, on a device, without waiting for what a GPU has to do before."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def mix(x: torch.Tensor) -> torch.Tensor:
    """Hash int32 numbers, each on its own; products wrap around."""
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * 0x7FEB352D
    x = x ^ ((x >> 15) & 0x1FFFF)
    x = x * signed(0x846CA68B)
    return x ^ ((x >> 16) & 0xFFFF)


class Draws:
    """What is drawn for each of N clips; every name is a sequence of its own.

    keys: (N, 2) int32, what tells the clips apart.
    """

    def __init__(self, keys: torch.Tensor) -> None:
        self.keys = keys

    @classmethod
    def of(cls, places: Sequence[int], *, seed: int, held_out: bool) -> Draws:
        """Return the draws of clips at these places of a stream, on the CPU."""
        words = [[place >> shift for shift in (0, 32)] for place in places]
        place = torch.tensor([[signed(word) for word in row] for row in words], dtype=torch.int32)
        stream = torch.tensor([signed(seed), signed(seed >> 32), int(held_out)], dtype=torch.int32)
        start = mix(mix(mix(stream[0]) + stream[1]) + stream[2])
        low = mix(mix(place[:, 0] ^ start) + place[:, 1])
        high = mix(mix(place[:, 1] + start) ^ mix(place[:, 0] + signed(_GOLDEN)))
        return cls(torch.stack([low, high], 1))

    def __len__(self) -> int:
        return len(self.keys)

    def to(self, device: torch.device) -> Draws:
        """Return the same draws, made on another device."""
        return Draws(moved(self.keys, device))

    def bits(self, name: str, count: int) -> torch.Tensor:
        """(N, count) int32, all bits random."""
        tag = zlib.crc32(name.encode())
        own = mix(mix(self.keys[:, 0] ^ signed(tag)) + self.keys[:, 1])
        index = torch.arange(count, dtype=torch.int32, device=self.keys.device)
        return mix(own[:, None] + mix(index * signed(_GOLDEN) + signed(tag))[None])

    def uniform(self, name: str, count: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """(N, count) float32 from low to high."""
        return ((self.bits(name, count) >> 8) & 0xFFFFFF) * ((high - low) / (1 << 24)) + low

    def one(self, name: str, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """(N,) float32 from low to high."""
        return self.uniform(name, 1, low, high)[:, 0]

    def chance(self, name: str, share: float) -> torch.Tensor:
        """(N,) bool, true for that share of the clips."""
        return self.one(name) < share

    def number(self, name: str, below: int) -> torch.Tensor:
        """(N,) int64 from 0 to below - 1."""
        return (self.one(name) * below).long()
