from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from graphattn.chem import featurise, fingerprints
from graphattn.chem.fingerprints import nearest

SMILES = ["CCO", "CCN", "c1ccccc1", "c1ccccc1O", "CC(=O)Oc1ccccc1C(=O)O", "C", "OCC(O)CO", "CCCCCC"]


def test_similarity_by_hand() -> None:
    packed = np.packbits(np.array([[1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0, 0], [0] * 8], dtype=np.uint8), axis=1)
    np.testing.assert_allclose(nearest(packed, packed[:2], 2), [[1, 0.5], [1, 0.5], [0, 0]])
    assert nearest(packed, packed[:1], 3).tolist()[0] == [1, 0, 0]  # there are no more
    assert nearest(packed, packed[:0]).tolist() == [[0], [0], [0]]


def test_as_rdkit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_BLOCK", 3)
    packed = featurise(SMILES, cache=None).fingerprints
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    bits = [generator.GetFingerprint(Chem.MolFromSmiles(smiles)) for smiles in SMILES]
    expected = [sorted(DataStructs.BulkTanimotoSimilarity(one, bits[2:]), reverse=True)[:4] for one in bits]
    np.testing.assert_allclose(nearest(packed, packed[2:], 4), expected, rtol=1e-6)


def test_bad_rows_have_no_bits() -> None:
    packed = featurise(["C", "xyz", None], cache=None).fingerprints
    assert packed.shape == (3, 256)
    assert packed.any(axis=1).tolist() == [True, False, False]
