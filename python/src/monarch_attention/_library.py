"""Loads the operators into torch.ops.monarch."""

from pathlib import Path

import torch

from ._built_for import TORCH_VERSION


def _release(version: str) -> tuple[str, ...]:
    return tuple(version.split("+")[0].split(".")[:2])


def load() -> None:
    """Loads the library once. Raises ImportError if it was built for another release of torch."""
    if _release(torch.__version__) != _release(TORCH_VERSION):
        raise ImportError(
            f"monarch_attention was built for torch {TORCH_VERSION}, but torch {torch.__version__} is installed; "
            "install monarch_attention again to build it for this one"
        )
    torch.ops.load_library(Path(__file__).with_name("libmonarch_operators.so"))


load()
