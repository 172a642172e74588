"""Starting from another model's body."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graphattn import InputError, MoleculeClassifier, MoleculeRegressor

SMILES = ["CCO", "CCN", "CCC", "c1ccccc1", "CC(=O)O", "CCCl", "CCCC", "OCCO", "CNC", "CC#N", "C1CCCCC1", "c1ccncc1"]
VALUES = [float(len(smiles)) for smiles in SMILES]
SMALL = {"channels": 8, "heads": 2, "num_layers": 1, "epochs": 1, "n_jobs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("init")
    MoleculeRegressor(**SMALL, ensemble=2).fit(SMILES, VALUES).save_pretrained(path)
    return path


def test_the_body_is_that_of_the_other_model(folder: Path) -> None:
    """With a learning rate of next to nothing all but the head stays; each member takes another model in turn."""
    before = MoleculeRegressor.from_pretrained(folder).models_
    classes = ["ring" if "1" in smiles else "chain" for smiles in SMILES]
    model = MoleculeClassifier(**SMALL, init=folder, learning_rate=1e-12, ensemble=3, seed=5).fit(SMILES, classes)
    for number, after in enumerate(model.models_):
        weights = before[number % 2].state_dict()
        for name, value in after.state_dict().items():
            if not name.startswith("head."):
                torch.testing.assert_close(value, weights[name], rtol=1e-6, atol=1e-8)
    assert "init" not in model.predictor_.params


def test_another_body_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"init must have the same body, but .* has num_layers=1, not 2"):
        MoleculeRegressor(**{**SMALL, "num_layers": 2}, init=folder).fit(SMILES, VALUES)
    with pytest.raises(InputError, match="is not a folder"):
        MoleculeRegressor(**SMALL, init=tmp_path / "none").fit(SMILES, VALUES)


@pytest.mark.parametrize("decay", [0, 1.5, -1])
def test_a_decay_of_rates_is_a_factor(decay: float) -> None:
    with pytest.raises(InputError, match=r"layer_decay must lie in \(0, 1\]"):
        MoleculeRegressor(layer_decay=decay).check_params()
