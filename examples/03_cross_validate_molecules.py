"""
Cross-validate a model of molecules
===================================

Cross-validation of a hydrophobicity model with scikit-learn, followed by predictions for a few molecules.

The target is computed, not measured: Wildman-Crippen logP, which RDKit derives from the structure (Wildman and Crippen,
1999). So the example needs no download. Replace it with your own measurements.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import KFold, cross_val_predict

from graphattn import MoleculeRegressor
from graphattn.chem import crippen_logp
from graphattn.data import load_molecules

molecules = load_molecules("nci_crippen")  # ships with RDKit
smiles = molecules.frame[molecules.smiles_column].tolist()[:400]
logp = crippen_logp(smiles)

model = MoleculeRegressor(channels=64, num_layers=3, epochs=15, learning_rate=2e-3, valid_fraction=0.0, seed=0)
folds = KFold(3, shuffle=True, random_state=0)
predicted = cross_val_predict(model, smiles, logp, cv=folds)
scores = np.array([np.sqrt(np.mean((predicted - logp)[test] ** 2)) for _, test in folds.split(smiles)])
print(f"RMSE {scores.mean():.3f} ± {scores.std():.3f} over three folds; standard deviation of the target {np.std(logp):.3f}")
assert scores.mean() < 0.6 * np.std(logp)

# %%
# ``outputs`` gives NaN, and the reason, for a SMILES that cannot be read; ``predict`` gives the training mean, with a warning.

model.fit(smiles, logp)
some = ["CCO", "c1ccccc1", "not a molecule"]
values, reasons = model.outputs(some)
for row, (text, value) in enumerate(zip(some, values[:, 0], strict=True)):
    print(f"{text:>15}  {value:6.2f}  {reasons.get(row, '')}")

# %%
# Each molecule is predicted by the model of the fold that did not see it.

limits = [min(logp.min(), predicted.min()) - 0.5, max(logp.max(), predicted.max()) + 0.5]
plt.figure(figsize=(5, 5), layout="constrained")
plt.plot(limits, limits, color="0.6", linewidth=1)
plt.scatter(logp, predicted, s=14, alpha=0.6, color="#0072B2", edgecolors="none")
plt.xlim(limits)
plt.ylim(limits)
plt.gca().set_aspect("equal")
plt.xlabel("Crippen logP")
plt.ylabel("predicted by cross-validation")
plt.title(f"400 molecules, RMSE {scores.mean():.2f}")
plt.show()
