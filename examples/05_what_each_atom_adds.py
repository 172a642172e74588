"""
What each atom adds
===================

A model with one output per atom. Their sum is trained on the logP of whole molecules, so each output is what the model adds
for that atom. The model never sees values for single atoms.

The target is Wildman-Crippen logP, computed by RDKit. It is itself a sum over the atoms, so the atoms' true values are known
and the model's can be compared with them.
"""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader
from torch_geometric.utils import scatter

from graphattn.chem import ATOM_WIDTH, BOND_WIDTH, crippen_contributions, crippen_logp, featurise
from graphattn.data import load_molecules
from graphattn.nn import GraphTransformer
from graphattn.splits import random_split

molecules = load_molecules("nci_crippen")  # 1,500 molecules that ship with RDKit
smiles = molecules.frame[molecules.smiles_column].tolist()
graphs = featurise(smiles).graphs
for graph, value in zip(graphs, crippen_logp(smiles), strict=True):
    graph.y = torch.tensor([value], dtype=torch.float32)
split = random_split(len(smiles), (0.9, 0.0, 0.1), seed=0)

torch.manual_seed(0)
model = GraphTransformer(ATOM_WIDTH, 64, 1, num_layers=2, edge_dim=BOND_WIDTH, readout="node")
loader = DataLoader([graphs[row] for row in split["train"]], batch_size=32, shuffle=True)
epochs = 40
optimizer = torch.optim.AdamW(model.parameters())
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * len(loader))


def of_atoms(batch: Data) -> torch.Tensor:
    """What each atom adds, [atoms]."""
    return model(batch.x, batch.edge_index, batch.edge_attr, batch.batch, batch_size=batch.num_graphs)[:, 0]


def of_molecules(atoms: torch.Tensor, batch: Data) -> torch.Tensor:
    """The sum over the atoms of each molecule, [molecules]."""
    return scatter(atoms, batch.batch, dim_size=batch.num_graphs, reduce="sum")


for _ in range(epochs):
    for batch in loader:
        optimizer.zero_grad()
        loss = (of_molecules(of_atoms(batch), batch) - batch.y).square().mean()
        loss.backward()
        optimizer.step()
        schedule.step()

# %%
# On the test molecules, the model's values of molecules and of atoms against Crippen's. Sums are learned well. How a sum is
# shared between neighbouring atoms is only partly decided by the data.

model.eval()
batch = Batch.from_data_list([graphs[row] for row in split["test"]])
with torch.no_grad():
    atoms = of_atoms(batch)
    rmse = float((of_molecules(atoms, batch) - batch.y).square().mean().sqrt())
true = np.concatenate([crippen_contributions(smiles[row]) for row in split["test"]])
correlation = float(np.corrcoef(atoms.numpy(), true)[0, 1])
print(f"{len(split['test'])} test molecules: RMSE {rmse:.2f}, standard deviation of the target {float(batch.y.std()):.2f}")
print(f"their {len(true):,} atoms: correlation with Crippen's values {correlation:.2f}")
assert rmse < 0.5
assert correlation > 0.5

# %%
# Celecoxib, which is not among the 1,500 molecules.

drug = "Cc1ccc(cc1)-c1cc(nn1-c1ccc(cc1)S(N)(=O)=O)C(F)(F)F"
with torch.no_grad():
    learned = of_atoms(Batch.from_data_list(featurise([drug]).graphs)).numpy()
print(f"celecoxib: logP {learned.sum():.2f} by the model, {crippen_contributions(drug).sum():.2f} by Crippen")
colours = ScalarMappable(Normalize(-0.6, 0.6), LinearSegmentedColormap.from_list("adds", ["#8073AC", "white", "#E08214"]))


def picture(values: np.ndarray) -> np.ndarray:
    """The molecule with its atoms coloured by value, as an image."""
    mol = Chem.MolFromSmiles(drug)
    shown = {atom: tuple(map(float, rgba[:3])) for atom, rgba in enumerate(colours.to_rgba(values))}
    drawing = rdMolDraw2D.MolDraw2DCairo(1000, 660)
    options = drawing.drawOptions()
    options.useBWAtomPalette()
    options.highlightRadius = 0.42
    options.bondLineWidth = 3
    options.padding = 0.02
    rdMolDraw2D.PrepareAndDrawMolecule(drawing, mol, highlightAtoms=list(shown), highlightAtomColors=shown, highlightBonds=[])
    drawing.FinishDrawing()
    return plt.imread(BytesIO(drawing.GetDrawingText()))


figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for panel, values, title in zip(panels, (learned, crippen_contributions(drug)), ("model", "Crippen"), strict=True):
    panel.imshow(picture(values))
    panel.set_title(f"{title}: logP {values.sum():.2f}")
    panel.set_axis_off()
figure.colorbar(colours, ax=panels, shrink=0.7, label="added to logP", extend="both")
plt.show()
