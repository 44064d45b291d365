"""The base class of all networks, which saves and loads weights and arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_model
from torch import Tensor, nn

from monarch_sciml._checks import message
from monarch_sciml._reading import existing_file
from monarch_sciml.models.conversion.weights_files import match_structure, structure_metadata

_CARD = """---
{{ card_data }}
---

# {{ name }} ({{ n_parameters }} parameters)

A network of the Python package monarch_sciml. The weights are in `model.safetensors`, the arguments
of the constructor in `config.json`.

```python
from monarch_sciml.models import {{ name }}

network = {{ name }}.from_pretrained("path/to/this/folder")
```

| argument | value |
| --- | --- |
{% for argument, value in arguments.items() -%}
| `{{ argument }}` | `{{ value }}` |
{% endfor %}
## Training data

{{ training_data | default("Not stated.", true) }}

## Results

{{ results | default("Not stated.", true) }}
"""


class Network(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="monarch_sciml",
    license="mit",
    tags=["scientific-machine-learning", "monarch-matrices"],
    model_card_template=_CARD,
):
    """Save a network with the arguments of its constructor and load its weights strictly.

    `save_pretrained(folder)` writes the weights as safetensors, the arguments of the constructor
    and a model card; `from_pretrained(folder)` builds the network again. Both are those of
    huggingface_hub's mixin. The weights carry the record of structured linear layers, so a network
    that `monarchize(..., spectral=False, linear=True)` has converted, or `densify` has multiplied
    out, is restored as it was saved. `save_pretrained(..., model_card_kwargs={"training_data":
    text, "results": text})` fills in the card.

    The state dict holds tensors only. The entry `_metadata`, in which neuralop 2.0 stores the
    arguments of its constructor, is left out, but checkpoints that have it can be loaded.
    """

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the state as nn.Module does: names and tensors."""
        state = super().state_dict(*args, **kwargs)
        state.pop("_metadata", None)
        return state

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        # neuralop writes its entry beside the outermost names, wherever its module stands
        unexpected_keys[:] = [key for key in unexpected_keys if key != "_metadata"]

    def save_checkpoint(self, save_folder: str | Path, save_name: str) -> None:
        """Write weights and arguments as the models of neuralop do, for its Trainer.

        Parameters
        ----------
        save_folder
            Folder for the files, which is made when it is missing.
        save_name
            The files are `{save_name}_state_dict.pt` and `{save_name}_metadata.pkl`, both of which
            `torch.load(..., weights_only=True)` reads.
        """
        folder = Path(save_folder)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.state_dict(), folder / f"{save_name}_state_dict.pt")
        torch.save(self._hub_mixin_config, folder / f"{save_name}_metadata.pkl")

    def load_checkpoint(
        self, save_folder: str | Path, save_name: str, map_location: Any = None
    ) -> None:
        """Load the weights that `save_checkpoint` wrote."""
        path = existing_file(Path(save_folder) / f"{save_name}_state_dict.pt")
        self.load_state_dict(torch.load(path, map_location=map_location, weights_only=True))

    @classmethod
    def from_checkpoint(
        cls, save_folder: str | Path, save_name: str, map_location: Any = None
    ) -> Self:
        """Build the network that `save_checkpoint` wrote.

        Raises
        ------
        FileNotFoundError
            When a file is missing.
        """
        path = existing_file(Path(save_folder) / f"{save_name}_metadata.pkl")
        network = cls(**torch.load(path, weights_only=True))
        network.load_checkpoint(save_folder, save_name, map_location=map_location)
        return network

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the weights with the record of structured layers."""
        path = Path(save_directory) / SAFETENSORS_SINGLE_FILE
        save_model(self, str(path), metadata={"format": "pt", **structure_metadata(self)})

    @classmethod
    def _load_as_safetensor(
        cls, model: Any, model_file: str, map_location: str, strict: bool
    ) -> Any:
        """Load every weight even when `strict` is false, so that no weight is left untrained."""
        match_structure(model, existing_file(Path(model_file)))
        _check_names(model, Path(model_file))
        return super()._load_as_safetensor(model, model_file, map_location, strict=True)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """Return the card that `save_pretrained` writes: class, size and arguments."""
        config = self._hub_mixin_config
        facts = {
            "name": type(self).__name__,
            "n_parameters": f"{sum(p.numel() for p in self.parameters()):,}",
            "arguments": dict(sorted(config.items())) if isinstance(config, dict) else {},
        }
        return super().generate_model_card(*args, **{**facts, **kwargs})


def _check_names(model: nn.Module, path: Path) -> None:
    """Raise ValueError unless the names in a weights file are those of the model."""
    try:
        with safe_open(path, framework="pt") as file:
            stored = set(file.keys())
    except (SafetensorError, OSError) as error:
        rule = "the weights must be a whole safetensors file"
        raise ValueError(message(rule, f"{path} ({error})", "Save the network again.")) from error
    own = model.state_dict()
    pointers = {value.data_ptr() for name, value in own.items() if name in stored}
    missing = [n for n, v in own.items() if n not in stored and v.data_ptr() not in pointers]
    unknown = [name for name in stored if name not in own]
    if missing or unknown:
        rule = "the weights must be those of a network built by its `config.json`"
        got = f"{len(missing)} missing and {len(unknown)} unknown ({min(missing + unknown)})"
        remedy = "Build the network, convert it as the saved one was, and call load_state_dict."
        raise ValueError(message(rule, got, remedy))


def network_record(network: nn.Module) -> dict[str, Any]:
    """Return class and arguments of a network, for the configuration of one that wraps it."""
    config = getattr(network, "_hub_mixin_config", None)
    return {"class": type(network).__name__, **(config if isinstance(config, dict) else {})}


def network_from_record(record: Mapping[str, Any]) -> nn.Module:
    """Return the network that `network_record` describes, untrained."""
    from monarch_sciml import models

    arguments = {**record}
    return getattr(models, arguments.pop("class"))(**arguments)


def check_dtype(x: Tensor, network: nn.Module) -> None:
    """Raise TypeError unless the real input x has the precision of a network's parameters.

    Under autocast any precision up to single will do.
    """
    if x.is_complex():
        rule = "the input must be real"
        remedy = "Pass real and imaginary part as two channels."
        raise TypeError(message(rule, x.dtype, remedy))
    expected = next((p.dtype for p in network.parameters() if not p.is_complex()), x.dtype)
    if x.dtype == expected:
        return
    if torch.is_autocast_enabled(x.device.type) and x.dtype in _UP_TO_SINGLE:
        return
    rule = f"the input must be {expected} like the parameters of the network"
    remedy = "Convert the input or the network by `.to(dtype)`."
    raise TypeError(message(rule, x.dtype, remedy))


_UP_TO_SINGLE = (torch.float32, torch.float16, torch.bfloat16)
