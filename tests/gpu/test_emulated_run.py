"""The whole program on the emulated GPU: the same losses and the same plan as on the CPU; what bench prints and refuses there. KVCALIB is
kvcalib_emulated, CUDACXX its stand-in for nvcc."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SPACE = "keys: [int8.ch32, int4.ch32, int2.ch32, fp16]\nvalues: [int8.tok, int4.tok+had, vq4x4.static+klt, fp16]\n"
OPTIONS = ["--space", "space.yaml", "--prompts", "text.txt", "--seq-len", "144", "--calib-tokens", "288", "--holdout-tokens", "144",
           "--anchor-tokens", "0", "--price", "full", "--price-tokens", "288", "--probe-rows", "8", "--fit-rows", "128",
           "--table-rows", "512", "--iterations", "2", "--page", "32", "--window", "16", "--bits", "4", "--json", "-q", "-t", "1"]


def run(device):
    subprocess.run([sys.executable, "-B", os.path.join(TESTS, "tiny_model.py"), "model", "--layers", "2"], check=True,
                   stdout=subprocess.DEVNULL)
    done = subprocess.run([os.environ["KVCALIB"], "model", "-o", "cfg.bin", "--workdir", "work-" + device, "--device", device, *OPTIONS],
                          check=True, stdout=subprocess.PIPE)
    with open(f"work-{device}/plan.yaml") as f:
        plan = [line for line in f if not line.startswith("#")]
    return json.loads(done.stdout), plan


def calibrate():
    with open("space.yaml", "w") as f:
        f.write(SPACE)
    with open("text.txt", "w") as f:
        f.write("".join(f"{i * 7919 % 1000} steps of the tower, {i * 31 % 17} lamps. " for i in range(60)))
    (cpu, plan), (gpu, other) = run("cpu"), run("cuda")
    assert plan == other, f"{plan}\n{other}"
    for name in ("predicted_kl", "bits_per_value"):
        assert abs(cpu[name] - gpu[name]) <= 0.01 * cpu[name], f"{name}: {cpu[name]} {gpu[name]}"
    for name in ("ppl_ref", "ppl", "kl_mean"):
        assert abs(cpu["measured"][name] - gpu["measured"][name]) <= 0.01 * cpu["measured"][name], f"{name}: {cpu} {gpu}"


PLAN = "tokens: {sinks: 4, window: 16, page: 16}\ndefault: {key: int4.ch16, value: int4.tok+had}\nlayers:\n  1: {key: int8.ch16, value: int8.tok}\n"
BENCH = ["bench", "-c", "c.bin", "--device", "cuda", "--kernels", "k", "--repeats", "1", "--load", "2x60"]


def kvcalib(*args, says=None, code=0, compiler=True):
    env = {**os.environ, "TMPDIR": os.path.abspath("scratch")}
    if not compiler:
        env = {name: value for name, value in env.items() if name not in ("CUDACXX", "CUDA_HOME")} | {"PATH": "", "KVC_NVRTC": "/nonexistent"}
    done = subprocess.run([os.environ["KVCALIB"], *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    assert done.returncode == code, done.stderr
    assert says is None or says in done.stderr, done.stderr
    return done.stdout


def bench():
    os.mkdir("scratch")
    subprocess.run([sys.executable, "-B", os.path.join(TESTS, "tiny_model.py"), "wide", "--layers", "3", "--head-dim", "64"], check=True,
                   stdout=subprocess.DEVNULL)
    for name, plan in (("c", PLAN), ("other", PLAN.replace("int8.tok", "int4.tok"))):
        with open("plan.yaml", "w") as f:
            f.write(plan)
        kvcalib("compile", "plan.yaml", "--model", "wide", "-o", name + ".bin", "--kernels", "k" if name == "c" else "other", "--softcap")
    got = json.loads(kvcalib(*BENCH, "--json"))
    load, = got["loads"]
    pairs = [(pair["key"], pair["value"], pair["layers"]) for pair in load["pairs"]]
    assert pairs == [("int4.ch16", "int4.tok64+had", 2), ("int8.ch16", "int8.tok64", 1)], pairs
    assert got["device"] == "cuda" and load["fp16"]["attend_us"] > 0, got
    for row in load["pairs"] + [load["fp16"]]: # a millisecond a replay: of at least 20 calls, of a page
        assert 0 < row["attend_us"] <= 1000 / 20 and 0 < row["append_us"] <= 1000 / 16, row
    text = kvcalib(*BENCH, compiler=False, says="there is no compiler for an fp16 kernel")
    lines = text.splitlines()
    assert "libkvc_cuda on a GPU that is played, 3 multiprocessors, medians of 1" in lines[0], text
    assert [line.split()[:2] for line in lines[4:6]] == [["int4.ch16", "int4.tok64+had"], ["int8.ch16", "int8.tok64"]] and len(lines) == 7, text
    assert lines[4].split()[-2] == "-" and "fp16" not in lines[6], text
    kvcalib(*BENCH, "--kernels", "other", code=3, says="other/kernels.list: kernels of another configuration")
    kvcalib(*BENCH, "--kernels", "scratch", code=3, says="scratch/kernels.list")
    kvcalib(*BENCH, "--kernels", "nosuch", code=3, says="nosuch")
    kvcalib(*BENCH, "--device", "cuda:1", code=2, says="device cuda:1: this machine has 1 CUDA devices")
    for name in os.listdir("k"):
        if name.endswith(".fatbin"):
            os.truncate(os.path.join("k", name), 100)
    kvcalib(*BENCH, code=3, says="2 x 60 tokens, layer 0: ")
    assert not os.listdir("scratch")


def main():
    folder = tempfile.mkdtemp(dir=os.environ["KVC_TEST_BUILD"])
    os.chdir(folder)
    calibrate()
    bench()
    os.chdir(TESTS)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
