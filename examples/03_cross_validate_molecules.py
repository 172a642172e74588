"""Cross-validate a model of a molecule's hydrophobicity with scikit-learn, then predict a few molecules with it.

The label is computed, not measured: Wildman-Crippen logP, which rdkit works out from the structure (Wildman and Crippen,
1999). It makes an example that needs no download; put your own measurements in its place.
"""

import numpy as np
from sklearn.model_selection import KFold, cross_val_score

from graphattn import MoleculeRegressor
from graphattn.chem import crippen_logp
from graphattn.data import load_molecules

molecules = load_molecules("nci_crippen")  # ships with rdkit
smiles = molecules.frame[molecules.smiles_column].tolist()[:400]
logp = crippen_logp(smiles)

model = MoleculeRegressor(channels=64, num_layers=3, epochs=15, learning_rate=2e-3, valid_fraction=0.0, seed=0)
scores = cross_val_score(model, smiles, logp, cv=KFold(3, shuffle=True, random_state=0), scoring="neg_root_mean_squared_error")
rmse = -scores.mean()
print(f"RMSE {rmse:.3f} ± {scores.std():.3f} over three folds; the mean of all molecules would have {np.std(logp):.3f}")

model.fit(smiles, logp)
some = ["CCO", "c1ccccc1", "not a molecule"]
for text, value in zip(some, model.predict(some), strict=True):
    print(f"{text:>15}  {value:6.2f}")
assert rmse < 0.6 * np.std(logp)
