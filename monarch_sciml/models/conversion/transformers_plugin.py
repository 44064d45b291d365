"""Make `save_pretrained` and `from_pretrained` of the package transformers keep a conversion.

The record of the conversion stands in the model's configuration as a `quantization_config`, the
place that transformers has for changes of a model's layers before its weights are loaded. A process
that loads such a model imports this package and calls `register_transformers` first.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from torch import nn

from monarch_sciml.models.conversion.record import conversion_record, restore_conversion

METHOD = "monarch_sciml"
"""Name of the conversion in a configuration."""


def register_transformers() -> type[Any]:
    """Teach transformers to load converted models; call it before `from_pretrained`.

    Returns
    -------
    The class of the configuration entry.

    Raises
    ------
    ModuleNotFoundError
        When transformers is not installed.
    """
    from transformers.quantizers import auto
    from transformers.quantizers.base import HfQuantizer
    from transformers.utils.quantization_config import QuantizationConfigMixin

    known = auto.AUTO_QUANTIZATION_CONFIG_MAPPING
    if METHOD in known:
        return known[METHOD]

    class MonarchConversionConfig(QuantizationConfigMixin):
        """The record of a conversion, as an entry of a model's configuration."""

        def __init__(self, record: dict[str, Any] | None = None, **_: Any) -> None:
            self.quant_method = METHOD  # pyright: ignore[reportAttributeAccessIssue]
            self.record = record or {"layers": {}}

        def to_dict(self) -> dict[str, Any]:
            """Return plain values."""
            return {"quant_method": METHOD, "record": json.loads(json.dumps(self.record))}

    class MonarchQuantizer(HfQuantizer):
        """Converts the empty model before its weights are loaded."""

        quantization_config: Any

        def _process_model_before_weight_loading(self, model: Any, **_: Any) -> Any:
            restore_conversion(model, self.quantization_config.record)
            _tie(model)
            return model

        def is_serializable(self) -> Any:
            """Return True, because the model can always be saved."""
            return True

        @property
        def is_trainable(self) -> Any:
            """Return True, because the model can always be trained."""
            return True

        @property
        def is_compileable(self) -> bool:
            """Return True, because torch.compile can always compile the model."""
            return True

    auto.register_quantization_config(METHOD)(MonarchConversionConfig)
    auto.register_quantizer(METHOD)(MonarchQuantizer)
    return MonarchConversionConfig


def note_conversion(model: nn.Module) -> None:
    """Write the conversion of a transformers model into its configuration, or remove the entry."""
    loaded = sys.modules.get("transformers.modeling_utils")
    if loaded is None or not isinstance(model, loaded.PreTrainedModel):
        return
    record = conversion_record(model)
    pretrained: Any = model
    configuration = pretrained.config
    if record["layers"]:
        configuration.quantization_config = register_transformers()(record)
    elif getattr(configuration, "quantization_config", None) is not None:
        del configuration.quantization_config
        pretrained.hf_quantizer = None
        pretrained.is_quantized = False
    _tie(model)


def _tie(model: Any) -> None:
    """Name the tied weights of a model by the names that they have now."""
    record = conversion_record(model)
    original = dict(getattr(type(model), "_tied_weights_keys", None) or {})
    for embedding, linear in record["embeddings"].items():
        for key in [k for k in original if k.startswith(f"{linear}.weight")]:
            del original[key]
        original |= {f"{linear}.{part}": f"{embedding}.{part}" for part in ("left", "right")}
    if record["embeddings"] or "_tied_weights_keys" in vars(model):
        model._tied_weights_keys = original
        model.all_tied_weights_keys = model.get_expanded_tied_weights_keys(all_submodels=True)
