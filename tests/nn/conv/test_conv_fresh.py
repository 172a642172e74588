"""The drop-in layers in a process of their own: torch_geometric writes code for a class when its first instance is made."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

OURS_FIRST = """
    for name in names:
        ours = getattr(conv, name)(5, 3, heads=2)
        found = ours(x, edge_index, return_attention_weights=True)
        theirs = getattr(torch_geometric.nn, name)(5, 3, heads=2)
        theirs.load_state_dict(ours.state_dict())
        torch.testing.assert_close(found, theirs(x, edge_index, return_attention_weights=True))
        class Mine(getattr(conv, name)):
            def update(self, inputs):
                return 2 * inputs
        assert Mine(5, 3)(x, edge_index).shape == (6, 3)
"""
SWAPPED_FIRST = """
    for name in names:
        layer = getattr(torch_geometric.nn, name)((5, 5), 3, heads=2, flow="target_to_source")
        expected = layer((x, -x), edge_index, return_attention_weights=True)
        graphattn.accelerate(layer)
        torch.testing.assert_close(layer((x, -x), edge_index, return_attention_weights=True), expected)
"""
EXPLAINED_LAST = """
    from torch_geometric.explain.algorithm.utils import set_masks
    for name in names:
        theirs, ours = (getattr(module, name)(5, 3, heads=2) for module in (torch_geometric.nn, conv))
        ours.load_state_dict(theirs.state_dict())
        for layer in (theirs, ours):
            set_masks(layer, torch.linspace(-1, 1, 15), edge_index)
        torch.testing.assert_close(ours(x, edge_index), theirs(x, edge_index))
"""
START = """
    import graphattn
    import torch
    import torch_geometric.nn
    from graphattn.nn import conv

    names = ("GATConv", "GATv2Conv", "TransformerConv")
    x, edge_index = torch.randn(6, 5), torch.randint(6, (2, 15))
"""


@pytest.mark.parametrize(
    "rest", [OURS_FIRST, SWAPPED_FIRST, EXPLAINED_LAST], ids=["ours first", "swapped first", "explained last"]
)
def test_a_fresh_process(rest: str) -> None:
    """Its code comes from the sources that it finds by the name of the class, so who is first matters."""
    script = textwrap.dedent(START + rest + "    print('done')")
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert (found.stdout, found.returncode) == ("done\n", 0), found.stderr
