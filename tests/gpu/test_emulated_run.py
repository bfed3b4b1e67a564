"""The whole program on the emulated GPU: the same losses and the same plan as on the CPU. KVCALIB is kvcalib_emulated."""
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


def main():
    folder = tempfile.mkdtemp(dir=os.environ["KVC_TEST_BUILD"])
    os.chdir(folder)
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
    os.chdir(TESTS)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
