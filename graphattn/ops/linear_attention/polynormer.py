from __future__ import annotations

from torch import Tensor

from graphattn.ops.linear_attention.sums import kernel_sums

# Where all products of a row have left the range of numbers, its sums are zero, and so is the output.
_TINY = 1e-20


def polynormer(query: Tensor, key: Tensor, value: Tensor, ptr: Tensor) -> Tensor:
    r"""The global attention of Polynormer, with a sigmoid as the feature map.

    .. math::
        o_i = \frac{\sum_j (\sigma(q_i) \cdot \sigma(k_j)) v_j}{\sum_j \sigma(q_i) \cdot \sigma(k_j)}

    Deng et al., "Polynormer: Polynomial-expressive graph transformer in linear time" (2024). This is the kernel alone: the
    product with a gate, which makes the paper's layer polynomial, is no part of the attention. torch_geometric's
    `PolynormerAttention` adds 1e-6 to the denominator.
    """
    weighted, total = kernel_sums(query.sigmoid(), key.sigmoid(), value, ptr)
    return weighted / total.clamp(min=_TINY)
