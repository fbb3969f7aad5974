"""The operators as functions.

Shapes are in memory order: q ``[B, Nq, H, D]``, k and v ``[B, Nkv, H, D]``, result ``[B, Nq, H, D]`` with batch B, tokens
N, heads H, head_dim D. Tokens of a video are ordered (frame, row, column), column fastest; a ``grid`` is (rows, columns)
of one frame, in tokens, and the number of frames follows from N. Types are float32, bfloat16, float16 and float64, one
for all three operands; sums are float32 (float64 for float64). Strides are free. ``softmax_scale`` defaults to
``D ** -0.5``.

On the CPU kernels run for all but float64; elsewhere the same formulas composed of torch's operators.
``attention_runs`` says which. Every function is differentiable in its tensors, once where kernels run, and is traced by
``torch.compile`` without a graph break; a graph is made for each size. Bad shapes and settings raise ``RuntimeError``
with what was given, what was expected and what to do.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Grid = tuple[int, int]
Split = Literal["fh,w", "w,fh", "f,hw", "hw,f", "fw,h", "h,fw"]

_ops = torch.ops.monarch


def dense_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    softmax_scale: float | None = None,
    block_causal_size: int = 0,
) -> Tensor:
    """Exact attention, ``softmax(softmax_scale q k^T) v``.

    Args:
        q: ``[B, Nq, H, D]``
        k, v: ``[B, Nkv, H, D]``
        softmax_scale: factor of the scores; ``D ** -0.5`` if None
        block_causal_size: in tokens; key u is visible to query t iff ``u // size <= t // size``, and Nq must equal Nkv.
            0: every key is visible.

    Returns:
        ``[B, Nq, H, D]``, contiguous, of q's type

    Raises:
        RuntimeError: shapes or types that do not fit each other
    """
    return _ops.dense_attention(q, k, v, softmax_scale, block_causal_size)


def monarch_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grid: Grid,
    *,
    f_tied: int = 1,
    h_reduce: int = 1,
    w_reduce: int = 1,
    num_iters: int = 1,
    softmax_scale: float | None = None,
    block_causal_size: int = 0,
    kv_block_order: bool = False,
) -> Tensor:
    """MonarchRT: one Monarch matrix for each pair of a query block and a key block.

    A block is ``f_tied`` frames of one of ``h_reduce`` bands of rows and one of ``w_reduce`` bands of columns, with rows
    i, k < I (its frames' rows) and columns j, l < J. For query block a and key block f (arXiv 2602.12271)::

        R[a,f,k,j,l] = softmax_l(s g aR[a,f,k,j] . K[f,k,l])          aR = Q[a,k,j], g = 1
        aL[a,f,k,j] = sum_l R K[f,k,l]      cL = sum_l R log R        Y = sum_l R V[f,k,l]
        L[a,i,j,(f,k)] = softmax_fk(s Q[a,i,j] . aL - cL)             out[a,i,j] = sum_fk L Y

    More iterations repeat with ``aR = sum_i L Q[a,i,j]``, ``cR = sum_i L`` and ``g = min(1 / (cR + 1e-6), 1e4)``, at first
    with cR = 1. A block of a single row or a single column is
    exact, so bands refine the approximation at the price of speed.

    Args:
        q: ``[B, Fq rows columns, H, D]``
        k, v: ``[B, Fkv rows columns, H, D]``; Fkv may differ from Fq, as with a KV cache
        grid: (rows, columns) of a frame, in tokens
        f_tied: frames that share a block; divides Fq and Fkv
        h_reduce: bands of rows; divides the rows
        w_reduce: bands of columns; divides the columns
        num_iters: alternations of the two softmaxes, at least 1
        softmax_scale: s; ``D ** -0.5`` if None
        block_causal_size: in tokens, a multiple of a block's tokens that divides N: key u is visible to query t iff
            ``u // size <= t // size``. Needs num_iters 1. 0: every key is visible.
        kv_block_order: k and v lie in block order (``to_block_order``), as ``KVCache`` holds them

    Returns:
        ``[B, Fq rows columns, H, D]`` in token order, contiguous, of q's type

    Raises:
        RuntimeError: shapes that are not of this grid, settings that do not divide it (the message names those that do)
    """
    rows, columns = grid
    return _ops.monarchrt_attention(
        q,
        k,
        v,
        rows,
        columns,
        f_tied,
        h_reduce,
        w_reduce,
        num_iters,
        softmax_scale,
        block_causal_size,
        kv_block_order,
    )


def vmonarch_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grid: Grid,
    *,
    num_iters: int = 2,
    c_r_min: float = 0.1,
    recompute_first_frame: bool = True,
    frames_per_factor: int = 1,
    split: Split = "f,hw",
    softmax_scale: float | None = None,
) -> Tensor:
    """VMonarch: one Monarch matrix over a whole video.

    The split names what the first and the second index of the matrix run over; published is ``"f,hw"``, frames and
    positions within one. With i, k the first index and j, l the second (arXiv 2601.22275)::

        R[k,j,l] = softmax_l(s aR[k,j] . K[k,l] / max(cR[k,j], c_r_min))     aR = Q, cR = 1 at first
        aL[k,j] = sum_l R K[k,l]            h[k,j] = -sum_l R log R
        L[j,i,k] = softmax_k(s Q[i,j] . aL[k,j] + h[k,j])
        aR[k,j] = sum_i L Q[i,j]            cR[k,j] = sum_i L                 for the next iteration
        out[i,j] = sum_k L[j,i,k] sum_l R V[k,l]

    For gradients the entropy h counts as a constant, as in the paper's training.

    Args:
        q, k, v: ``[B, F rows columns, H, D]``
        grid: (rows, columns) of a frame, in tokens
        num_iters: refinements, at least 1
        c_r_min: lower bound of cR
        recompute_first_frame: queries of frame 0 get exact attention
        frames_per_factor: frames that share a first index, with split ``"f,hw"`` only; divides F
        split: one of the six splits that keep frame, row and column each within one factor
        softmax_scale: s; ``D ** -0.5`` if None

    Returns:
        ``[B, F rows columns, H, D]``, contiguous, of q's type

    Raises:
        RuntimeError: shapes that are not of this grid, a split that is none of the six
    """
    rows, columns = grid
    return _ops.vmonarch_attention(
        q,
        k,
        v,
        rows,
        columns,
        num_iters,
        c_r_min,
        recompute_first_frame,
        frames_per_factor,
        split,
        softmax_scale,
    )


def norm_rope(x: Tensor, weight: Tensor | None = None, rope: Tensor | None = None, *, eps: float = 1e-6) -> Tensor:
    """RMS norm over all channels of a token, then rotary embedding: what queries and keys go through before attention.

    With ``y = x / sqrt(mean(x^2) + eps) weight`` over the H D channels of a token (arXiv 1910.07467), each pair of
    neighbouring channels of a head is one complex number, which the token's ``rope`` rotates (arXiv 2104.09864). One
    pass over x on the CPU.

    Args:
        x: ``[B, N, H, D]``; D is even if rope is given
        weight: ``[H D]``; no norm if None
        rope: ``[N, D / 2]``, complex64, ``cos + i sin`` of the token's angles; no rotation if None
        eps: added to the mean of squares

    Returns:
        ``[B, N, H, D]`` of x's type; differentiable in x and weight

    Raises:
        RuntimeError: shapes that do not fit each other, a rope that is not complex
    """
    return _ops.norm_rope(x, weight, rope, eps)


def to_block_order(tokens: Tensor, grid: Grid, *, f_tied: int = 1, h_reduce: int = 1, w_reduce: int = 1) -> Tensor:
    """Tokens sorted by (block, row in the block, column in the block), the order of a KV cache of ``monarch_attention``.

    Args:
        tokens: ``[B, F rows columns, ...]`` in token order
        grid: (rows, columns) of a frame, in tokens
        f_tied, h_reduce, w_reduce: as of ``monarch_attention``

    Returns:
        a tensor of the same shape; ``tokens`` itself where both orders agree

    Raises:
        RuntimeError: tokens that are not of this grid, settings that do not divide it
    """
    return _ops.to_block_order(tokens, grid[0], grid[1], f_tied, h_reduce, w_reduce)


def from_block_order(blocks: Tensor, grid: Grid, *, f_tied: int = 1, h_reduce: int = 1, w_reduce: int = 1) -> Tensor:
    """The inverse of ``to_block_order``."""
    return _ops.from_block_order(blocks, grid[0], grid[1], f_tied, h_reduce, w_reduce)


def attention_runs() -> list[str]:
    """What ran since the start or the last reset, and how often: ``["monarchrt forward: cpu-avx512, 60 times"]``.

    Lines of what was composed of torch's operators instead say why.
    """
    return _ops.attention_runs()


def reset_attention_runs() -> None:
    """Starts the counts of ``attention_runs`` at zero."""
    _ops.reset_attention_runs()
