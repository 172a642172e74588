"""From tensors to the constants of a specialisation."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from graphattn.ops.cpu.specialise import Constants, Kernel
from graphattn.ops.normaliser import normaliser_of

# The longest vector that a row is read in, in bytes: beyond it the registers of a core would not hold the sums.
TILE_BYTES = 512
# A head wider than a tile is read in tiles of one of these lengths, and padded to a multiple of the smaller.
PART_BYTES = (512, 256)

# Full attention takes a head as one vector, for four queries at once.
MOST_DENSE_CHANNELS = 64

STORAGE = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}
COMPUTE = {"float32": "float32", "float64": "float64", "bfloat16": "float32"}
BYTES = {"float32": 4, "float64": 8}

# The templates of the scores, by the name of the score or, of an additive one, of its activation.
SCORES = {"dot": "score_dot", "leaky_relu": "score_additive", "tanh": "score_additive"}
# The normalisers that have a template, `kernels/normaliser_….py`.
NORMALISERS = frozenset(path.stem.removeprefix("normaliser_") for path in Path(__file__).parent.glob("kernels/normaliser_*.py"))


class Form(NamedTuple):
    """What a kernel is specialised for; see `kernels/constants.py`."""

    heads: int
    key_channels: int
    value_channels: int
    edge_channels: int
    storage: str
    index_bits: int
    score: str
    normaliser: str
    blocks: bool
    dropout: bool
    edge_key: bool
    edge_value: bool
    shared: bool

    @property
    def compute(self) -> str:
        return COMPUTE[self.storage]

    @property
    def dense(self) -> bool:
        """Whether `kernels/blocks.py` serves it."""
        lanes = 64 // BYTES[self.compute]
        plain = self.blocks and (self.score, self.normaliser) == ("dot", "softmax") and not (self.dropout or self.shared)
        widths = (self.key_channels, self.value_channels)
        return (
            plain
            and self.storage == self.compute
            and all(channels <= MOST_DENSE_CHANNELS and self.heads * channels >= lanes for channels in widths)
        )

    def dense_kernel(self, function: str) -> Kernel:
        """The kernel "blocks_forward" or "blocks_backward"."""
        constants: Constants = (
            ("HEADS", self.heads),
            ("KEY_CHANNELS", self.key_channels),
            ("VALUE_CHANNELS", self.value_channels),
            ("STORAGE", self.storage),
        )
        return Kernel(("blocks",), function, constants)

    def kernel(self, function: str, columns: bool = False) -> Kernel:
        """The kernel "forward", "backward" or one of their "_merge".

        Raises:
            ValueError: on a score or a normaliser that has no template.
        """
        if self.score not in SCORES or self.normaliser not in NORMALISERS:
            raise ValueError(f"there is no CPU kernel for the score {self.score!r} with the normaliser {self.normaliser!r}")
        flags = normaliser_of(self.normaliser)
        size = BYTES[self.compute]
        constants: Constants = (
            ("HEADS", self.heads),
            ("KEY_CHANNELS", self.key_channels),
            ("KEY_TILE", tile_length(self.heads, self.key_channels, size)),
            ("VALUE_CHANNELS", self.value_channels),
            ("VALUE_TILE", tile_length(self.heads, self.value_channels, size)),
            ("EDGE_CHANNELS", self.edge_channels),
            ("EDGE_TILE", whole_heads(self.heads, self.edge_channels, size) * self.edge_channels),
            ("STORAGE", self.storage),
            ("COMPUTE", self.compute),
            ("INDEX_BITS", self.index_bits),
            ("SCORE", self.score),
            ("KEEPS_STATE", flags.keeps_state),
            ("NEEDS_DELTA", flags.needs_delta),
            ("SUMS_TO_ONE", flags.sums_to_one),
            ("BLOCKS", self.blocks),
            ("DROPOUT", self.dropout),
            ("EDGE_KEY", self.edge_key),
            ("EDGE_VALUE", self.edge_value),
            ("SHARED", self.shared),
            ("COLUMNS", columns),
        )
        templates = ("common", SCORES[self.score], f"normaliser_{self.normaliser}", function.removesuffix("_merge"))
        return Kernel(templates, function, constants)


def whole_heads(heads: int, channels: int, size: int) -> int:
    """How many heads of a row fit in one tile: a divisor of their number, at least one."""
    return max((n for n in range(1, heads + 1) if heads % n == 0 and n * channels * size <= TILE_BYTES), default=1)


def tile_length(heads: int, channels: int, size: int) -> int:
    """Numbers in a tile: whole heads, or a part of one."""
    if channels * size <= TILE_BYTES:
        return whole_heads(heads, channels, size) * channels
    return next(part // size for part in PART_BYTES if channels % (part // size) == 0)


def padded_channels(channels: int, dtype: torch.dtype) -> int:
    """The number of channels that a head is padded to: itself, or the next multiple of a part where it is wider than a tile."""
    size = BYTES[COMPUTE[STORAGE[dtype]]]
    part = PART_BYTES[-1] // size
    return channels if channels * size <= TILE_BYTES else -(-channels // part) * part
