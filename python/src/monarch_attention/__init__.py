"""Dense, MonarchRT and VMonarch attention over video tokens.

Importing this package loads the operators ``torch.ops.monarch.*``; the functions here are their documented front.
``monarch_attention.diffusers`` switches the Wan models of diffusers to them.
"""

from . import _library as _library
from .cache import KVCache
from .functional import (
    attention_runs,
    dense_attention,
    from_block_order,
    monarch_attention,
    norm_rope,
    reset_attention_runs,
    to_block_order,
    vmonarch_attention,
)

__all__ = [
    "KVCache",
    "attention_runs",
    "dense_attention",
    "from_block_order",
    "monarch_attention",
    "norm_rope",
    "reset_attention_runs",
    "to_block_order",
    "vmonarch_attention",
]
