"""generate and import."""
import json
import os
import re
import signal
import time
import unittest
from harness import TESTS, Cli, read, sha256, tiny_model, write

PLAN = "tokens: {sinks: 4, window: 64, page: 64}\ndefault: {key: int8.ch32, value: int8.tok}\n"


class Generate(Cli):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write(cls.path("plan.yaml"), PLAN)
        code, _, err = cls.run_quietly("compile", "plan.yaml", "-o", "cfg.bin", "--model", "model")
        assert code == 0, err

    def text(self, *args):
        code, out, err = self.run_quietly("generate", "model", *args)
        self.assertEqual(code, 0, err)
        return out, err

    def test_reports_speed_and_cache(self):
        out, err = self.text("--prompt-file", "other.txt", "-n", "40", "--config", "cfg.bin")
        found = re.search(r"prompt: (\d+) tokens, [\d.]+ tokens/s; text: (\d+) tokens, [\d.]+ tokens/s; "
                          r"cache: (\d+) bytes for (\d+) tokens \(fp16: (\d+)\)", err)
        prompt, generated, held, total, exact = map(int, found.groups())
        self.assertGreater(prompt, 300)
        self.assertEqual(total, prompt + generated)
        self.assertLess(held, 0.75 * exact)
        self.assertEqual(exact, total * 2 * 2 * 2 * 2 * 16)  # layers, heads, sides, bytes, dimensions
        self.assertEqual(self.text("--prompt-file", "other.txt", "-n", "40", "--config", "cfg.bin", "-q"), (out, ""))

    def test_same_seed_same_text(self):
        sampled = ["--prompt", "The lamp", "-n", "60", "--temperature", "1.5", "-q"]
        first = self.text(*sampled, "--seed", "7")
        self.assertEqual(self.text(*sampled, "--seed", "7", "--threads", "1"), first)
        self.assertNotEqual(self.text(*sampled, "--seed", "8"), first)
        greedy = self.text("--prompt", "The lamp", "-n", "60", "-q")
        self.assertEqual(self.text(*sampled, "--top-k", "1"), greedy)
        self.assertEqual(self.text(*sampled, "--top-p", "0"), greedy)

    def test_output_is_utf8(self):
        for seed in range(4):
            process = self.start("generate", "model", "--prompt", "é", "-n", "80", "--temperature", "3", "--seed", str(seed), "-q")
            out = process.communicate(timeout=60)[0]
            out.decode("utf-8")
            self.assertTrue(out.endswith(b"\n"))

    def test_chat_wraps_the_prompt(self):
        plain = self.text("--prompt", "Hi", "-n", "1")[1]
        chat = self.text("--prompt", "Hi", "-n", "1", "--chat")[1]
        tokens = [int(re.search(r"prompt: (\d+)", err).group(1)) for err in (plain, chat)]
        self.assertGreater(tokens[1], tokens[0] + 5)

    def test_stops_at_the_end_token(self):
        tokenizer = json.loads(read(self.path("model/tokenizer.json")))
        everything = list(range(len(tokenizer["model"]["vocab"])))
        write(self.path("model/generation_config.json"), json.dumps({"eos_token_id": everything[:60]}))
        try:
            _, err = self.text("--prompt", "Hi", "-n", "500", "--temperature", "5")
            self.assertLess(int(re.search(r"text: (\d+) tokens", err).group(1)), 500)
            write(self.path("model/generation_config.json"), '{"eos_token_id": "x"}')
            self.fails(3, "generate", "model", "--prompt", "Hi", says=["generation_config.json", "eos_token_id"])
        finally:
            os.remove(self.path("model/generation_config.json"))

    def test_wrong_prompts(self):
        self.fails(3, "generate", "model", "--prompt-file", "nosuch.txt", says="nosuch.txt")
        write(self.path("binary.bin"), b"ab\xff\xfecd")
        self.fails(3, "generate", "model", "--prompt-file", "binary.bin", says=["binary.bin", "UTF-8"])
        write(self.path("empty.txt"), "")
        self.fails(3, "generate", "model", "--prompt-file", "empty.txt")

    def test_interrupt(self):
        process = self.start("generate", "model", "--prompt", "Hi", "-n", "1000000", "--temperature", "2", "-q")
        self.assertTrue(process.stdout.read(1))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, err), (6, b"kvcalib: interrupted\n"))

    def test_closed_pipe(self):
        process = self.start("generate", "model", "--prompt", "Hi", "-n", "1000000", "--temperature", "2")
        process.stdout.read(1)
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        self.assertEqual(process.wait(timeout=60), 5)
        self.assertIn(b"standard output", err)

    def test_config_of_another_model(self):
        tiny_model(self.path("seeded"), "--seed", "3")
        tiny_model(self.path("deeper"), "--layers", "3")
        for model, says in (("seeded", ["cfg.bin", "SHA-256"]), ("deeper", ["cfg.bin", "layers 2", "has 3"])):
            self.fails(3, "generate", model, "--prompt", "Hi", "--config", "cfg.bin", says=says)
            self.fails(3, "eval", model, "--text", "a.txt", "--config", "cfg.bin", says=says)


class Import(Cli):
    GGUF = os.path.join(TESTS, "golden", "gguf", "tiny.gguf")

    def test_imported_models_run(self):
        for dtype in ("f16", "f32", "bf16"):
            self.ok("import", self.GGUF, "-o", dtype, "--dtype", dtype)
            self.assertIn(f'"{dtype.upper()}"'.encode(), read(self.path(f"{dtype}/model.safetensors"))[:4000])
            self.ok("eval", dtype, "--text", "ids.tokens", "--seq-len", "64")
        self.ok("import", self.GGUF, "-o", "again")
        self.assertEqual(sha256(self.path("again/model.safetensors")), sha256(self.path("f16/model.safetensors")))

    def setUp(self):
        write(self.path("ids.tokens"), " ".join(str(i % 50) for i in range(100)) + "\n")

    def test_wrong_files(self):
        self.fails(3, "import", "a.txt", "-o", "no", says="a.txt")
        whole = read(self.GGUF)
        write(self.path("cut.gguf"), whole[: len(whole) // 2])
        self.fails(3, "import", "cut.gguf", "-o", "no", says="cut.gguf")
        self.fails(5, "import", self.GGUF, "-o", "a.txt", says="a.txt")
        self.absent("no/model.safetensors")


if __name__ == "__main__":
    unittest.main()
