"""compile --kernels and run --kernels: the folder of sources, images and manifest. A script plays the compiler but for the tests that say
they need a real one."""
import ctypes
import hashlib
import json
import os
import shutil
import signal
import unittest
from harness import SMALL, Cli, read, sha256, tiny_model, write

NAMES = ["attend_int8_ch32_int8_tok64_d64_g2_p64_c8", "attend_int4_ch32_int4_tok64_d64_g2_p64_c8"]
PLAN = """tokens: {sinks: 4, window: 64, page: 64}
default: {key: int4.ch32, value: int4.tok+had}
layers:
  0: {key: int8.ch32, value: int8.tok}
"""
# Writes its arguments to what -o names, and when it began and ended to a log.
FAKE = """#!/bin/sh
echo begin >> "$FAKE_LOG"
sleep 0.2
for last; do :; done
echo "$@" | sed "s/ -o .*//" > "$last"
echo end >> "$FAKE_LOG"
"""
NVCC = shutil.which("nvcc") or os.path.join(os.environ.get("CUDA_HOME", ""), "bin", "nvcc")


def nvrtc_loads():
    for name in ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"):
        try:
            return bool(ctypes.CDLL(name))
        except OSError:
            pass
    return False


class Kernels(Cli):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        tiny_model(cls.path("wide"), "--layers", "3", "--head-dim", "64")
        write(cls.path("plan.yaml"), PLAN)
        cls.none = {k: v for k, v in os.environ.items() if k not in ("CUDACXX", "CUDA_HOME")}
        cls.none.update(PATH="", KVC_NVRTC="/nonexistent")
        cls.fake = dict(cls.none, PATH=os.environ["PATH"], FAKE_LOG=cls.path("log"), CUDACXX=cls.script("fake", FAKE))

    @classmethod
    def script(cls, name, text):
        write(cls.path(name), text)
        os.chmod(cls.path(name), 0o755)
        return cls.path(name)

    def setUp(self):
        for name in ("k", "c.bin", "c.bin.work", "log"):
            path = self.path(name)
            shutil.rmtree(path) if os.path.isdir(path) else os.path.exists(path) and os.remove(path)

    def compile(self, env, *options, plan="plan.yaml"):
        code, out, err = self.run_quietly("compile", plan, "--model", "wide", "-o", "c.bin", "--kernels", "k", *options, env=env)
        self.assertEqual(code, 0, err)
        return err

    def manifest(self):
        return json.loads(read(self.path("k/manifest.json")))

    def tampered(self, change):
        manifest = self.manifest()
        change(manifest)
        write(self.path("k/manifest.json"), json.dumps(manifest))

    def state(self):
        """Bytes and times of every file."""
        files = [os.path.join(folder, name) for folder, _, names in os.walk(self.path("k")) for name in names]
        return {f: (read(f), os.stat(f).st_mtime_ns) for f in files}

    # ---- what is written ----
    def test_files_and_manifest(self):
        err = self.compile(self.fake)
        self.assertIn("k: 2 kernels for sm_90, 2 of them compiled now", err)
        manifest = self.manifest()
        self.assertEqual(set(manifest), {"arch", "format", "kernels", "layers", "template_sha256", "tool"})
        self.assertEqual((manifest["arch"], manifest["format"]), ("sm_90", 1))
        self.assertEqual(manifest["layers"], [NAMES[0], NAMES[1], NAMES[1]])
        self.assertEqual([k["name"] for k in manifest["kernels"]], NAMES)
        self.assertEqual(manifest["kernels"][0]["key"], "int8.ch32 int8.tok64 d64 g2 p64 c8")
        self.assertEqual([k["shared_bytes"] for k in manifest["kernels"]], [215040 + 3 * 8 * 8 + 1632, 155648 + 4 * 8 * 8 + 1632])
        for kernel in manifest["kernels"]:
            self.assertIn(f"kvcalib: {kernel['file']}: ", err)
            self.assertEqual(kernel["sha256"], sha256(self.path("k/" + kernel["file"])))
            header = read(self.path(f"k/source/{kernel['name']}.h"))
            self.assertEqual(kernel["params_sha256"], hashlib.sha256(header).hexdigest())
            self.assertIn(manifest["template_sha256"].encode(), header)
        self.assertTrue(os.path.exists(self.path("c.bin")))
        lines = read(self.path("k/kernels.list")).decode().splitlines()
        identity = self.json_of("inspect", "c.bin", "--json")["id"]
        self.assertEqual(lines[:3], ["kvc-kernels 1", "template " + manifest["template_sha256"], "config " + identity])
        keys = {k["name"]: k["key"] for k in manifest["kernels"]}
        self.assertEqual(lines[3:], [f"layer {i} {name}.fatbin {keys[name]}" for i, name in enumerate(manifest["layers"])])

    def test_the_compiler_is_called_with(self):
        self.compile(self.fake, "--arch", "sm_80")
        self.assertEqual(read(self.path(f"k/{NAMES[0]}.fatbin")).decode(),
                         "-fatbin -O3 -std=c++17 -gencode arch=compute_80,code=[sm_80,compute_80] -I. "
                         f'-DATTEND_PARAMS="{NAMES[0]}.h" template/attend_kernel.cu\n')

    def test_as_many_processes_as_threads(self):
        many = "".join(f"  {i}: {{key: int{b}.ch64, value: fp16}}\n" for i, b in enumerate((1, 2, 4)))
        write(self.path("many.yaml"), "tokens: {sinks: 4, window: 64, page: 64}\nlayers:\n" + many)
        for threads in (1, 2):
            shutil.rmtree(self.path("k"), ignore_errors=True)
            write(self.path("log"), "")
            self.compile(self.fake, "--threads", str(threads), plan="many.yaml")
            running, most = 0, 0
            for line in read(self.path("log")).split():
                running += 1 if line == b"begin" else -1
                most = max(most, running)
            self.assertEqual((running, most), (0, threads))

    def test_a_parent_that_ignores_its_children(self):
        code, out, err = self.run_quietly("compile", "plan.yaml", "--model", "wide", "-o", "c.bin", "--kernels", "k", env=self.fake,
                                          preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        self.assertEqual(code, 0, err)
        self.assertIn("2 of them compiled now", err)

    # ---- a second run ----
    def test_nothing_is_made_anew(self):
        self.compile(self.fake)
        before = self.state()
        self.assertIn("0 of them compiled now", self.compile(self.none))
        self.assertEqual(self.state(), before)

    def test_what_is_stale_is_made_anew(self):
        self.compile(self.fake)
        whole = self.state()
        image = self.path(f"k/{NAMES[1]}.fatbin")

        def other_template(manifest):
            header = read(self.path(f"k/source/{NAMES[1]}.h")).replace(manifest["template_sha256"].encode(), b"0" * 64)
            manifest["kernels"][1]["params_sha256"] = hashlib.sha256(header).hexdigest()

        for what in (lambda: self.tampered(other_template), lambda: write(image, b"damaged"), lambda: os.remove(image),
                     lambda: self.tampered(lambda m: m["kernels"].pop(1))):
            what()
            self.assertIn("1 of them compiled now", self.compile(self.fake))
            self.assertEqual({f: b for f, (b, _) in self.state().items()}, {f: b for f, (b, _) in whole.items()})
        for what in (lambda: self.tampered(lambda m: m.update(format=2)), lambda: os.remove(self.path("k/manifest.json")),
                     lambda: write(self.path("k/manifest.json"), "{")):
            what()
            self.assertIn("2 of them compiled now", self.compile(self.fake))
        self.assertIn("2 of them compiled now", self.compile(self.fake, "--arch", "sm_80"))

    def test_a_changed_source_is_restored(self):
        self.compile(self.fake)
        source = self.path("k/source/template/attend.cuh")
        before = read(source)
        write(source, b"// mine\n")
        self.compile(self.none)
        self.assertEqual(read(source), before)

    def test_kernels_of_another_plan_go(self):
        self.compile(self.fake)
        write(self.path("k/notes.txt"), "mine")
        write(self.path("other.yaml"), PLAN.replace("int8", "int4"))
        self.assertIn("k: 1 kernels for sm_90, 0 of them compiled now", self.compile(self.fake, plan="other.yaml"))
        self.assertEqual(sorted(os.listdir(self.path("k"))), [NAMES[1] + ".fatbin", "kernels.list", "manifest.json", "notes.txt", "source"])
        self.absent(f"k/source/{NAMES[0]}.h")

    # ---- what goes wrong ----
    def test_no_compiler(self):
        err = self.compile(self.none)
        self.assertIn("k: neither nvcc nor NVRTC was found: sources of 2 kernels, no images", err)
        self.assertEqual(os.listdir(self.path("k")), ["source"])
        for name in (NAMES[0] + ".h", "template/attend_kernel.cu", "fragment/int.cuh", "device.cuh"):
            self.assertTrue(os.path.exists(self.path("k/source/" + name)), name)
        self.assertTrue(os.path.exists(self.path("c.bin")))

    def test_what_has_no_kernel_is_named(self):
        write(self.path("bad.yaml"), PLAN.replace("int8.tok", "int8.tok@joint"))
        self.fails(3, "compile", "bad.yaml", "--model", "wide", "-o", "c.bin", "--kernels", "k",
                   says=["bad.yaml: layer 0, values: int8.tok128@joint: no kernel yet for rows of all heads together"])
        self.fails(3, "compile", "plan.yaml", "--model", "model", "-o", "c.bin", "--kernels", "k", says="head dimension 16")
        self.fails(2, "compile", "plan.yaml", "--model", "wide", "-o", "c.bin", "--kernels", "k", "--arch", "sm_1", says="sm_90")
        self.absent("k", "c.bin")

    def test_capped_scores(self):
        self.compile(self.fake, "--softcap")
        self.assertEqual([k["name"] for k in self.manifest()["kernels"]], [name + "_softcap" for name in NAMES])
        self.assertTrue(self.manifest()["kernels"][0]["key"].endswith(" c8 softcap"))
        self.assertIn(b"#define ATTEND_SOFTCAP 1\n", read(self.path(f"k/source/{NAMES[0]}_softcap.h")))
        self.fails(2, "compile", "plan.yaml", "--model", "wide", "-o", "c.bin", "--softcap", says="--softcap says what --kernels are for")
        self.fails(2, "run", "wide", "-o", "c.bin", "--kernels", "k", "--softcap", says="--softcap is an option of compile")

    def test_a_compiler_that_fails(self):
        bad = dict(self.fake, CUDACXX=self.script("bad", "#!/bin/sh\necho hello\necho 'attend.cuh(7): error: a bad day'\nexit 2\n"))
        self.compile(self.fake)
        os.remove(self.path("c.bin"))
        write(self.path(f"k/{NAMES[0]}.fatbin"), "damaged")
        self.fails(3, "compile", "plan.yaml", "--model", "wide", "-o", "c.bin", "--kernels", "k", env=bad,
                   says=f"{NAMES[0]}: nvcc: attend.cuh(7): error: a bad day")
        self.absent("k/manifest.json", "k/kernels.list", "c.bin")
        silent = dict(self.fake, CUDACXX=self.script("silent", "#!/bin/sh\n"))
        self.fails(5, "compile", "plan.yaml", "--model", "wide", "-o", "c.bin", "--kernels", "k", env=silent, says="cannot be read")
        self.absent("k/manifest.json", "k/kernels.list", "c.bin")

    def test_a_folder_that_is_none(self):
        write(self.path("file"), "")
        self.fails(5, "compile", "plan.yaml", "--model", "wide", "-o", "c.bin", "--kernels", "file", says="file: cannot be made")
        self.absent("c.bin")

    def test_an_interrupt_ends_the_compilers(self):
        slow = dict(self.fake, CUDACXX=self.script("slow", "#!/bin/sh\necho $$ > $FAKE_LOG.$$\nmv $FAKE_LOG.$$ $FAKE_LOG\nsleep 60\n"))
        process = self.start("compile", "plan.yaml", "--model", "wide", "-o", "c.bin", "--kernels", "k", "-t", "1", env=slow)
        self.assertTrue(self.wait_for(process, "log"))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        self.assertEqual(process.returncode, 6)
        with self.assertRaises(ProcessLookupError):
            os.kill(int(read(self.path("log"))), 0)
        self.absent("k/manifest.json", "k/kernels.list", "c.bin")

    # ---- run ----
    def test_run(self):
        write(self.path("good.yaml"), "keys: [int4.ch32, fp16]\nvalues: [int4.tok+had, fp16]\n")
        options = ["good.yaml" if o == "space.yaml" else o for o in SMALL]
        self.ok("run", "wide", "-o", "c.bin", "--bits", "6", "--kernels", "k", *options, env=self.fake)
        pairs = [f"{layer['key'].split('+')[0]} {layer['value'].split('+')[0]}"
                 for layer in self.json_of("inspect", "c.bin", "--json")["layers"]]
        keys = {k["name"]: k["key"] for k in self.manifest()["kernels"]}
        self.assertEqual([keys[name] for name in self.manifest()["layers"]], [f"{pair} d64 g2 p64 c8" for pair in pairs])

    def test_run_refuses_candidates_before_the_model_runs(self):
        write(self.path("few.yaml"), "keys: [int4.tok@joint, fp16]\nvalues: [fp16]\n")
        options = ["few.yaml" if o == "space.yaml" else o for o in SMALL]
        self.fails(3, "run", "wide", "-o", "c.bin", "--kernels", "k", *options, says=["few.yaml: int4.tok@joint: ", "rows of all heads together"])
        self.absent("c.bin", "c.bin.work")

    def test_the_built_in_space_has_kernels(self):
        code, out, err = self.run_quietly("run", "wide", "-o", "c.bin", "--kernels", "k", "--dry-run", "--prompts", "a.txt")
        self.assertEqual(code, 0, err)
        self.assertNotIn("left out", err)
        self.absent("k")

    # ---- real compilers ----
    @unittest.skipUnless(os.access(NVCC, os.X_OK), "nvcc is not here")
    def test_nvcc(self):
        env = dict(os.environ, CUDACXX=NVCC, KVC_NVRTC="/nonexistent")
        write(self.path("other.yaml"), PLAN.replace("int8", "int4"))
        self.compile(env, plan="other.yaml")
        image = self.path(f"k/{NAMES[1]}.fatbin")
        whole = read(image)
        self.assertEqual(whole[:4], b"\x50\xed\x55\xba")  # of a fatbin
        write(image, whole[:-1])
        self.assertIn("1 of them compiled now", self.compile(env, plan="other.yaml"))
        self.assertEqual(read(image), whole)

    @unittest.skipUnless(nvrtc_loads() and os.path.exists("/usr/local/cuda/include/cuda_fp16.h"), "NVRTC and its headers are not here")
    def test_nvrtc(self):
        env = {k: v for k, v in os.environ.items() if k not in ("CUDACXX", "CUDA_HOME")}
        write(self.path("other.yaml"), PLAN.replace("int8", "int4"))
        self.compile(dict(env, PATH=""), plan="other.yaml")
        image = read(self.path(f"k/{NAMES[1]}.cubin"))
        self.assertEqual(image[:4], b"\x7fELF")
        for ending in (b"_info", b"_few"):
            self.assertIn(NAMES[1].encode() + ending, image)


if __name__ == "__main__":
    unittest.main()
