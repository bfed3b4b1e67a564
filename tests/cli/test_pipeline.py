"""profile, solve, compile, eval, inspect, diff, verify, and run, which is all of them: files, figures, JSON."""
import json
import math
import os
import re
import struct
import sys
import unittest
from harness import SMALL, TESTS, Cli, read, sha256, tiny_model, write

sys.path.insert(0, os.path.join(TESTS, "spec"))
from xxh3 import xxh3_64  # noqa: E402

EVAL_KEYS = {"tokens", "ppl_ref", "ppl", "kl_mean", "kl_stderr", "top1_agreement", "bits_per_value", "bytes_per_token",
             "seq_len", "context", "device", "attention", "seconds"}
HAND_PLAN = """tokens: {sinks: 4, window: 64, page: 64}
default: {key: int4.ch32, value: int4.tok}
layers:
  0: {key: int8.ch32, value: int8.tok}
"""


class Pipeline(Cli):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.profiled = cls.run_quietly("profile", "model", "-o", "profile.h5", *[o for o in SMALL if o not in ("448", "--holdout-tokens")])
        cls.ran = cls.run_quietly("model", "-o", "cfg.bin", "--bits", "5", "--json", *SMALL)

    def setUp(self):
        self.assertEqual((self.profiled[0], self.ran[0]), (0, 0), self.profiled[2] + self.ran[2])

    # ---- profile ----
    def test_profile_leaves_its_output_alone(self):
        self.assertTrue(read(self.path("profile.h5")).startswith(b"\x89HDF"))
        self.absent("profile.h5.work")

    def test_profile_does_not_depend_on_threads_or_memory(self):
        for name, options in [("two.h5", ["--threads", "2"]), ("spilled.h5", ["--memory", "1k"])]:
            self.ok("profile", "model", "-o", name, *[o for o in SMALL if o not in ("448", "--holdout-tokens")], *options)
            self.assertEqual(sha256(self.path(name)), sha256(self.path("profile.h5")), name)

    # ---- solve ----
    def test_solve_keeps_its_budget(self):
        for method in ("exact", "greedy"):
            for bits in (3.7, 4.5, 7, 16):
                found = self.json_of("solve", "profile.h5", "-o", "plan.yaml", "--bits", str(bits), "--method", method, "--json")
                self.assertEqual(set(found), {"output", "method", "context", "bits_per_value", "bytes_per_token", "predicted_kl"})
                self.assertLessEqual(found["bits_per_value"], bits)
                self.ok("compile", "plan.yaml", "--profile", "profile.h5", "-o", "c.bin")
                inspected = self.json_of("inspect", "c.bin", "--json")
                self.assertAlmostEqual(inspected["bits_per_value"], found["bits_per_value"], places=6)

    def test_solve_keeps_its_loss(self):
        previous = 17
        for loss in (0.01, 0.05, 0.2):
            found = self.json_of("solve", "profile.h5", "-o", "plan.yaml", "--max-loss", f"{100 * loss}%", "--json")
            greedy = self.json_of("solve", "profile.h5", "-o", "plan2.yaml", "--max-loss", str(loss), "--json", "--method", "greedy")
            self.assertLessEqual(found["predicted_kl"], math.log1p(loss))
            self.assertLessEqual(greedy["predicted_kl"], math.log1p(loss))
            self.assertLessEqual(found["bits_per_value"], previous)
            self.assertLessEqual(found["bits_per_value"], greedy["bits_per_value"])
            previous = found["bits_per_value"]

    def test_context_counts_sinks_and_window(self):
        def bits(context):
            return self.json_of("solve", "profile.h5", "-o", "plan.yaml", "--max-loss", "5%", "--context", context, "--json")
        self.assertEqual(bits("60")["bits_per_value"], 16)
        self.assertGreater(bits("1000")["bits_per_value"], bits("100000")["bits_per_value"])

    def test_front(self):
        self.ok("solve", "profile.h5", "-o", "plan.yaml", "--bits", "5", "--front", "front.json")
        front = json.loads(read(self.path("front.json")))
        keys = {"bits_per_value", "bytes_per_token", "predicted_kl", "measured_kl", "method", "chosen", "plan"}
        for point in front:
            self.assertEqual(set(point), keys)
            self.assertEqual(len(point["plan"]["layers"]), 2)
        for a, b in zip(front, front[1:]):
            self.assertLess(a["bits_per_value"], b["bits_per_value"])
            self.assertGreaterEqual(a["predicted_kl"], b["predicted_kl"])
        self.assertEqual(sum(p["chosen"] for p in front), 1)
        measured = [p for p in front if p["measured_kl"] is not None]
        self.assertTrue(1 <= len(measured) <= 4)
        for point in measured:  # the prediction goes through what was measured, unless noise had to be averaged
            self.assertLess(abs(math.log(point["measured_kl"] / point["predicted_kl"])), 0.5)

    def test_infeasible_requests(self):
        words = re.compile(r"the least is ([\d.]+) bits per value")
        code, _, err = self.run_quietly("solve", "profile.h5", "-o", "no.yaml", "--bits", "0.5")
        self.assertEqual(code, 4)
        least = words.search(err).group(1)
        self.ok("solve", "profile.h5", "-o", "plan.yaml", "--bits", least)
        write(self.path("poor.yaml"), "keys: [int2.ch64]\nvalues: [int2.tok]\n")
        poor = [*SMALL, "--space", "poor.yaml"]
        self.fails(4, "run", "model", "-o", "no.bin", *poor, "--bits", "2", says="--bits 2 cannot be reached")
        self.absent("no.bin.work")  # known before the model runs
        code, _, err = self.run_quietly("run", "model", "-o", "no.bin", *poor, "--max-loss", "0.01%")
        self.assertEqual(code, 4)
        nearest = re.search(r"the smallest loss reachable is ([\d.]+%), at [\d.]+ bits", err).group(1)
        self.ok("solve", "no.bin.work/profile.h5", "-o", "plan.yaml", "--max-loss", nearest)
        self.absent("no.yaml", "no.bin")

    # ---- compile ----
    def test_compile_by_profile_or_by_model(self):
        self.ok("solve", "profile.h5", "-o", "plan.yaml", "--bits", "5")
        self.ok("compile", "plan.yaml", "-o", "by_profile.bin", "--profile", "profile.h5")
        self.ok("compile", "plan.yaml", "-o", "by_model.bin", "--model", "model/model.safetensors")
        self.ok("compile", "plan.yaml", "-o", "by_both.bin", "--model", "model", "--profile", "profile.h5")
        self.assertEqual(self.ok("diff", "by_profile.bin", "by_model.bin"), "the same configuration\n")
        self.assertEqual(read(self.path("by_profile.bin")), read(self.path("by_both.bin")))

    def test_compile_a_plan_by_hand(self):
        write(self.path("hand.yaml"), HAND_PLAN)
        self.ok("compile", "hand.yaml", "-o", "hand.bin", "--model", "model")
        layers = self.json_of("inspect", "hand.bin", "--json")["layers"]
        self.assertEqual(layers, [{"layer": 0, "key": "int8.ch32", "value": "int8.tok16"},
                                  {"layer": 1, "key": "int4.ch32", "value": "int4.tok16"}])

    def test_compile_a_kvtuner_plan(self):
        write(self.path("kvtuner.yaml"), "0: {nbits_key: 8, nbits_value: 4}\n1: {nbits_key: 16, nbits_value: 16}\n")
        tiny_model(self.path("wide"), "--head-dim", "32")
        self.ok("compile", "kvtuner.yaml", "-o", "kvtuner.bin", "--model", "wide", "--window", "32")
        inspected = self.json_of("inspect", "kvtuner.bin", "--json")
        self.assertEqual([x["key"] for x in inspected["layers"]], ["int8.ch32", "fp16"])
        self.assertEqual(inspected["tokens"], {"sinks": 4, "window": 32, "page": 64, "anchors": 0})

    def test_wrong_plans(self):
        for text, says in [(HAND_PLAN.replace("  0:", "  7:"), ["plan.yaml:4:3", "7"]),
                           (HAND_PLAN.replace("int8.tok", "int9.tok"), ["plan.yaml:4", "int9"]),
                           (HAND_PLAN.replace("default", "defualt"), ["plan.yaml:2:1", "default"]),
                           (HAND_PLAN.replace("page: 64", "page: 9"), ["plan.yaml:1", "9"]),
                           ("model_sha256: \"" + "0f" * 32 + "\"\n" + HAND_PLAN, "model_sha256")]:
            write(self.path("plan.yaml"), text)
            self.fails(3, "compile", "plan.yaml", "-o", "no.bin", "--model", "model", says=says)
            self.fails(3, "eval", "model", "--text", "a.txt", "--plan", "plan.yaml", says=says)
        self.absent("no.bin")

    # ---- run ----
    def test_run_reports(self):
        report = json.loads(self.ran[1])
        self.assertEqual(set(report), {"output", "id", "file_bytes", "context", "tokens", "bits_per_value", "padded_bits_per_value",
                                       "bytes_per_token", "predicted_kl", "refinement", "measured", "workdir"})
        self.assertAlmostEqual(report["padded_bits_per_value"], report["bits_per_value"], places=6)
        self.assertIsNone(report["refinement"])
        self.assertEqual(report["file_bytes"], os.path.getsize(self.path("cfg.bin")))
        self.assertLessEqual(report["bits_per_value"], 5)
        self.assertEqual(report["measured"]["tokens"], 446)
        self.assertEqual(sorted(os.listdir(self.path("cfg.bin.work"))), ["fingerprint.json", "plan.yaml", "profile.h5"])

    def test_run_is_its_stages(self):
        self.ok("solve", "cfg.bin.work/profile.h5", "-o", "plan.yaml", "--bits", "5")
        self.assertEqual(read(self.path("plan.yaml")), read(self.path("cfg.bin.work/plan.yaml")))
        self.ok("compile", "plan.yaml", "--profile", "cfg.bin.work/profile.h5", "-o", "staged.bin")
        self.assertIn("the same configuration", self.ok("diff", "cfg.bin", "staged.bin"))

    def test_run_gives_the_same_bytes_again(self):
        first = [sha256(self.path(f)) for f in ("cfg.bin", "cfg.bin.work/profile.h5")]
        for threads in ("1", "2"):
            self.ok("model/model.safetensors", "-o", "again.bin", "--bits", "5", *SMALL, "--threads", threads)
            self.assertEqual([sha256(self.path(f)) for f in ("again.bin", "again.bin.work/profile.h5")], first, threads)

    def test_provenance(self):
        record = self.json_of("inspect", "cfg.bin", "--json")["provenance"]
        self.assertEqual(set(record), {"tool", "recipe", "device", "seed", "prompts", "holdout_prompts", "calibration",
                                       "holdout", "predicted", "measured", "front"})
        self.assertEqual([p["name"] for p in record["prompts"]], ["a.txt", "b.txt"])
        self.assertEqual(record["prompts"][0]["sha256"], sha256(self.path("a.txt")))
        self.assertEqual(record["recipe"]["bits"], 5)
        self.assertEqual(record["recipe"]["seq_len"], 224)
        self.assertEqual((record["calibration"]["tokens"], record["holdout"]["tokens"]), (1344, 448))
        self.assertEqual(record["measured"], json.loads(self.ran[1])["measured"])
        text = read(self.path("cfg.bin")).decode(errors="replace")
        self.assertNotIn(os.path.dirname(self.folder), text)
        self.assertNotIn("threads", text)

    def test_held_out_text_of_its_own(self):
        report = self.json_of("model", "-o", "held.bin", "--holdout", "other.txt", "--bits", "5", "--json", *SMALL)
        record = self.json_of("inspect", "held.bin", "--json")["provenance"]
        self.assertEqual([p["name"] for p in record["holdout_prompts"]], ["other.txt"])
        measured = self.json_of("eval", "model", "--text", "other.txt", "--config", "held.bin", "--seq-len", "224",
                                "--max-tokens", "448", "--json")
        for key in ("tokens", "ppl", "ppl_ref", "kl_mean", "kl_stderr", "top1_agreement"):
            self.assertEqual(measured[key], report["measured"][key], key)

    def test_held_out_text_that_is_not(self):
        code, _, err = self.run_quietly("model", "-o", "both.bin", "--bits", "5", *SMALL, "--holdout", "b.txt")
        self.assertEqual(code, 0, err)
        self.assertIn("b.txt is held out and calibrated on", err)

    def test_little_text_is_cut_shorter(self):
        write(self.path("short.txt"), read(self.path("a.txt"))[:700])
        code, _, err = self.run_quietly("model", "-o", "short.bin", "--bits", "5", "--prompts", "short.txt", "--space", "space.yaml",
                                        "--probe-rows", "8")
        self.assertEqual(code, 0, err)
        self.assertIn("little text: sequences of", err)
        write(self.path("tiny.txt"), "Hello there.\n")
        self.fails(3, "model", "-o", "no.bin", "--prompts", "tiny.txt", says=["too little text", "--prompts"])
        self.absent("no.bin")

    def test_built_in_text(self):
        code, _, err = self.run_quietly("model", "-o", "builtin.bin", "--bits", "5", "--calib-tokens", "448", "--seq-len", "224",
                                        "--holdout-tokens", "224", "--anchor-tokens", "0", "--space", "space.yaml")
        self.assertEqual(code, 0, err)
        self.assertIn("built-in text", err)
        self.fails(2, "model", "-o", "no.bin", *SMALL, "--anchor-tokens", "0", says=["--anchor-tokens", "--bits"])
        self.fails(2, "solve", "builtin.bin.work/profile.h5", "-o", "no.yaml", says=["--anchor-tokens", "--bits"])

    # ---- eval ----
    def test_eval(self):
        with_config = self.json_of("eval", "model", "--text", "a.txt", "--config", "cfg.bin", "--seq-len", "512", "--json")
        self.assertEqual(set(with_config), EVAL_KEYS)
        self.assertGreater(with_config["kl_mean"], 0)
        self.assertTrue(0 < with_config["top1_agreement"] <= 1)
        plan = self.json_of("eval", "model", "--text", "a.txt", "--plan", "cfg.bin.work/plan.yaml", "--seq-len", "512", "--json",
                            "--threads", "2")
        reference = self.json_of("eval", "model", "--text", "a.txt", "--seq-len", "512", "--json")
        self.assertEqual(set(reference), EVAL_KEYS)
        self.assertIsNone(reference["ppl"])
        self.assertEqual(reference["ppl_ref"], with_config["ppl_ref"])
        for result in (with_config, plan):
            del result["seconds"]
        self.assertEqual(with_config, plan)
        text = self.ok("eval", "model", "--text", "a.txt", "--config", "cfg.bin", "--max-tokens", "300")
        self.assertIn("KL divergence", text)
        self.assertIn("positions scored      299", text)

    def test_dry_runs_do_nothing(self):
        before = sorted(os.listdir(self.folder))
        for command in (["model", *SMALL], ["profile", "model", "--prompts", "a.txt"], ["eval", "model", "--text", "a.txt"]):
            out = self.ok(*command, "--dry-run")
            self.assertRegex(out, r"peak memory +[\d.]+ MiB")
            self.assertRegex(out, r"(profile|eval) +\d+ tokens +about [\d.]+ s")
        forecast = self.json_of("model", *SMALL, "--dry-run", "--json", "-q")
        self.assertEqual(set(forecast), {"memory_bytes", "device_bytes", "disk_bytes", "flops", "device", "stages"})
        self.assertEqual([s["stage"] for s in forecast["stages"]], ["profile", "anchors", "measure"])
        self.assertEqual([s["tokens"] for s in forecast["stages"]], [1344, 4 * 224, 448])
        for method, name in (("exact", "refine"), ("kvtuner", "kvtuner")):
            stages = [self.json_of("model", *SMALL, "--dry-run", "--json", "-q", "--method", method, "--bits", "6", "--evaluations", n)
                      ["stages"][-2] for n in ("3", "30")]
            self.assertEqual([(s["stage"], s["tokens"]) for s in stages], [(name, 3 * 1344), (name, 30 * 1344)])
            self.assertGreater(stages[1]["seconds"], stages[0]["seconds"])
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    # ---- inspect, diff, verify ----
    def test_inspect(self):
        inspected = self.json_of("inspect", "cfg.bin", "--json")
        self.assertEqual(set(inspected), {"format", "id", "model", "tokens", "layers", "context", "bits_per_value",
                                          "bytes_per_token", "constant_bytes", "file_bytes", "provenance", "sections"})
        self.assertEqual(inspected["model"]["sha256"], sha256(self.path("model/model.safetensors")))
        self.assertEqual([s["name"] for s in inspected["sections"]], ["model", "tokens", "layers", "provenance"])
        text = self.ok("inspect", "cfg.bin")
        self.assertIn(inspected["id"], text)
        self.assertIn(inspected["layers"][0]["key"], text)
        self.assertIn("measured    perplexity", text)

    def test_diff(self):
        self.assertEqual(self.ok("diff", "cfg.bin", "cfg.bin"), "the same configuration\n")
        write(self.path("hand.yaml"), HAND_PLAN)
        self.ok("compile", "hand.yaml", "-o", "hand.bin", "--model", "model", "-q")
        code, out, err = self.run_quietly("diff", "cfg.bin", "hand.bin")
        self.assertEqual((code, err), (1, ""))
        self.assertIn("layer 0 key", out)
        self.assertIn("-> int8.ch32", out)
        code, out, _ = self.run_quietly("diff", "cfg.bin", "hand.bin", "--json")
        differences = json.loads(out)
        self.assertEqual((code, differences["differs"]), (1, True))
        self.assertIn({"field", "a", "b"}, [set(d) for d in differences["differences"]])
        self.assertEqual(self.json_of("diff", "cfg.bin", "cfg.bin", "--json"), {"differs": False, "differences": []})

    def test_verify(self):
        self.assertIn("whole", self.ok("verify", "cfg.bin"))
        self.assertEqual(self.json_of("verify", "cfg.bin", "--model", "model", "--json")["matches"], True)
        tiny_model(self.path("changed"), "--seed", "5")
        code, out, err = self.run_quietly("verify", "cfg.bin", "--model", "changed")
        self.assertEqual((code, err), (1, ""))
        self.assertIn("SHA-256", out)
        code, out, _ = self.run_quietly("verify", "cfg.bin", "--model", "changed", "--json")
        self.assertEqual((code, json.loads(out)["matches"]), (1, False))
        self.fails(3, "verify", "cfg.bin", "--model", "nosuch", says="nosuch")
        self.fails(3, "verify", "space.yaml", says="space.yaml")

    def test_verify_finds_a_wrong_identity(self):
        image = bytearray(read(self.path("cfg.bin")))
        image[32] ^= 1  # of the SHA-256; the table's hash is then made to fit
        table = 64 + 32 * int.from_bytes(image[24:28], "little")
        image[table:table + 8] = struct.pack("<Q", xxh3_64(bytes(image[:table])))
        write(self.path("forged.bin"), image)
        code, out, err = self.run_quietly("verify", "forged.bin")
        self.assertEqual((code, err), (1, ""))
        self.assertIn("identity", out)


if __name__ == "__main__":
    unittest.main()
