"""Keys and values of past frames, for streaming."""

from __future__ import annotations

import torch
from torch import Tensor

from .functional import Grid, monarch_attention, to_block_order


class KVCache:
    """Keys and values ``[B, F rows columns, H, D]`` in the block order of one tiling, which the kernels read in place.

    Writing records no gradient: the past is a constant. To train through new keys, concatenate them in block order
    with those of the cache and call ``monarch_attention(..., kv_block_order=True)``.

    Args:
        batch: B
        frames: F, how many frames it holds; a multiple of f_tied
        grid: (rows, columns) of a frame, in tokens
        num_heads: H
        head_dim: D
        f_tied, h_reduce, w_reduce: the tiling, as of ``monarch_attention``
        dtype, device: of the tensors; torch's defaults if None

    Attributes:
        k, v: the tensors, zero at first
    """

    def __init__(
        self,
        batch: int,
        frames: int,
        grid: Grid,
        num_heads: int,
        head_dim: int,
        *,
        f_tied: int = 1,
        h_reduce: int = 1,
        w_reduce: int = 1,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.frames = frames
        self.grid = grid
        self.tiling = {"f_tied": f_tied, "h_reduce": h_reduce, "w_reduce": w_reduce}
        shape = (batch, frames * self.frame_tokens, num_heads, head_dim)
        self.k = torch.zeros(shape, dtype=dtype, device=device)
        self.v = torch.zeros(shape, dtype=dtype, device=device)
        to_block_order(self.k[:, :, :1, :1], grid, **self.tiling)  # refuses a tiling that does not fit

    @property
    def frame_tokens(self) -> int:
        """Tokens of a frame."""
        return self.grid[0] * self.grid[1]

    @torch.no_grad()
    def write(self, k: Tensor, v: Tensor, frame: int) -> None:
        """Puts the keys and values of new frames in the place of frames ``frame``, ``frame + 1``, ...

        Args:
            k, v: ``[B, n rows columns, H, D]`` in token order; n is a multiple of f_tied
            frame: of the first, a multiple of f_tied

        Raises:
            ValueError: frames that the cache does not have, or that begin inside a block
            RuntimeError: shapes that do not fit the cache
        """
        end = frame + k.shape[1] // self.frame_tokens
        if frame < 0 or end > self.frames or frame % self.tiling["f_tied"] != 0:
            raise ValueError(
                f"frames {frame}..{end} cannot be written to a cache of {self.frames} frames with "
                f"f_tied {self.tiling['f_tied']}; begin at a multiple of f_tied and end at {self.frames} or before"
            )
        slots = slice(frame * self.frame_tokens, end * self.frame_tokens)
        self.k[:, slots] = to_block_order(k, self.grid, **self.tiling)
        self.v[:, slots] = to_block_order(v, self.grid, **self.tiling)

    def attend(
        self, q: Tensor, frames: int | None = None, *, num_iters: int = 1, softmax_scale: float | None = None
    ) -> Tensor:
        """MonarchRT attention of new queries to the first frames of the cache.

        Args:
            q: ``[B, n rows columns, H, D]`` in token order; n is a multiple of f_tied
            frames: how many of the cache's frames are seen, a multiple of f_tied; all if None
            num_iters, softmax_scale: as of ``monarch_attention``

        Returns:
            ``[B, n rows columns, H, D]`` in token order

        Raises:
            ValueError: more frames than the cache has
            RuntimeError: shapes that do not fit the cache
        """
        seen = self.frames if frames is None else frames
        if not 1 <= seen <= self.frames:
            raise ValueError(f"attention to {seen} frames of a cache of {self.frames}; give 1 to {self.frames}")
        end = seen * self.frame_tokens
        return monarch_attention(
            q,
            self.k[:, :end],
            self.v[:, :end],
            self.grid,
            num_iters=num_iters,
            softmax_scale=softmax_scale,
            kv_block_order=True,
            **self.tiling,
        )
