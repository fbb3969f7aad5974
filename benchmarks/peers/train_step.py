#!/usr/bin/env python3
"""Times a training step of diffusers' WanTransformer3DModel in PyTorch eager: the peer of `monarch bench train`.

    python train_step.py --size shapes --attention monarchrt --threads 2

Random weights; the flow matching loss of one batch forward and backward, clipping, AdamW. --attention monarchrt puts the
formula of MonarchRT (arXiv 2602.12271, one iteration, tiles of one frame), written with einsum, in the place of
self-attention. Prints one line of JSON.
"""
import argparse
import json
import resource

import torch
from diffusers import WanTransformer3DModel

from timing import common_options, timed

SIZES = {
    "shapes": {"model": {"num_attention_heads": 4, "attention_head_dim": 32, "ffn_dim": 512, "num_layers": 6,
                         "text_dim": 96, "freq_dim": 128}, "text_tokens": 40, "latents": (8, 16, 6, 16, 24)},
    "wide": {"model": {"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 2,
                       "text_dim": 4096, "freq_dim": 256}, "text_tokens": 512, "latents": (1, 16, 3, 60, 104)},
}


def monarchrt(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
    """q, k, v [batch, tokens, heads, head_dim] over a grid of frames, rows i and columns j."""
    scale = q.shape[-1] ** -0.5
    q, k, v = (x.unflatten(1, grid) for x in (q * scale, k, v))
    right = torch.einsum("bfijhd,bgilhd->bhfgijl", q, k).softmax(-1)
    a_left = torch.einsum("bhfgijl,bgilhd->bhfgijd", right, k)
    c_left = (right * right.clamp_min(1e-30).log()).sum(-1)
    y = torch.einsum("bhfgijl,bgilhd->bhfgijd", right, v)
    scores = torch.einsum("bfxjhd,bhfgijd->bhfjxgi", q, a_left) - c_left.permute(0, 1, 2, 5, 3, 4).unsqueeze(4)
    left = scores.flatten(-2).softmax(-1).unflatten(-1, scores.shape[-2:])
    return torch.einsum("bhfjxgi,bhfgijd->bfxjhd", left, y).flatten(1, 3)


class MonarchProcessor:
    """Self-attention of WanAttention with `monarchrt` in the place of scaled_dot_product_attention."""

    def __init__(self, grid: tuple[int, int, int]) -> None:
        self.grid = grid

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, rotary_emb=None):
        del encoder_hidden_states, attention_mask
        q = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1))
        k = attn.norm_k(attn.to_k(hidden_states)).unflatten(2, (attn.heads, -1))
        v = attn.to_v(hidden_states).unflatten(2, (attn.heads, -1))
        cos, sin = rotary_emb

        def rotate(x: torch.Tensor) -> torch.Tensor:
            even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
            c, s = cos[..., 0::2], sin[..., 1::2]
            return torch.stack((even * c - odd * s, even * s + odd * c), -1).flatten(-2).type_as(x)

        out = monarchrt(rotate(q), rotate(k), v, self.grid).flatten(2)
        return attn.to_out[1](attn.to_out[0](out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="shapes")
    parser.add_argument("--attention", choices=["dense", "monarchrt"], default="monarchrt")
    common_options(parser, repeats=5, precision=False)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    size = SIZES[args.size]
    batch, channels, frames, height, width = size["latents"]
    model = WanTransformer3DModel(in_channels=channels, out_channels=channels, cross_attn_norm=True,
                                  qk_norm="rms_norm_across_heads", **size["model"]).train()
    if args.attention == "monarchrt":
        for block in model.blocks:
            block.attn1.set_processor(MonarchProcessor((frames, height // 2, width // 2)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, betas=(0.0, 0.999), weight_decay=0.01)
    clean = torch.randn(size["latents"])
    text = torch.randn(batch, size["text_tokens"], size["model"]["text_dim"])

    def step() -> None:
        noise = torch.randn_like(clean)
        t = torch.rand(batch).view(-1, 1, 1, 1, 1)
        flow = model((1 - t) * clean + t * noise, 1000 * t.flatten(), text, return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(flow, noise - clean)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        optimizer.zero_grad()

    print(json.dumps({
        "work": f"train_step_{args.size}", "implementation": f"diffusers-{args.attention}", "dtype": "float32",
        "shape": {"latents": size["latents"], "text_tokens": size["text_tokens"], **size["model"]},
        "threads": args.threads, **timed(step, args.repeats),
        "peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


if __name__ == "__main__":
    main()
