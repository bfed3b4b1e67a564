#!/usr/bin/env python3
"""bench_sdpa.py - fp16 decode attention of PyTorch on one GPU: what compressed caches are compared with (bench_gpu_attend.cu has the same loads and the same way of timing:
CUDA graphs of several launches over buffers of more than twice the second-level cache, medians of replays).

    bench_sdpa.py          needs torch with CUDA; says so and exits 77 where there is none
"""
import statistics
import sys

try:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
except ImportError:
    print("skipped: no torch")
    sys.exit(77)
if not torch.cuda.is_available():
    print("skipped: no GPU")
    sys.exit(77)

LOADS = [(16, 32768), (1, 131072), (64, 8192), (16, 8192), (1, 32768), (1, 4096)]
BACKENDS = [("sdpa cudnn", SDPBackend.CUDNN_ATTENTION), ("sdpa flash", SDPBackend.FLASH_ATTENTION)]
ROUNDS, REPEATS, QUERY_HEADS, KV_HEADS, DIM = 20, 25, 32, 8, 128


def seconds(backend, batch, tokens):
    """Of one launch."""
    read = batch * tokens * KV_HEADS * DIM * 4
    copies = min(ROUNDS, (200 << 20) // read + 1)
    rows = [[torch.randn(batch, KV_HEADS, tokens, DIM, device="cuda", dtype=torch.float16) for _ in range(2)] for _ in range(copies)]
    q = torch.randn(batch, QUERY_HEADS, 1, DIM, device="cuda", dtype=torch.float16)

    def launch(i):
        k, v = rows[i % copies]
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)

    with sdpa_kernel(backend):
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for i in range(3):
                launch(i)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for i in range(ROUNDS):
                launch(i)
    times = []
    for _ in range(REPEATS + 3):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e-3 / ROUNDS)
    return statistics.median(times[3:])


for name, backend in BACKENDS:
    for batch, tokens in LOADS:
        read = batch * tokens * KV_HEADS * DIM * 4
        try:
            took = seconds(backend, batch, tokens)
            print(f"{name:28} {batch:3} x {tokens:6}  d {DIM} G {QUERY_HEADS // KV_HEADS}  {took * 1e6:8.1f} us  {read / took * 1e-9:6.0f} GB/s", flush=True)
        except RuntimeError as e:
            print(f"{name:28} {batch:3} x {tokens:6}  not run: {str(e).splitlines()[0][:100]}", flush=True)
        torch.cuda.empty_cache()
