"""Damaged, hostile and mistaken inputs, and outputs that cannot be written: one line, the documented code, nothing half-done."""
import json
import os
import random
import resource
import shutil
import struct
import subprocess
import unittest
from harness import SMALL, Cli, read, tiny_model, write


class Models(Cli):
    def broken(self, name, **files):
        """A copy of the model in which some files have other contents (None: none)."""
        shutil.rmtree(self.path(name), ignore_errors=True)
        shutil.copytree(self.path("model"), self.path(name))
        for file, content in files.items():
            path = self.path(os.path.join(name, file.replace("_", ".", 1)))
            if content is None:
                os.remove(path)
            else:
                write(path, content)
        return name

    def refused(self, model, *says):
        self.fails(3, "eval", model, "--text", "a.txt", says=says)
        self.fails(3, "run", model, "-o", "no.bin", *SMALL, says=says)
        self.absent("no.bin", "no.bin.work")

    def test_missing_models(self):
        self.refused("nosuch", "nosuch")
        os.makedirs(self.path("empty"), exist_ok=True)
        self.refused("empty", "empty")
        self.refused("space.yaml", "space.yaml")

    def test_damaged_weights(self):
        weights = read(self.path("model/model.safetensors"))
        length = struct.unpack("<Q", weights[:8])[0]
        header = json.loads(weights[8 : 8 + length])
        body = weights[8 + length :]

        def image(h):
            text = json.dumps(h).encode()
            return struct.pack("<Q", len(text)) + text + body
        first = next(k for k in header if k != "__metadata__")
        last = max((k for k in header if k != "__metadata__"), key=lambda k: header[k]["data_offsets"])
        self.refused(self.broken("m", model_safetensors=weights[: len(weights) // 2]), "model.safetensors")
        self.refused(self.broken("m", model_safetensors=weights[:5]), "model.safetensors")
        self.refused(self.broken("m", model_safetensors=struct.pack("<Q", 1 << 60) + weights[8:]), "model.safetensors")
        self.refused(self.broken("m", model_safetensors=struct.pack("<Q", 200000) + b"[" * 200000), "model.safetensors")
        overlap = json.loads(json.dumps(header))
        overlap[last]["data_offsets"] = [o - 8 for o in overlap[last]["data_offsets"]]
        self.refused(self.broken("m", model_safetensors=image(overlap)), "model.safetensors")
        missing = {k: v for k, v in header.items() if "q_proj" not in k}
        self.refused(self.broken("m", model_safetensors=image(missing)), "model.safetensors")
        mistyped = json.loads(json.dumps(header))
        mistyped[first]["shape"] = [1, 2, 3]
        self.refused(self.broken("m", model_safetensors=image(mistyped)), "model.safetensors", first)
        for value in (float("nan"), float("inf")):
            bad = bytearray(weights)
            at = 8 + length + header["model.layers.1.mlp.up_proj.weight"]["data_offsets"][0] + 40
            bad[at : at + 4] = struct.pack("<f", value)
            model = self.broken("m", model_safetensors=bytes(bad))
            self.fails(3, "eval", model, "--text", "a.txt", says=["model.safetensors", "up_proj", "10"])

    def test_wrong_config(self):
        config = json.loads(read(self.path("model/config.json")))
        for change, says in [({"model_type": "mamba"}, "mamba"), ({"hidden_size": "64"}, "hidden_size"),
                             ({"hidden_size": 2**40}, "hidden_size"), ({"num_hidden_layers": 0}, "num_hidden_layers"),
                             ({"hidden_act": "relu"}, "relu"), ({"num_attention_heads": 3}, "config.json")]:
            self.refused(self.broken("m", config_json=json.dumps({**config, **change})), says)
        del config["num_hidden_layers"]
        self.refused(self.broken("m", config_json=json.dumps(config)), "config.json", "num_hidden_layers")
        self.refused(self.broken("m", config_json="{"), "config.json")
        self.refused(self.broken("m", config_json="[" * 100000), "config.json")
        self.refused(self.broken("m", config_json=None), "config.json")

    def test_wrong_tokenizer(self):
        tokenizer = json.loads(read(self.path("model/tokenizer.json")))
        tokenizer["pre_tokenizer"] = {"type": "Oracle"}
        self.refused(self.broken("m", tokenizer_json=json.dumps(tokenizer)), "tokenizer.json", "Oracle")
        self.refused(self.broken("m", tokenizer_json="[" * 100000), "tokenizer.json")
        self.fails(3, "generate", self.broken("m", tokenizer_json=None), "--prompt", "x", says="tokenizer.json")
        write(self.path("ids.tokens"), " ".join(str(i % 300) for i in range(400)) + "\n")
        self.ok("eval", "m", "--text", "ids.tokens")

    def test_wrong_text(self):
        write(self.path("empty.txt"), "")
        write(self.path("binary.txt"), b"abc\0def")
        write(self.path("latin.txt"), b"caf\xe9 " * 100)
        write(self.path("lines.jsonl"), '{"text": "fine"}\n{"txet": "not"}\n')
        write(self.path("ids.tokens"), "1 2 3\n4 99999 5\n")
        write(self.path("one.tokens"), "7\n")
        write(self.path("book.pdf"), "x")
        for name, *says in [("nosuch.txt",), ("empty.txt",), ("binary.txt", "3"), ("latin.txt", "3"), ("lines.jsonl", ":2"),
                            ("ids.tokens", ":2", "99999"), ("one.tokens",), ("book.pdf", ".pdf")]:
            self.fails(3, "eval", "model", "--text", name, says=[name, *says])
        for name in ("nosuch.txt", "binary.txt", "lines.jsonl"):
            self.fails(3, "model", "-o", "no.bin", *SMALL, "--prompts", name, says=name)
            self.fails(3, "model", "-o", "no.bin", *SMALL, "--holdout", name, says=name)
        self.absent("no.bin", "no.bin.work")

    def test_wrong_spaces(self):
        for text, *says in [("keys: [int4.ch64]\n", "values"), ("keys: [int5.ch64]\nvalues: [fp16]\n", "space2.yaml:1", "int5"),
                            ("keys: [int4.tok+tucker]\nvalues: [fp16]\n", "space2.yaml:1", "tucker"),
                            ("keys: []\nvalues: [fp16]\n", "space2.yaml:1"), ("keys: [fp16]\nvaules: [fp16]\n", "values")]:
            write(self.path("space2.yaml"), text)
            self.fails(3, "model", "-o", "no.bin", *SMALL, "--space", "space2.yaml", says=says)
        self.absent("no.bin", "no.bin.work")


    def test_codecs_that_do_not_fit_the_model(self):
        write(self.path("wide.yaml"), "keys: [int4.ch]\nvalues: [int4.tok64]\n")
        self.fails(3, "run", "model", "-o", "no.bin", *SMALL, "--space", "wide.yaml", says=["wide.yaml", "int4.tok64"])
        write(self.path("bad.yaml"), "default: {key: int4.ch, value: int4.tok64}\n")
        self.fails(3, "compile", "bad.yaml", "--model", "model", "-o", "no.bin", says=["bad.yaml", "layer 0 value"])
        self.fails(3, "eval", "model", "--text", "a.txt", "--plan", "bad.yaml", says=["bad.yaml", "layer 0 value"])
        self.absent("no.bin")

    def test_devices_and_words_that_are_nothing(self):
        self.fails(2, "eval", "model", "--text", "a.txt", "--device", "cuda:7", says="cuda:7")
        self.fails(2, "frobnicate", says="neither a command nor a model")


class Configs(Cli):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write(cls.path("plan.yaml"), "default: {key: int4.ch32, value: int4.tok}\n")
        code, _, err = cls.run_quietly("compile", "plan.yaml", "-o", "cfg.bin", "--model", "model")
        assert code == 0, err

    def test_options_that_the_configuration_decides(self):
        self.fails(2, "eval", "model", "--text", "a.txt", "--config", "cfg.bin", "--window", "8", says="--window")
        self.fails(3, "eval", "model", "--text", "a.txt", "--config", "cfg.bin", "--seq-len", "20",
                   says=["20 tokens", "nothing would be compressed"])

    def test_any_flipped_byte(self):
        whole, draw = read(self.path("cfg.bin")), random.Random(4)
        for at in draw.sample(range(len(whole)), 60):
            image = bytearray(whole)
            image[at] ^= 1 << draw.randrange(8)
            write(self.path("flipped.bin"), image)
            self.fails(3, "inspect", "flipped.bin", says="flipped.bin")

    def test_cut_and_padded(self):
        whole = read(self.path("cfg.bin"))
        for image in (b"", whole[:1], whole[:64], whole[:-1], whole + b"\0"):
            write(self.path("cut.bin"), image)
            for command in (["inspect", "cut.bin"], ["verify", "cut.bin"], ["diff", "cfg.bin", "cut.bin"], ["diff", "cut.bin", "cfg.bin"],
                            ["generate", "model", "--prompt", "x", "--config", "cut.bin"]):
                self.fails(3, *command, says="cut.bin")

    def test_profiles(self):
        self.fails(3, "solve", "plan.yaml", "-o", "no.yaml", "--bits", "4", says="plan.yaml")
        self.fails(3, "solve", "nosuch.h5", "-o", "no.yaml", says="nosuch.h5")
        self.fails(3, "compile", "plan.yaml", "-o", "no.bin", "--profile", "cfg.bin", says="cfg.bin")
        self.ok("profile", "model", "-o", "p.h5", *[o for o in SMALL if o not in ("448", "--holdout-tokens")])
        whole = read(self.path("p.h5"))
        write(self.path("cut.h5"), whole[: len(whole) // 2])
        self.fails(3, "solve", "cut.h5", "-o", "no.yaml", says="cut.h5")
        tiny_model(self.path("seeded"), "--seed", "3")
        self.fails(3, "compile", "plan.yaml", "-o", "no.bin", "--profile", "p.h5", "--model", "seeded", says="SHA-256")
        self.absent("no.yaml", "no.bin")


class Outputs(Cli):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write(cls.path("plan.yaml"), "default: {key: int4.ch32, value: int4.tok}\n")
        code, _, err = cls.run_quietly("compile", "plan.yaml", "-o", "cfg.bin", "--model", "model")
        assert code == 0, err

    def test_full_standard_output(self):
        for args in (["inspect", "cfg.bin"], ["inspect", "cfg.bin", "--json"], ["eval", "model", "--text", "other.txt"], ["--help"],
                     ["run", "--print-config"], ["diff", "cfg.bin", "cfg.bin"], ["generate", "model", "--prompt", "x", "-n", "2"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([os.environ["KVCALIB"], *args], cwd=self.folder, stdout=full, stderr=subprocess.PIPE, timeout=60)
            self.assertEqual(done.returncode, 5, args)
            self.assertIn(b"standard output", done.stderr)

    def test_unwritable_outputs(self):
        os.makedirs(self.path("folder"), exist_ok=True)
        for target in ("nosuch/x", "folder", "/dev/full", "a.txt/x"):
            self.fails(5, "model", "-o", target, *SMALL, says=target)
            self.fails(5, "compile", "plan.yaml", "-o", target, "--model", "model", says=target)
        self.fails(5, "model", "-o", "new.bin", *SMALL, "--workdir", "a.txt", says="a.txt")
        self.fails(5, "inspect", "cfg.bin", "--log-file", "nosuch/log", says="nosuch/log")
        self.absent("new.bin", "nosuch")

    def test_log_file(self):
        self.ok("compile", "plan.yaml", "-o", "logged.bin", "--model", "model", "-q", "--log-file", "log.txt")
        self.fails(3, "inspect", "nosuch.bin", "--log-file", "log.txt")
        log = read(self.path("log.txt")).decode()
        self.assertIn("logged.bin", log)
        self.assertIn("nosuch.bin", log)

    def limited(self, size, *args):
        """No file may grow beyond `size`: what a full disk looks like to the program."""
        return self.run_quietly(*args, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))

    def test_files_that_cannot_grow(self):
        run = ["model", "-o", "grown.bin", *SMALL, "--bits", "5"]
        for size in (100, 6000, 20000):
            shutil.rmtree(self.path("grown.bin.work"), ignore_errors=True)
            code, _, err = self.limited(size, *run)
            self.assertEqual(code, 5, err)
            self.assertIn("cannot be written", err)
            self.absent("grown.bin")
        shutil.rmtree(self.path("grown.bin.work"), ignore_errors=True)
        self.ok(*run)
        good = read(self.path("grown.bin"))
        code, _, err = self.limited(512, "compile", "plan.yaml", "-o", "grown.bin", "--model", "model")
        self.assertEqual(code, 5, err)
        self.assertEqual(read(self.path("grown.bin")), good, "the old file stays")
        self.assertEqual([f for f in os.listdir(self.folder) if ".tmp-" in f], [])

    def test_full_disk(self):
        os.makedirs(self.path("disk"), exist_ok=True)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", self.path("disk")], capture_output=True)
        if mounted.returncode != 0:
            self.skipTest("mounting a small tmpfs needs root and a kernel that lets it")
        try:
            self.fails(5, "model", "-o", "disk/cfg.bin", *SMALL, says=["disk/", "cannot be written"])
            self.absent("disk/cfg.bin")
        finally:
            subprocess.run(["umount", self.path("disk")], check=True)

    def test_results_and_messages_stay_apart(self):
        for mode in ("auto", "plain", "json", "none"):
            code, out, err = self.run_quietly("eval", "model", "--text", "a.txt", "--json", "--progress", mode)
            self.assertEqual(code, 0, err)
            self.assertEqual(len(out.splitlines()), 1)
            json.loads(out)
            self.assertNotIn("\x1b", err)
            if mode == "json":
                for line in err.splitlines():
                    self.assertLessEqual({"stage", "done", "total", "seconds"}, set(json.loads(line)))
            if mode == "none":
                self.assertEqual(err, "")


if __name__ == "__main__":
    unittest.main()
