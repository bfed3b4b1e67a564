"""--window auto and --sinks auto: what is tried, what wins, and where it is said."""
import json
import math
import unittest
from harness import SMALL, Cli, read, sha256, write

# Sequences that leave room for windows up to 128: twice 4 + 128 + 64 tokens are 392.
LONG = [*SMALL, "--seq-len", "448", "--calib-tokens", "2688"]
RUN = ["run", "model", *LONG]
PROFILED = [o for o in SMALL if o not in ("448", "--holdout-tokens")]


class Policy(Cli):
    def trials(self, name, context="8192"):
        inspected = self.json_of("inspect", name, "--json", "--context", context)
        found = inspected["provenance"]["token_trials"]
        chosen = [t for t in found if t["chosen"]]
        self.assertEqual(len(chosen), 1)
        self.assertEqual({k: inspected["tokens"][k] for k in ("sinks", "window")}, {k: chosen[0][k] for k in ("sinks", "window")})
        self.assertAlmostEqual(inspected["bits_per_value"], chosen[0]["bits_per_value"], places=9)
        return found, chosen[0], inspected

    # ---- what wins ----
    def test_a_budget_takes_what_loses_least(self):
        code, out, err = self.run_quietly(*RUN, "-o", "bits.bin", "--bits", "4.8", "--window", "auto", "--report", "bits.html", "--json")
        self.assertEqual(code, 0, err)
        found, chosen, inspected = self.trials("bits.bin")
        self.assertEqual([t["window"] for t in found], [0, 16, 32, 64, 128])
        for trial in found:
            self.assertLessEqual(trial["bits_per_value"], 4.8)
            self.assertEqual(trial["sinks"], 4)
            self.assertIn(f"4 sinks, window {trial['window']}: KL ", err)
        self.assertEqual(chosen["kl_late"], min(t["kl_late"] for t in found))
        self.assertIn(f"taken: 4 sinks, window {chosen['window']}, the best of 5", err)
        result = json.loads(out)
        self.assertEqual(result["tokens"], {"sinks": 4, "window": chosen["window"], "page": 64})
        self.assertAlmostEqual(result["predicted_kl"], chosen["kl"], delta=1e-6 * chosen["kl"])
        self.assertEqual(inspected["provenance"]["recipe"]["window"], "auto")
        self.assertRegex(read(self.path("bits.html")).decode(), r"<dt>tried</dt><dd>4 sinks, window of 0: KL [^;]*; 4 sinks, window of 16")
        # the plan's own file has the policy, and compiles to the same decisions
        self.ok("compile", "bits.bin.work/plan.yaml", "--profile", "bits.bin.work/profile.h5", "-o", "again.bin")
        self.assertEqual(self.json_of("inspect", "again.bin", "--json")["id"], inspected["id"])

    def test_bytes_of_the_window_are_counted(self):
        # at a context of 1024 tokens a window of 128 takes a tenth of 16 bits: what is left holds less
        self.ok(*RUN, "-o", "near.bin", "--bits", "5.5", "--window", "auto", "--context", "1024")
        found, _, _ = self.trials("near.bin", "1024")
        exact = {t["window"]: (1024 - (1024 - 4 - t["window"]) // 64 * 64) / 1024 for t in found}
        self.assertGreater(len(found), 2)
        for t in found:
            self.assertLessEqual(t["bits_per_value"], 5.5)
            self.assertGreater(t["bits_per_value"], 16 * exact[t["window"]] + 2 * (1 - exact[t["window"]]))

    def test_a_loss_takes_the_fewest_bytes(self):
        for loss in (0.02, 0.004):
            self.ok(*RUN, "-o", "loss.bin", "--max-loss", str(loss), "--window", "auto")
            found, chosen, _ = self.trials("loss.bin")
            kept = [t for t in found if t["kl"] <= math.log1p(loss)]
            self.assertIn(chosen, kept)
            self.assertEqual(chosen["bits_per_value"], min(t["bits_per_value"] for t in kept))
        code, _, err = self.run_quietly(*RUN, "-o", "never.bin", "--max-loss", "0.000001%", "--window", "auto")
        self.assertEqual(code, 4, err)
        self.assertIn("--max-loss 1e-06%", err)
        self.absent("never.bin")

    def test_sinks(self):
        self.ok(*RUN, "-o", "sinks.bin", "--bits", "4.8", "--window", "auto", "--sinks", "auto")
        found, chosen, _ = self.trials("sinks.bin")
        window = min((t for t in found if t["sinks"] == 4), key=lambda t: t["kl_late"])["window"]
        self.assertEqual([(t["sinks"], t["window"]) for t in found if t["sinks"] != 4], [(s, window) for s in (0, 1, 2, 8, 16)])
        self.assertEqual(chosen["kl_late"], min(t["kl_late"] for t in found))
        self.ok(*RUN, "-o", "sinks.bin", "--bits", "4.8", "--window", "32", "--sinks", "auto")
        found, _, _ = self.trials("sinks.bin")
        self.assertEqual([(t["sinks"], t["window"]) for t in found], [(s, 32) for s in (0, 1, 2, 4, 8, 16)])

    def test_the_worst_text_and_refinement(self):
        self.ok(*RUN, "-o", "max.bin", "--bits", "5.2", "--window", "auto", "--objective", "max", "--evaluations", "8")
        found, chosen, _ = self.trials("max.bin")
        header = json.loads(read(self.path("max.bin.work/refine.jsonl")).splitlines()[0])
        self.assertEqual(header["tokens"], [4, chosen["window"], 64])
        self.ok(*RUN, "-o", "mean.bin", "--bits", "5.2", "--window", "auto")
        mean = {t["window"]: t for t in self.trials("mean.bin")[0]}
        for t in found:  # other plans perhaps, but the worst of two texts is not much below the mean
            self.assertGreater(t["kl"], 0.9 * mean[t["window"]]["kl"])

    def test_side_constraints(self):
        self.ok(*RUN, "-o", "pairs.bin", "--bits", "6", "--window", "auto", "--max-pairs", "1")
        _, _, inspected = self.trials("pairs.bin")
        self.assertEqual(len({(x["key"], x["value"]) for x in inspected["layers"]}), 1)

    # ---- again ----
    def test_resumed_and_threads(self):
        options = [*RUN, "-o", "r.bin", "--bits", "4.8", "--window", "auto"]
        self.ok(*options)
        first, lines = sha256(self.path("r.bin")), read(self.path("r.bin.work/policy.jsonl")).decode().splitlines()
        self.assertEqual(len(lines), 1 + 2 * 5)
        write(self.path("r.bin.work/policy.jsonl"), "\n".join(lines[:6]) + "\n" + lines[6][:20])  # two plans and a half
        self.ok(*options, "--resume")
        self.assertEqual(sha256(self.path("r.bin")), first)
        self.assertEqual(len(read(self.path("r.bin.work/policy.jsonl")).splitlines()), 1 + 5 + 2 * 3)
        options[options.index("--threads") + 1] = "2"
        self.ok(*options)
        self.assertEqual(sha256(self.path("r.bin")), first)

    def test_the_profile_is_that_of_the_default(self):
        self.ok(*RUN, "-o", "p.bin", "--bits", "4.8", "--window", "auto")
        code, _, err = self.run_quietly(*RUN, "-o", "p.bin", "--bits", "4.8", "--resume")
        self.assertEqual(code, 0, err)
        self.assertIn("profile.h5 is done", err)
        self.assertNotIn("token_trials", self.json_of("inspect", "p.bin", "--json")["provenance"])

    def test_recipe(self):
        write(self.path("auto.yaml"), "window: auto\nsinks: 2\n")
        self.assertIn("\nwindow: auto\n", self.ok("run", "model", "--recipe", "auto.yaml", "--print-config"))
        self.ok(*RUN, "-o", "recipe.bin", "--bits", "4.8", "--recipe", "auto.yaml")
        found, _, _ = self.trials("recipe.bin")
        self.assertEqual({t["sinks"] for t in found}, {2})
        # for the other commands it says nothing: the profile has its default, a plan its own
        self.ok("profile", "model", "-o", "recipe.h5", *PROFILED, "--recipe", "auto.yaml")
        self.ok("solve", "recipe.h5", "-o", "recipe.yaml", "--bits", "4.8", "--recipe", "auto.yaml")
        self.assertIn(b"sinks: 2, window: 64", read(self.path("recipe.yaml")))
        write(self.path("hand.yaml"), "tokens: {sinks: 4, window: 16, page: 64}\ndefault: {key: int4.ch32, value: int4.tok}\n")
        self.ok("compile", "hand.yaml", "-o", "hand.bin", "--model", "model", "--recipe", "auto.yaml")
        self.assertEqual(self.json_of("inspect", "hand.bin", "--json")["tokens"]["window"], 16)

    def test_dry_run(self):
        for options, plans in ((["--bits", "5"], 5), ([], 10), (["--bits", "5", "--sinks", "auto"], 11)):
            stages = self.json_of(*RUN, "--window", "auto", *options, "--dry-run", "--json", "-q")["stages"]
            self.assertEqual([s["tokens"] for s in stages if s["stage"] == "policy"], [plans * 2688])

        write(self.path("auto.yaml"), "window: auto\nevaluations: 9\n")
        lines = self.ok("profile", "model", *PROFILED, "--recipe", "auto.yaml", "--dry-run").splitlines()
        self.assertEqual([line.split()[0] for line in lines if " tokens " in line], ["profile", "anchors"])

    # ---- refused ----
    def test_refusals(self):
        for word in ("never", "Auto", "-1", "1.5", ""):
            self.fails(2, "run", "model", "-o", "no.bin", f"--window={word}", says="--window")
        self.fails(2, "run", "model", "-o", "no.bin", "--sinks", "1048577", says=["--sinks", "out of range"])
        for option in ("--window", "--sinks"):
            for method in ("greedy", "random", "kvtuner"):
                self.fails(2, "run", "model", "-o", "no.bin", option, "auto", "--method", method, says=[f"{option} auto", method])
            for command in (["profile", "model", "-o", "no.h5"], ["eval", "model", "--text", "a.txt"], ["compile", "p.yaml", "-o", "no.bin"]):
                self.fails(2, *command, option, "auto", says=[f"{option} auto", "kvcalib run"])
            self.fails(2, "solve", "profile.h5", "-o", "no.yaml", option, "auto", says=[option, "run"])
        self.fails(3, "run", "model", "-o", "no.bin", *LONG, "--seq-len", "132", "--window", "auto", says=["--window auto", "132 tokens"])
        self.fails(3, "run", "model", "-o", "no.bin", *LONG, "--context", "67", "--window", "auto", says=["--window auto", "67"])
        self.absent("no.bin", "no.h5", "no.bin.work")

    def test_nearest_feasible(self):
        code, _, err = self.run_quietly(*RUN, "-o", "no.bin", "--bits", "2", "--window", "auto")
        self.assertEqual(code, 4)
        least = err.split("the least is ")[1].split()[0]
        self.ok(*RUN, "-o", "least.bin", "--bits", least, "--window", "auto")
        found, chosen, _ = self.trials("least.bin")
        self.assertTrue(all(t["bits_per_value"] == chosen["bits_per_value"] for t in found))
        self.absent("no.bin", "no.bin.work")


if __name__ == "__main__":
    unittest.main()
