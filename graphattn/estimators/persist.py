"""A trained estimator on disk: `config.json`, `model.safetensors` and the `manifest.json` that both are checked against.

They hold no code, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
from torch import Tensor, nn

import graphattn
from graphattn.cache import write_atomically
from graphattn.errors import InputError
from graphattn.estimators.manifest import Manifest, read_json, write_json, write_manifest

# 3: with a manifest. Folders of earlier formats, which can be changed unseen, are refused.
FORMAT = 3
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
# Begins the names of tensors that are no weights; no module can be called so.
_OF_SOURCE = "source:"


def save_model(folder: Path, config: dict[str, Any], models: Sequence[nn.Module], source: Mapping[str, Tensor]) -> None:
    """Writes all three files; the config gets the format's and the library's version.

    Args:
        folder: where to.
        config: what the config holds beside that.
        models: their weights are saved; those of several under "0.", "1." and so on.
        source: what the source keeps of its data, see `Source.tensors`; saved with the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {**_together(models).state_dict(), **{_OF_SOURCE + name: tensor for name, tensor in source.items()}}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
    write_atomically(folder / WEIGHTS_FILE, safetensors.torch.save(tensors))
    write_json(folder / CONFIG_FILE, {"format": FORMAT, "graphattn": graphattn.__version__, **config})
    write_manifest(folder, only=(CONFIG_FILE, WEIGHTS_FILE))  # what else is there may be of another model


def load_config(folder: Path) -> dict[str, Any]:
    """Reads and checks the config of a trained estimator.

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    path = folder / CONFIG_FILE
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected the output folder of graphattn train")
    if not path.is_file():
        raise InputError(f"{folder} has no {CONFIG_FILE}: it is not a finished run of graphattn train")
    config = read_json(path)
    if not isinstance(config, dict) or "estimator" not in config or "format" not in config:
        raise InputError(f"{path} is not the config of a graphattn run: it has no 'format' and 'estimator'")
    if config["format"] != FORMAT:
        older = isinstance(config["format"], int) and config["format"] < FORMAT
        hint = ", whose files have checksums; train it again" if older else ""
        raise InputError(f"{path} has format {config['format']!r}; this version of graphattn reads format {FORMAT}{hint}")
    Manifest(folder).read(CONFIG_FILE)
    return config


def _together(models: Sequence[nn.Module]) -> nn.Module:
    """The module whose state holds the weights of all."""
    return models[0] if len(models) == 1 else nn.ModuleList(models)


def load_weights(folder: Path, models: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Fills models with the weights of a trained estimator.

    Returns:
        What its source keeps, as `save_model` got it.

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    path, model = folder / WEIGHTS_FILE, _together(models)
    try:
        tensors = safetensors.torch.load(Manifest(folder).read(WEIGHTS_FILE))
    except safetensors.SafetensorError as error:
        raise InputError(f"{path} cannot be read ({error}); the run is damaged") from None
    source = {name.removeprefix(_OF_SOURCE): tensors.pop(name) for name in list(tensors) if name.startswith(_OF_SOURCE)}
    expected = model.state_dict()
    wrong = [name for name in expected if name not in tensors or tensors[name].shape != expected[name].shape]
    if wrong or len(tensors) != len(expected):
        first = wrong[0] if wrong else "there are others too"
        raise InputError(f"{path} does not hold the weights that {CONFIG_FILE} describes; the first that differs: {first}")
    types = [name for name in expected if tensors[name].dtype != expected[name].dtype]
    if types:
        raise InputError(f"{path} holds {types[0]} as {tensors[types[0]].dtype}, expected {expected[types[0]].dtype}")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise InputError(f"{path} is damaged: {name} holds what is no finite number")
    model.load_state_dict(tensors, assign=True)
    return source


def plain(value: Any) -> Any:
    """The same with numpy's numbers and tuples as JSON has them."""
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value.item() if isinstance(value, np.generic) else value


def digest(*parts: object) -> str:
    """A hash that identifies data and options."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode(errors="backslashreplace"))
    return state.hexdigest()
