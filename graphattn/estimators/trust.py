"""How far predictions on molecules can be trusted: what is fitted after training, and what it says of a row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphattn.chem.features import atom_feature_names
from graphattn.chem.fingerprints import nearest
from graphattn.estimators.predictor import Predictor, Said
from graphattn.estimators.sources import MoleculeInputs, MoleculeSource
from graphattn.train import Regression
from graphattn.uncertainty import Noise, Temperature

# The columns that `say` adds where there is noise, and always.
NOISE_COLUMNS = ("uncertainty", "lower", "upper")
KNOWN_COLUMNS = ("nearest_training", "never_seen")
# Molecules of training whose likeness says how much is known of a place.
_NEAREST = 5
# Added to a spread before its logarithm, in units of the target's standard deviation.
_LEAST_SPREAD = 1e-3


def calibrate(predictor: Predictor[MoleculeSource], inputs: MoleculeInputs, values: np.ndarray) -> None:
    """Fits a predictor's noise (regression) or temperature (classification) on rows that it was not trained on.

    Args:
        predictor: trained.
        inputs: the rows, none of them bad.
        values: their true values.
    """
    of_models, _ = predictor.source.outputs(predictor.models, predictor.task, inputs)
    outputs, task = of_models.mean(axis=0), predictor.task
    if not len(values) or not np.isfinite(outputs).all():
        return
    if isinstance(task, Regression):
        alike = nearest(inputs.fingerprints, _known(predictor).fingerprints, _NEAREST)
        predictor.noise = Noise.fit(values.astype(float) - task.predict(outputs), _features(task, of_models, alike))
    else:
        predictor.temperature = Temperature.fit(task.encode(values), outputs)


def say(predictor: Predictor[MoleculeSource], inputs: MoleculeInputs, *, columns: bool = True) -> Said:
    """What a predictor says of molecules.

    The columns: nearest_training, the Tanimoto similarity to the nearest molecule that was trained on; never_seen, the values
    of atom features that no molecule of training had; and with noise uncertainty, the standard deviation of the prediction's
    error, and lower and upper, the ends of an interval that holds the true value with the probability that the parameter
    interval says, see `graphattn.uncertainty`. Without `columns` molecules are not compared with those of training, which
    takes time for many.
    """
    task, noise = predictor.task, predictor.noise
    of_models, errors = predictor.source.outputs(predictor.models, task, inputs)
    outputs = of_models.mean(axis=0)
    if predictor.temperature is not None:
        outputs = predictor.temperature.apply(outputs)
    known = predictor.source.known
    if known is None or not columns:
        return Said(outputs, of_models, {}, errors)
    alike = nearest(inputs.fingerprints, known.fingerprints, _NEAREST)
    found: dict[str, Any] = {}
    if noise is not None:
        sigma, prediction = noise.sigma(_features(task, of_models, alike)), task.predict(outputs)
        found["uncertainty"] = sigma
        quantile = noise.quantile(predictor.params["interval"])
        if math.isfinite(quantile):
            found |= {"lower": prediction - quantile * sigma, "upper": prediction + quantile * sigma}
    similarity = alike[:, 0].astype(float).round(4)
    similarity[list(errors)] = np.nan
    found["nearest_training"] = similarity
    names = np.array(atom_feature_names())
    found["never_seen"] = [
        "" if graph is None else "; ".join(names[graph.x.numpy().any(axis=0) & ~known.seen]) for graph in inputs.graphs
    ]
    return Said(outputs, of_models, found, errors)


def column_names(predictor: Predictor[MoleculeSource]) -> list[str]:
    """The columns that `say` may add."""
    if predictor.source.known is None:
        return []
    return [*(() if predictor.noise is None else NOISE_COLUMNS), *KNOWN_COLUMNS]


def _known(predictor: Predictor[MoleculeSource]) -> Any:
    assert predictor.source.known is not None
    return predictor.source.known


def _features(task: Any, of_models: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """What the noise of a prediction is read from, [rows, features]."""
    columns = [1 - alike[:, 0], 1 - alike.mean(axis=1)]
    if len(of_models) > 1:
        columns.append(np.log(of_models[:, :, 0].std(axis=0) / task.std + _LEAST_SPREAD))
    features = np.column_stack(columns).astype(float)
    features[np.isnan(of_models[0, :, 0])] = np.nan
    return features
