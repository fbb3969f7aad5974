#!/usr/bin/env python3
"""Times transformers' UMT5EncoderModel at the widths of UMT5-XXL with random weights: the peer of `monarch bench text`.

    python text.py --layers 1 --tokens 512 --threads 2

Layers are alike, so few of them tell the time of 24. Prints one line of JSON.
"""
import argparse
import json
import statistics
import time

import torch
from transformers import UMT5Config, UMT5EncoderModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=512, help="length that the prompt is padded to")
    parser.add_argument("--prompt-tokens", type=int, default=0, help="tokens that are not padding (0: all)")
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--ffn", type=int, default=10240)
    parser.add_argument("--heads", type=int, default=64)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
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
        if args.device != "cpu":
            torch.cuda.synchronize()

    matrices = 4 * args.dim * args.dim + 3 * args.dim * args.ffn
    gflop = args.layers * (2.0 * args.tokens * matrices + 4.0 * args.tokens * args.tokens * args.dim) / 1e9
    run()
    seconds, cpu_seconds = [], []
    for _ in range(args.repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        run()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    median = statistics.median(seconds)
    print(json.dumps({
        "work": "umt5_encode", "implementation": "transformers",
        "shape": {"layers": args.layers, "tokens": args.tokens, "prompt_tokens": args.prompt_tokens or args.tokens,
                  "dim": args.dim, "ffn": args.ffn, "heads": args.heads},
        "dtype": args.dtype, "threads": args.threads, "seconds_median": median, "seconds_min": min(seconds),
        "seconds_max": max(seconds), "cpu_seconds_median": statistics.median(cpu_seconds),
        "gflop": round(gflop, 3), "gflops": round(gflop / median, 3)}))


if __name__ == "__main__":
    main()
