#!/usr/bin/env python3
"""Times transformers' UMT5EncoderModel at the widths of UMT5-XXL with random weights: the peer of `monarch bench text`.

    python text.py --layers 1 --tokens 512 --threads 2

Layers are alike, so few of them tell the time of 24. Prints one line of JSON.
"""
import argparse
import json

import torch
from transformers import UMT5Config, UMT5EncoderModel

from timing import common_options, timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=512, help="length that the prompt is padded to")
    parser.add_argument("--prompt-tokens", type=int, default=0, help="tokens that are not padding (0: all)")
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--ffn", type=int, default=10240)
    parser.add_argument("--heads", type=int, default=64)
    common_options(parser, repeats=5)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    dtype = getattr(torch, args.dtype)
    config = UMT5Config(vocab_size=1000, d_model=args.dim, d_kv=args.dim // args.heads, d_ff=args.ffn,
                        num_layers=args.layers, num_heads=args.heads, feed_forward_proj="gated-gelu")
    model = UMT5EncoderModel(config).to(args.device, dtype).eval()
    ids = torch.randint(0, 1000, (1, args.tokens), device=args.device)
    mask = torch.ones_like(ids)
    if args.prompt_tokens:
        mask[:, args.prompt_tokens:] = 0

    def run() -> None:
        with torch.no_grad():
            model(input_ids=ids, attention_mask=mask)

    matrices = 4 * args.dim * args.dim + 3 * args.dim * args.ffn
    gflop = args.layers * (2.0 * args.tokens * matrices + 4.0 * args.tokens * args.tokens * args.dim) / 1e9
    print(json.dumps({
        "work": "umt5_encode", "implementation": "transformers",
        "shape": {"layers": args.layers, "tokens": args.tokens, "prompt_tokens": args.prompt_tokens or args.tokens,
                  "dim": args.dim, "ffn": args.ffn, "heads": args.heads},
        "dtype": args.dtype, "threads": args.threads,
        **timed(run, args.repeats, args.device, gflop)}))


if __name__ == "__main__":
    main()
