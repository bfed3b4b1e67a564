"""The command line itself: help, versions, options, recipes, exit codes of wrong usage."""
import os
import subprocess
import sys
import unittest
from harness import TESTS, Cli, write

COMMANDS = ["run", "profile", "solve", "compile", "eval", "generate", "inspect", "diff", "verify", "import", "bench"]


class Usage(Cli):
    def test_nothing_prints_help_and_fails(self):
        code, out, err = self.run_quietly()
        self.assertEqual((code, out), (2, ""))
        self.assertIn("kvcalib MODEL -o cfg.bin", err)

    def test_help_names_every_command(self):
        out = self.ok("--help")
        for command in COMMANDS:
            self.assertIn(f"\n  {command} ", out)
        self.assertEqual(self.ok("-h"), out)

    def test_help_of_every_command(self):
        for command in COMMANDS:
            out = self.ok(command, "--help")
            self.assertTrue(out.startswith(f"kvcalib {command} "))
            self.assertIn("--log-file", out)
        self.assertIn("--max-loss", self.ok("solve", "--help"))
        self.assertNotIn("--prompts", self.ok("solve", "--help"))

    def test_quality_names_its_profiles(self):
        for wrong in ("main.h5", "=main.h5", "main="):
            done = subprocess.run([sys.executable, "-B", os.path.join(TESTS, "regression", "quality.py"), "model", "a.txt", "--profile", wrong],
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(f"argument --profile: '{wrong}' is not NAME=FILE", done.stderr)

    def test_version(self):
        self.assertRegex(self.ok("--version"), r"^kvcalib \d+\.\d+\.\d+( \(git [0-9a-f]+(-dirty)?\))?\n$")

    def test_wrong_words(self):
        self.fails(2, "profle", "model", says=["profle", '"profile"'])
        self.fails(2, "model", "--bitz", "4", "-o", "x", says=["--bitz", "--bits"])
        self.fails(2, "model", "-Z", says="-Z")
        self.fails(2, "solve", "--prompts", "a.txt", says=["--prompts", "run", "profile"])
        self.fails(2, "inspect", "a", "b", says="too many")
        self.fails(2, "diff", "a", says="A.BIN B.BIN")
        self.fails(2, "model", says="-o")
        self.fails(2, "eval", "model", says="--text")
        self.fails(2, "generate", "model", says="--prompt")
        self.fails(2, "generate", "model", "--prompt", "a", "--prompt-file", "b", says="--prompt")
        self.fails(2, "compile", "plan.yaml", "-o", "x", says="--model")
        self.fails(2, "bench", says="--config")
        self.fails(2, "bench", "cfg.bin", says=["too many", "--config"])
        self.fails(2, "eval", "model", "--text", "a.txt", "--config", "c", "--plan", "p", says="--plan")
        self.fails(2, "eval", "model", "--text", "a.txt", "--device", "cuda", "--kernels", "k", says=["--kernels", "--config"])
        self.fails(2, "eval", "model", "--text", "a.txt", "--config", "c", "--kernels", "k", says=["--kernels", "--device cuda"])

    def test_wrong_values(self):
        for option, value in [("--bits", "x"), ("--bits", "0"), ("--bits", "nan"), ("--max-loss", "-1%"), ("--max-loss", "1%%"),
                              ("--seq-len", "1"), ("--seq-len", "-5"), ("--seq-len", "1e3"), ("--memory", "5Q"),
                              ("--memory", "99999999999T"), ("--page", "12"), ("--page", "2048"), ("--method", "best"),
                              ("--progress", "loud"), ("--threads", "99999999999999999999"), ("--json", "maybe"),
                              ("--prompts", "")]:
            argument = [f"{option}={value}"]
            self.fails(2, "run", "model", "-o", "cfg.bin", *argument, says=option)
        self.fails(2, "run", "model", "-o", says="-o needs a value")
        self.fails(2, "run", "model", "-o", "x", "--bits", says="--bits needs a value")
        self.fails(2, "run", "model", "-o", "x", "--bits", "4", "--max-loss", "1%", says=["--bits", "--max-loss"])

    def test_spellings(self):
        def config(*args):
            return self.ok(*args, "--print-config")
        same = config("run", "--bits", "4", "-o", "out.bin", "-t", "2", "--verbose")
        self.assertEqual(config("--bits=4", "--output=out.bin", "-vt2"), same)
        self.assertEqual(config("-oout.bin", "--bits", "9", "--bits", "4", "-v", "--threads=2"), same)
        self.assertIn('output: "-v"\n', config("run", "-o", "-v"))
        self.assertIn("max_loss: 0.02\n", config("run", "--max-loss", "2%"))
        self.assertIn("max_loss: 0.01\n", config("run"))
        self.assertIn("memory: 536870912\n", config("run", "--memory", "512M"))
        self.assertIn("memory: 2147483648\n", config("run", "--memory", "2g"))
        self.fails(3, "inspect", "--", "--bits", says="--bits")

    def test_bare_form_is_run(self):
        self.assertEqual(self.ok("model", "-o", "x", "--print-config"), self.ok("run", "model", "-o", "x", "--print-config"))


class Recipes(Cli):
    def test_print_config_round_trip(self):
        for command, options in [("run", ["--bits", "3.5", "--prompts", "a.txt", "--prompts", 'b "c"\\d.txt', "--resume"]),
                                 ("profile", ["--sinks", "0", "--memory", "1G"]),
                                 ("solve", ["--max-loss", "0.5%", "--method", "greedy", "--front", "f.json"]),
                                 ("compile", ["--page", "128"]), ("eval", ["--text", "ü.txt", "--max-tokens", "99"]),
                                 ("generate", ["--temperature", "0.7", "--chat"]), ("inspect", ["--json"]),
                                 ("diff", ["-q"]), ("verify", ["--model", "m"]), ("import", ["--dtype", "bf16"])]:
            printed = self.ok(command, *options, "--print-config")
            write(self.path("recipe.yaml"), printed)
            self.assertEqual(self.ok(command, "--recipe", "recipe.yaml", "--print-config"), printed)

    def test_the_command_line_wins(self):
        write(self.path("recipe.yaml"), "bits: 4\nseq_len: 512\nprompts: [x.txt, y.txt]\nresume: true\n")

        def config(*args):
            return self.ok("run", "--recipe", "recipe.yaml", *args, "--print-config")
        self.assertIn("bits: 4\n", config())
        self.assertNotIn("max_loss", config())
        self.assertIn("seq_len: 256\n", config("--seq-len", "256"))
        self.assertIn('prompts: ["z.txt"]\n', config("--prompts", "z.txt"))
        self.assertIn("max_loss: 0.05\n", config("--max-loss", "5%"))
        self.assertNotIn("bits:", config("--max-loss", "5%"))
        self.assertIn("resume: false\n", config("--resume=false"))

    def test_one_recipe_for_all_commands(self):
        write(self.path("recipe.yaml"), "bits: 4\nprompts: a.txt\ncontext: 1000\n")
        self.assertIn("context: 1000\n", self.ok("inspect", "--recipe", "recipe.yaml", "--print-config"))
        self.assertNotIn("bits", self.ok("inspect", "--recipe", "recipe.yaml", "--print-config"))

    def test_wrong_recipes(self):
        for text, says in [("bits: 4\nseq_ln: 512\n", ["recipe.yaml:2:1", "seq_ln", "seq_len"]),
                           ("bits: 4\n\nseq_len: many\n", ["recipe.yaml:3:10", "many"]),
                           ("prompts: {a: b}\n", "recipe.yaml:1:10"), ("- bits\n", "recipe.yaml:1:1"),
                           ("resume: yes\n", ["recipe.yaml:1:9", "true"]), ("bits: [4\n", "recipe.yaml:"),
                           ("a: &x 1\nb: *x\n", "recipe.yaml:1:"), ("", "recipe.yaml")]:
            write(self.path("recipe.yaml"), text)
            self.fails(3, "run", "model", "-o", "x", "--recipe", "recipe.yaml", says=says)
        write(self.path("recipe.yaml"), "bits: 4\nmax_loss: 1%\n")
        self.fails(2, "run", "model", "-o", "x", "--recipe", "recipe.yaml", says="--max-loss")
        self.fails(3, "run", "model", "-o", "x", "--recipe", "nosuch.yaml", says="nosuch.yaml")


if __name__ == "__main__":
    unittest.main()
