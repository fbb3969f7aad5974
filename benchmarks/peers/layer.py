#!/usr/bin/env python3
"""Times diffusers' WanTransformerBlock with random weights: the peer of `monarch bench layer`.

    python layer.py --frames 3 --rows 30 --columns 52 --threads 2

One layer of the transformer at the widths of the 1.3B model: dense self-attention over all tokens, cross-attention to
the text (its keys and values included), feed-forward. Prints one line of JSON.
"""
import argparse
import json

import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed, WanTransformerBlock

from timing import common_options, timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=3, help="latent frames")
    parser.add_argument("--rows", type=int, default=30, help="token rows of a frame")
    parser.add_argument("--columns", type=int, default=52, help="token columns of a frame")
    parser.add_argument("--text-tokens", type=int, default=512)
    parser.add_argument("--dim", type=int, default=1536)
    parser.add_argument("--ffn", type=int, default=8960)
    parser.add_argument("--heads", type=int, default=12)
    common_options(parser, repeats=5)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    dtype = getattr(torch, args.dtype)
    layer = WanTransformerBlock(args.dim, args.ffn, args.heads, "rms_norm_across_heads", cross_attn_norm=True)
    layer = layer.to(args.device, dtype).eval()
    tokens = args.frames * args.rows * args.columns
    x = torch.randn(1, tokens, args.dim, device=args.device, dtype=dtype)
    text = torch.randn(1, args.text_tokens, args.dim, device=args.device, dtype=dtype)
    modulation = torch.randn(1, 6, args.dim, device=args.device, dtype=dtype)
    rope = WanRotaryPosEmbed(args.dim // args.heads, (1, 2, 2), 1024)
    # The table depends on the latent's size alone.
    positions = rope(torch.empty(1, 1, args.frames, 2 * args.rows, 2 * args.columns, device=args.device))

    def run() -> None:
        with torch.no_grad():
            layer(x, text, modulation, positions)

    projections = 2.0 * tokens * args.dim * (6 * args.dim + 2 * args.ffn)
    text_keys = 4.0 * args.text_tokens * args.dim * args.dim
    attention = 4.0 * tokens * (tokens + args.text_tokens) * args.dim
    gflop = (projections + text_keys + attention) / 1e9
    print(json.dumps({
        "work": "dit_layer", "implementation": "diffusers",
        "shape": {"frames": args.frames, "rows": args.rows, "columns": args.columns, "text_tokens": args.text_tokens,
                  "dim": args.dim, "ffn": args.ffn, "heads": args.heads},
        "dtype": args.dtype, "threads": args.threads,
        **timed(run, args.repeats, args.device, gflop)}))


if __name__ == "__main__":
    main()
