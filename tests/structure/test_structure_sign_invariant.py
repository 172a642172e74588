"""The embeddings of Laplacian eigenvectors: signs, padding, and what every encoding promises."""

from __future__ import annotations

import networkx as nx
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.utils import from_networkx

from graphattn.structure import AddLaplacian, LaplacianEncoding, SignInvariantEncoding, flip_signs

K, WIDTH = 5, 8
CLASSES = [LaplacianEncoding, SignInvariantEncoding]


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind(K, WIDTH)


def data() -> Batch:
    """Three graphs: one with padding in each component, one atom, one without padding."""
    two = from_networkx(nx.disjoint_union(nx.path_graph(4), nx.cycle_graph(3)))
    one = Data(edge_index=torch.zeros(2, 0, dtype=torch.long), num_nodes=1)
    return AddLaplacian(K)(Batch.from_data_list([two, one, from_networkx(nx.lollipop_graph(4, 6))]))


def inputs(module: nn.Module) -> list[Tensor]:
    batch = data()
    return [batch[name] for name in module.reads]


def drawn(module: nn.Module, num_nodes: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(num_nodes)
    values = torch.rand(num_nodes, K, generator=generator).clamp_min(1e-3)
    values[::3, 2:] = 0
    return [torch.randn(num_nodes, K, generator=generator) * (values > 0), values][: len(module.reads)]


def test_linear_encoding_is_a_linear_map() -> None:
    module = made(LaplacianEncoding)
    assert module.reads == ("laplacian_pe",)
    (vectors,) = inputs(module)
    torch.testing.assert_close(module(vectors), vectors @ module.embed.weight.t() + module.embed.bias)


@pytest.mark.parametrize("seed", range(5))
def test_flipping_signs_leaves_the_output_as_it_is(seed: int) -> None:
    module = made(SignInvariantEncoding)
    assert module.reads == ("laplacian_pe", "laplacian_values_pe")
    batch = data()
    flipped = flip_signs(batch.laplacian_pe, batch.batch, torch.Generator().manual_seed(seed))
    assert not torch.equal(flipped, batch.laplacian_pe)
    out = module(batch.laplacian_pe, batch.laplacian_values_pe)
    assert torch.equal(module(flipped, batch.laplacian_values_pe), out)
    # Nor does the sign of any one entry, which is what φ(v) + φ(−v) says; the linear encoding reads them all.
    assert torch.equal(module(batch.laplacian_pe.abs(), batch.laplacian_values_pe), out)
    linear = made(LaplacianEncoding)
    assert not torch.allclose(linear(flipped), linear(batch.laplacian_pe))


def test_sign_invariant_by_the_formula() -> None:
    """Node after node and column after column."""
    module = made(SignInvariantEncoding)
    vectors, values = inputs(module)
    rows = []
    for v, w in zip(vectors.tolist(), values.tolist(), strict=True):
        parts = [
            module.phi(torch.tensor([x, y])) + module.phi(torch.tensor([-x, y])) if y > 0 else torch.zeros(16)
            for x, y in zip(v, w, strict=True)
        ]
        rows.append(module.rho(torch.cat(parts)))
    torch.testing.assert_close(module(vectors, values), torch.stack(rows), rtol=1e-5, atol=1e-6)


def test_padding_contributes_nothing() -> None:
    module = made(SignInvariantEncoding)
    vectors, values = inputs(module)
    noise = torch.where(values > 0, vectors, torch.full_like(vectors, 7.0))
    assert torch.equal(module(noise, values), module(vectors, values))
    atom = int((values > 0).any(1).logical_not().nonzero())
    torch.testing.assert_close(module(vectors, values)[atom], module.rho(torch.zeros(K * 16)))


def test_sign_invariant_reads_eigenvectors_and_eigenvalues() -> None:
    module = made(SignInvariantEncoding)
    vectors, values = inputs(module)
    out = module(vectors, values)
    assert not torch.allclose(module(vectors * 0.5, values), out)
    assert not torch.allclose(module(vectors, values * 0.5), out)


def test_sign_invariant_learns() -> None:
    """A function of |v| and λ that a linear map of v cannot reach."""
    module = made(SignInvariantEncoding)
    vectors, values = inputs(module)
    target = (vectors.abs() * values).sum(1, keepdim=True).expand(-1, WIDTH)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = (module(vectors, values) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("num_nodes", [0, 1, 30])
def test_shape_and_gradients(kind: type[nn.Module], num_nodes: int) -> None:
    module = made(kind)
    given = drawn(module, num_nodes)
    before = [tensor.clone() for tensor in given]
    out = module(*given)
    assert out.shape == (num_nodes, WIDTH)
    assert out.isfinite().all()
    assert all(map(torch.equal, given, before))
    out.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
    if num_nodes == 30:
        assert all(parameter.grad.any() for parameter in module.parameters())


@pytest.mark.parametrize("kind", CLASSES)
def test_each_node_by_itself(kind: type[nn.Module]) -> None:
    module = made(kind).double()
    given = [tensor.double() for tensor in drawn(module, 30)]
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(module(*(tensor[order] for tensor in given)), module(*given)[order])
    torch.testing.assert_close(module(*(tensor[:1] for tensor in given)), module(*given)[:1])


@pytest.mark.parametrize("kind", CLASSES)
def test_autocast(kind: type[nn.Module]) -> None:
    module = made(kind)
    given = drawn(module, 30)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = module(*given)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), module(*given), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("autocast", [False, True])
def test_compiles_and_exports(kind: type[nn.Module], autocast: bool) -> None:
    module = made(kind)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    nodes = torch.export.Dim("nodes", min=2)
    given = tuple(drawn(module, 30))
    exported = torch.export.export(module, given, dynamic_shapes=tuple({0: nodes} for _ in given)).module()
    for num_nodes in (30, 7):
        given = tuple(drawn(module, num_nodes))
        torch.testing.assert_close(exported(*given), module(*given))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            out = compiled(*given)
            assert out.dtype == (torch.bfloat16 if autocast else torch.float32)
            torch.testing.assert_close(out, module(*given))
