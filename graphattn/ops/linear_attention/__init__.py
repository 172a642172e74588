"""Linear global attention: every node attends to all nodes of its graph through a kernel φ(q) · φ(k), in time O(nodes).

Σ_j (φ(q_i) · φ(k_j)) v_j = φ(q_i) · (Σ_j φ(k_j) v_jᵀ): a graph's keys and values are summed up once, and every query reads
the sum. A new form is a file here and a line in `LINEAR_FORMS`.

Each takes query and key [nodes, heads, channels], value [nodes, heads, value channels] and the `ptr` [graphs + 1] at which the
graphs begin among the nodes, which are sorted by graph; and returns [nodes, heads, value channels].
"""

from graphattn.ops.linear_attention.attention import LINEAR_FORMS, LinearForm, linear_attention
from graphattn.ops.linear_attention.performer import orthogonal_projection, performer
from graphattn.ops.linear_attention.polynormer import polynormer
from graphattn.ops.linear_attention.sgformer import sgformer
from graphattn.ops.linear_attention.sums import kernel_sums

__all__ = [
    "LINEAR_FORMS",
    "LinearForm",
    "kernel_sums",
    "linear_attention",
    "orthogonal_projection",
    "performer",
    "polynormer",
    "sgformer",
]
