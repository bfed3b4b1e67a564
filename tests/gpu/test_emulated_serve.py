"""`eval --device cuda --kernels` on the emulated GPU: attention by libkvc_cuda loses what the CPU says. KVCALIB is kvcalib_emulated,
CUDACXX the stand-in for nvcc."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SPACE = "keys: [int2.ch16, int4.ch16, vq4x4+klt]\nvalues: [int2.tok, int4.tok+had, vq4x4+klt]\n"
RUN = ["model", "-o", "cfg.bin", "--kernels", "kernels", "--space", "space.yaml", "--prompts", "text.txt", "--seq-len", "96", "--calib-tokens",
       "288", "--holdout-tokens", "96", "--anchor-tokens", "0", "--probe-rows", "8", "--fit-rows", "128", "--table-rows", "512", "--iterations",
       "2", "--page", "16", "--window", "16", "--bits", "5", "-q", "-t", "1"]
# Three sequences, of 80, 80 and 20 tokens: a batch that shrinks.
TEXT = ["--text", "text.txt", "--seq-len", "80", "--max-tokens", "180"]
EVAL = ["eval", "model", *TEXT, "--config", "cfg.bin"]
SERVED = [*EVAL, "--device", "cuda", "--kernels", "kernels"]


def kvcalib(*args, **env):
    return subprocess.run([os.environ["KVCALIB"], *args], env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ok(*args, **env):
    done = kvcalib(*args, **env)
    assert done.returncode == 0, f"{args}: {done.stderr}"
    return done


def fails(code, says, *args):
    done = kvcalib(*args)
    lines = done.stderr.splitlines()
    assert done.returncode == code and len(lines) == 1 and says in lines[0] and not done.stdout, f"{args}: {done.returncode} {done.stderr}"


def near(a, b, tolerance, *names):
    for name in names:
        assert abs(a[name] - b[name]) <= tolerance * abs(b[name]), f"{name}: {a} {b}"


def losses_agree():
    cpu = json.loads(ok(*EVAL, "--json").stdout)
    done = ok(*SERVED, "--json", "-v")
    gpu = json.loads(done.stdout)
    assert (cpu["attention"], gpu["attention"]) == ("backend", "libkvc_cuda")
    assert "libkvc_cuda: 3 sequences at a time" in done.stderr, done.stderr
    assert cpu["tokens"] == gpu["tokens"] == 177 and cpu["kl_mean"] > 1e-3, cpu
    near(gpu, cpu, 1e-6, "ppl_ref")
    near(gpu, cpu, 0.02, "kl_mean", "kl_stderr", "ppl", "top1_agreement")
    return gpu


def memory_makes_batches(gpu):
    """On a device with little memory, one sequence after the other: slots are used again."""
    done = ok(*SERVED, "--json", "-v", FAKE_DEVICE_GIB="0.5316")
    assert "libkvc_cuda: 1 sequences at a time" in done.stderr, done.stderr
    near(json.loads(done.stdout), gpu, 1e-5, "kl_mean", "ppl")


def forecast_and_refusals():
    forecast = json.loads(ok(*SERVED, "--dry-run", "--json").stdout)
    assert [s["stage"] for s in forecast["stages"]] == ["eval", "serve"], forecast
    assert "attention             libkvc_cuda" in ok(*SERVED, "--max-tokens", "40", "--seq-len", "40").stdout
    fails(2, "--device cuda", *EVAL, "--kernels", "kernels")
    fails(2, "--config", "eval", "model", *TEXT, "--device", "cuda", "--kernels", "kernels")
    fails(2, "--config", "eval", "model", *TEXT, "--device", "cuda", "--kernels", "kernels", "--plan", "cfg.bin.work/plan.yaml")
    fails(3, "nowhere/kernels.list", *EVAL, "--device", "cuda", "--kernels", "nowhere")
    with open("kernels/kernels.list") as f:
        lines = f.read().splitlines(keepends=True)
    for i, says in ((1, "another version"), (2, "another configuration")):
        os.makedirs("stale", exist_ok=True)
        with open("stale/kernels.list", "w") as f:
            f.writelines(line[:-2] + "g\n" if at == i else line for at, line in enumerate(lines))
        fails(3, says, *EVAL, "--device", "cuda", "--kernels", "stale")
        fails(3, says, *EVAL, "--device", "cuda", "--kernels", "stale", "--dry-run")


def main():
    folder = tempfile.mkdtemp(dir=os.environ["KVC_TEST_BUILD"])
    os.chdir(folder)
    subprocess.run([sys.executable, "-B", os.path.join(TESTS, "tiny_model.py"), "model", "--layers", "2", "--head-dim", "64"], check=True,
                   stdout=subprocess.DEVNULL)
    with open("space.yaml", "w") as f:
        f.write(SPACE)
    with open("text.txt", "w") as f:
        f.write("".join(f"{i * 7919 % 1000} steps of the tower, {i * 31 % 17} lamps. " for i in range(60)))
    ok(*RUN)
    memory_makes_batches(losses_agree())
    forecast_and_refusals()
    os.chdir(TESTS)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
