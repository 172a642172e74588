"""The self-attention layers, one file each, and the registry of the kinds of attention that an encoder can have.

A kind is a subclass of `SelfAttention` in one file and a line in `ATTENTION`; `register_attention` adds one from outside.
"""

from graphattn.errors import InputError
from graphattn.nn.layers.base import EncoderOptions, SelfAttention
from graphattn.nn.layers.context import AttentionContext, AttentionOut
from graphattn.nn.layers.full import FullSelfAttention
from graphattn.nn.layers.linear import LinearSelfAttention
from graphattn.nn.layers.masked import MaskedSelfAttention
from graphattn.nn.layers.pair import PairSelfAttention
from graphattn.ops.linear_attention import LINEAR_FORMS

# The names that `EncoderLayer` takes as `attention`.
ATTENTION: dict[str, type[SelfAttention]] = {
    "masked": MaskedSelfAttention,
    "full": FullSelfAttention,
    **dict.fromkeys(LINEAR_FORMS, LinearSelfAttention),
    "pair": PairSelfAttention,
}


def register_attention(name: str, layer: type[SelfAttention]) -> None:
    """Makes a kind of attention known under a name: `EncoderLayer`, `GraphTransformer` and the estimators then take it.

    Args:
        name: what the option `attention` calls it; without "+", which joins two kinds.
        layer: a subclass of `SelfAttention`; `layer.for_encoder(name, options)` makes the layer of an encoder.

    Raises:
        InputError: where the name is taken or holds a "+", or the class is of another kind.
    """
    if not (isinstance(layer, type) and issubclass(layer, SelfAttention)):
        raise InputError(f"layer must be a subclass of SelfAttention, got {layer!r}")
    if not name or "+" in name:
        raise InputError(f"name must not be empty or hold '+', got {name!r}")
    if ATTENTION.get(name, layer) is not layer:
        raise InputError(f"attention {name!r} is already registered, by {ATTENTION[name].__name__}")
    ATTENTION[name] = layer


def attention_parts(attention: str) -> list[str]:
    """The kinds of attention in a name such as "masked+full": at most one local, then at most one global.

    Raises:
        InputError: on an unknown kind, or two of one sort.
    """
    parts = attention.split("+") if isinstance(attention, str) else []
    known = [part for part in parts if part in ATTENTION]
    parts_local = [part for part in known if ATTENTION[part].local]
    parts_global = [part for part in known if not ATTENTION[part].local]
    if not parts or len(known) != len(parts) or len(parts_local) > 1 or len(parts_global) > 1:
        names_local = [name for name, layer in ATTENTION.items() if layer.local]
        names_global = [name for name in ATTENTION if name not in names_local]
        raise InputError(
            f"attention must be {' or '.join(map(repr, names_local))}, one of {', '.join(names_global)}, or both as in "
            f"'masked+full', got {attention!r}"
        )
    return parts_local + parts_global


__all__ = [
    "ATTENTION",
    "AttentionContext",
    "AttentionOut",
    "EncoderOptions",
    "FullSelfAttention",
    "LinearSelfAttention",
    "MaskedSelfAttention",
    "PairSelfAttention",
    "SelfAttention",
    "attention_parts",
    "register_attention",
]
