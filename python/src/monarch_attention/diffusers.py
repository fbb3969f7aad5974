"""Monarch attention in the Wan models of diffusers.

``set_attention(pipeline, "monarchrt", h_reduce=2)`` switches the self-attention of a pipeline or a transformer; cross
attention to text and images stays as it is. Weights are not touched, so it can be switched at any time, between two
denoising steps too (``callback_on_step_end``), and back with ``set_attention(pipeline, "dense")``.

How it fits: the model rotates queries and keys by position before attention and holds its tokens in the order (frame,
row, column), column fastest, which is that of the operators; the size of a frame follows from the latents and is handed
from the model's rotary embedding, which sees them, to the processors, together with the rotations.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Collection, Literal

import torch
from diffusers import DiffusionPipeline, WanTransformer3DModel
from torch import Tensor, nn

from .functional import Grid, monarch_attention, vmonarch_attention

Preset = Literal["dense", "monarchrt", "vmonarch"]
Attend = Callable[[Tensor, Tensor, Tensor, Grid], Tensor]

_SETTINGS: dict[str, tuple[str, ...]] = {
    "dense": (),
    "monarchrt": ("f_tied", "h_reduce", "w_reduce", "num_iters"),
    "vmonarch": ("num_iters", "c_r_min", "recompute_first_frame", "frames_per_factor", "split"),
}
_OPERATORS: dict[str, Callable[..., Tensor]] = {"monarchrt": monarch_attention, "vmonarch": vmonarch_attention}
_HOOK = "_monarch_grid_hook"


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x ``[B, N, H, D]`` with each pair of neighbouring channels rotated; cos and sin ``[1, N, 1, D]``, each value twice."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[..., 0::2], sin[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).type_as(x)


class WanMonarchProcessor:
    """The self-attention of one layer of ``WanTransformer3DModel``.

    Args:
        attend: called with rotated q, k and v ``[B, N, H, D]`` and the grid, returns ``[B, N, H, D]``; None: what the
            layer had before
        before: the processor the layer had before
    """

    def __init__(self, attend: Attend | None, before: Any) -> None:
        self.attend = attend
        self.before = before

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor, Grid] | None = None,
    ) -> Tensor:
        """The layer ``attn`` on hidden_states ``[B, N, C]``; rotary_emb as the hook of ``set_attention`` returns it."""
        if rotary_emb is None or len(rotary_emb) != 3 or encoder_hidden_states is not None:
            raise ValueError(
                "WanMonarchProcessor is for self-attention layers and needs the frame size beside their rotary "
                "embedding; install it with monarch_attention.diffusers.set_attention"
            )
        cos, sin, grid = rotary_emb
        if self.attend is None:
            return self.before(attn, hidden_states, None, attention_mask, (cos, sin))
        if attention_mask is not None:
            raise ValueError(f"Monarch attention takes no attention_mask; got one of shape {tuple(attention_mask.shape)}")

        if getattr(attn, "fused_projections", False):
            query, key, value = attn.to_qkv(hidden_states).chunk(3, dim=-1)
        else:
            query, key, value = attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)
        query = _rotate(attn.norm_q(query).unflatten(2, (attn.heads, -1)), cos, sin)
        key = _rotate(attn.norm_k(key).unflatten(2, (attn.heads, -1)), cos, sin)
        value = value.unflatten(2, (attn.heads, -1))

        out = self.attend(query.type_as(value), key.type_as(value), value, grid).flatten(2, 3)
        return attn.to_out[1](attn.to_out[0](out))


def _with_grid(rope: nn.Module, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Grid]:
    """Forward hook of ``WanRotaryPosEmbed``: (cos, sin) becomes (cos, sin, grid) for latents ``[B, C, F, H, W]``."""
    _, _, _, height, width = inputs[0].shape
    _, patch_height, patch_width = rope.patch_size
    return output[0], output[1], (height // patch_height, width // patch_width)


def _restore(model: WanTransformer3DModel) -> None:
    hook = model.__dict__.pop(_HOOK, None)
    if hook is not None:
        hook.remove()
    for block in model.blocks:
        if isinstance(block.attn1.processor, WanMonarchProcessor):
            block.attn1.set_processor(block.attn1.processor.before)


def _install(model: WanTransformer3DModel, attend: Attend, layers: Collection[int] | None) -> None:
    for index, block in enumerate(model.blocks):
        chosen = layers is None or index in layers
        block.attn1.set_processor(WanMonarchProcessor(attend if chosen else None, block.attn1.processor))
    model.__dict__[_HOOK] = model.rope.register_forward_hook(_with_grid)


def _transformers(model: Any) -> list[WanTransformer3DModel]:
    parts = [model]
    if isinstance(model, DiffusionPipeline):
        parts = [getattr(model, name, None) for name in ("transformer", "transformer_2")]
        parts = [part for part in parts if part is not None]
    # torch.compile(model) wraps the model; model.compile() does not.
    parts = [getattr(part, "_orig_mod", part) for part in parts]
    for part in parts:
        if not isinstance(part, WanTransformer3DModel):
            raise TypeError(
                f"set_attention takes a WanTransformer3DModel or a pipeline with one, but found a {type(part).__name__}"
            )
    if not parts:
        raise TypeError(f"set_attention found no transformer in this {type(model).__name__}")
    return parts


def set_attention(
    model: WanTransformer3DModel | DiffusionPipeline,
    preset: Preset = "monarchrt",
    *,
    layers: Collection[int] | None = None,
    **settings: Any,
) -> None:
    """Switches the self-attention of a Wan model, in place.

    Args:
        model: a ``WanTransformer3DModel``, or a pipeline, whose ``transformer`` and ``transformer_2`` are meant
        preset: ``"dense"`` puts back what the model had; ``"monarchrt"`` and ``"vmonarch"`` are ``monarch_attention``
            and ``vmonarch_attention``
        layers: indices of the layers it is for, the others stay dense; all if None
        settings: of the function: f_tied, h_reduce, w_reduce, num_iters for monarchrt; num_iters, c_r_min,
            recompute_first_frame, frames_per_factor, split for vmonarch. For latents of H x W a frame has
            ``H / patch_size[1]`` rows and ``W / patch_size[2]`` columns of tokens (480x832 pixels: 30x52), and f_tied
            divides the latent frames (81 frames: 21).

    Raises:
        TypeError: a model of another class, a setting that the preset does not have
        ValueError: a preset that does not exist, a layer that the model does not have
        RuntimeError: when the model runs, if the settings do not divide its grid
    """
    if preset not in _SETTINGS:
        raise ValueError(f"there is no preset {preset!r}; use one of {', '.join(_SETTINGS)}")
    unknown = sorted(set(settings) - set(_SETTINGS[preset]))
    if unknown:
        known = ", ".join(_SETTINGS[preset]) or "no settings"
        raise TypeError(f"{preset} has no setting {', '.join(unknown)}; it takes {known}")
    models = _transformers(model)
    for part in models:
        beyond = sorted(i for i in layers or () if not 0 <= i < len(part.blocks))
        if beyond:
            raise ValueError(f"there is no layer {beyond[0]} in a model of {len(part.blocks)} layers")
    for part in models:
        _restore(part)
        if preset != "dense":
            _install(part, partial(_OPERATORS[preset], **settings), layers)
