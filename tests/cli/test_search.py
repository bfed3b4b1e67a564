"""How plans are chosen from a profile: baselines, side constraints, KVTuner's method; the model is not needed."""
import json
import math
import re
import unittest
from harness import SMALL, Cli, read, tiny_model, write

PROFILED = [o for o in SMALL if o not in ("448", "--holdout-tokens")]


class Searches(Cli):
    layers = "4"
    space = "keys: [int8.ch32, int4.ch32, int2.ch32, fp16]\nvalues: [int8.tok32, int4.tok32, int2.tok32, int4.tok+had]\n"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        tiny_model(cls.path("wide"), "--layers", cls.layers, "--head-dim", "32")
        write(cls.path("wide.yaml"), cls.space)
        cls.profiled = cls.run_quietly("profile", "wide", "-o", "profile.h5", *PROFILED, "--space", "wide.yaml")

    def setUp(self):
        self.assertEqual(self.profiled[0], 0, self.profiled[2])

    def solve(self, *options):
        """What solve says, and the front."""
        found = self.json_of("solve", "profile.h5", "-o", "plan.yaml", "--json", "--front", "front.json", *options)
        return found, json.loads(read(self.path("front.json")))

    def compiled(self):
        """The layers and the figures of plan.yaml as a configuration."""
        self.ok("compile", "plan.yaml", "--profile", "profile.h5", "-o", "c.bin")
        return self.json_of("inspect", "c.bin", "--json")


class Baselines(Searches):
    def test_random_keeps_budget_and_loss(self):
        for bits in ("4.5", "7"):
            best, _ = self.solve("--bits", bits)
            blind, front = self.solve("--bits", bits, "--method", "random")
            self.assertLessEqual(blind["bits_per_value"], float(bits))
            self.assertAlmostEqual(self.compiled()["bits_per_value"], blind["bits_per_value"], places=6)
            self.assertGreaterEqual(blind["predicted_kl"], best["predicted_kl"])
            self.assertEqual([p["method"] for p in front if p["chosen"]], ["random"])
        found, _ = self.solve("--max-loss", "10%", "--method", "random")
        self.assertLessEqual(found["predicted_kl"], math.log1p(0.1))

    def test_random_is_decided_by_its_seed(self):
        plans = []
        for seed in ("0", "1", "2", "3", "0"):
            self.solve("--bits", "5", "--method", "random", "--seed", seed)
            plans.append(read(self.path("plan.yaml")))
        self.assertEqual(plans[0], plans[4])
        self.assertGreater(len(set(plans)), 1)


class Constraints(Searches):
    def pairs(self, layers):
        return {(x["key"], x["value"]) for x in layers}

    def test_max_pairs(self):
        free, _ = self.solve("--bits", "5")
        losses = []
        for pairs in (1, 2, 3, 4):
            found, front = self.solve("--bits", "5", "--max-pairs", str(pairs))
            self.assertLessEqual(found["bits_per_value"], 5)
            self.assertGreaterEqual(found["predicted_kl"], free["predicted_kl"])
            self.assertLessEqual(len(self.pairs(self.compiled()["layers"])), pairs)
            for point in front:
                self.assertLessEqual(len(self.pairs(point["plan"]["layers"])), pairs)
            for a, b in zip(front, front[1:]):
                self.assertLess(a["bits_per_value"], b["bits_per_value"])
                self.assertGreaterEqual(a["predicted_kl"], b["predicted_kl"])
            losses.append(found["predicted_kl"])
        self.assertEqual(losses, sorted(losses, reverse=True))
        self.assertEqual(losses[3], free["predicted_kl"])  # a pair for each of the four layers
        self.assertGreater(losses[0], losses[3])
        found, _ = self.solve("--max-loss", "10%", "--max-pairs", "2")
        self.assertLessEqual(found["predicted_kl"], math.log1p(0.1))

    def test_equal_pages(self):
        size = {"int8.ch32": 9, "int4.ch32": 5, "int2.ch32": 3, "int8.tok32": 9, "int4.tok32": 5, "int2.tok32": 3,
                "int4.tok32+had": 5, "fp16": 16}
        for bits in ("4.5", "6.2", "8"):
            code, out, err = self.run_quietly("solve", "profile.h5", "-o", "plan.yaml", "--bits", bits, "--equal-pages", "--json",
                                              "--front", "front.json")
            self.assertEqual(code, 0, err)
            self.assertRegex(err, r"a page takes \d+ bytes per layer and head; \d of 4 layers are padded")
            found, real = json.loads(out), self.compiled()
            self.assertLessEqual(found["bits_per_value"], float(bits))
            pages = [size[x["key"]] + size[x["value"]] for x in real["layers"]]
            padding = sum(max(pages) - p for p in pages)
            self.assertEqual(err.count(f"{sum(p < max(pages) for p in pages)} of 4 layers"), 1)
            compressed = (8192 - 68) // 64 * 64 / 8192
            self.assertAlmostEqual(found["bits_per_value"], real["bits_per_value"] + compressed * padding / 8, places=5)
        for point in json.loads(read(self.path("front.json"))):
            most = max(size[x["key"]] + size[x["value"]] for x in point["plan"]["layers"])
            self.assertAlmostEqual(point["bits_per_value"], compressed * most / 2 + (1 - compressed) * 16, places=5)

    def test_max_constants(self):
        write(self.path("fitted.yaml"), "keys: [int4.ch32+smooth, int4.ch32, int2.ch32]\nvalues: [int4.tok32, int2.tok32, int2.tok32+rot]\n")
        self.ok("profile", "wide", "-o", "fitted.h5", *PROFILED, "--space", "fitted.yaml")
        free = self.json_of("solve", "fitted.h5", "-o", "plan.yaml", "--bits", "4", "--json")
        self.ok("compile", "plan.yaml", "--profile", "fitted.h5", "-o", "c.bin")
        all_bytes = self.json_of("inspect", "c.bin", "--json")["constant_bytes"]
        self.assertGreater(all_bytes, 0)
        for cap in (all_bytes, all_bytes // 2, 100, 0):
            found = self.json_of("solve", "fitted.h5", "-o", "plan.yaml", "--bits", "4", "--max-constants", str(cap), "--json")
            self.assertGreaterEqual(found["predicted_kl"], free["predicted_kl"])
            self.ok("compile", "plan.yaml", "--profile", "fitted.h5", "-o", "c.bin")
            inspected = self.json_of("inspect", "c.bin", "--json")
            self.assertLessEqual(inspected["constant_bytes"], cap)
            self.assertLessEqual(inspected["bits_per_value"], 4)
        found = self.json_of("solve", "fitted.h5", "-o", "plan.yaml", "--bits", "4", "--max-constants", str(all_bytes), "--json")
        self.assertEqual(found["predicted_kl"], free["predicted_kl"])
        write(self.path("all_fitted.yaml"), "keys: [int4.ch32+smooth]\nvalues: [int2.tok32+rot]\n")
        code, _, err = self.run_quietly("solve", "fitted.h5", "-o", "no.yaml", "--bits", "5", "--max-constants", "1k", "--space",
                                        "all_fitted.yaml")
        self.assertEqual(code, 4)
        least = err.split("the least is ")[1].split()[0]
        self.ok("solve", "fitted.h5", "-o", "plan.yaml", "--bits", "5", "--max-constants", least, "--space", "all_fitted.yaml")
        self.fails(4, "solve", "fitted.h5", "-o", "no.yaml", "--bits", "5", "--max-constants", str(int(least) - 1), "--space",
                   "all_fitted.yaml", says="--max-constants")
        self.absent("no.yaml")

    def test_all_together(self):
        found, front = self.solve("--bits", "6", "--max-pairs", "2", "--equal-pages", "--max-constants", "0")
        self.assertLessEqual(found["bits_per_value"], 6)
        for point in front:
            self.assertLessEqual(len(self.pairs(point["plan"]["layers"])), 2)

    def test_nearest_feasible(self):
        for limits in (["--max-pairs", "1"], ["--equal-pages"], ["--max-pairs", "2", "--equal-pages"]):
            code, _, err = self.run_quietly("solve", "profile.h5", "-o", "no.yaml", "--bits", "2", *limits)
            self.assertEqual(code, 4)
            self.assertIn("with " + " ".join(limits) + ":", err)
            least = err.split("the least is ")[1].split()[0]
            self.ok("solve", "profile.h5", "-o", "plan.yaml", "--bits", least, *limits)
            code, _, err = self.run_quietly("solve", "profile.h5", "-o", "no.yaml", "--max-loss", "0.0001%", *limits)
            self.assertEqual(code, 4)
            nearest = err.split("the smallest loss reachable is ")[1].split(",")[0]
            self.ok("solve", "profile.h5", "-o", "plan.yaml", "--max-loss", nearest, *limits)
        self.absent("no.yaml")

    def test_allowed_specs(self):
        write(self.path("some.yaml"), "keys: [int4.ch32, int2.ch32]\nvalues: [int4.tok, int2.tok32]\n")
        found, front = self.solve("--bits", "4.5", "--space", "some.yaml")
        for point in front:
            for layer in point["plan"]["layers"]:
                self.assertIn(layer["key"], ("int4.ch32", "int2.ch32"))
                self.assertIn(layer["value"], ("int4.tok32", "int2.tok32"))
        for method in ("greedy", "random"):
            self.solve("--bits", "4.5", "--space", "some.yaml", "--method", method)
            self.assertNotIn("had", read(self.path("plan.yaml")).decode())
        for text, *says in [("keys: [int3.ch32]\nvalues: [int4.tok]\n", "some.yaml", "keys", "int3.ch32", "profile.h5"),
                            ("keys: [int4.ch32]\nvalues: [int4.tok64]\n", "some.yaml", "values", "int4.tok64"),
                            ("keys: [int4.ch32]\n", "some.yaml", "values")]:
            write(self.path("some.yaml"), text)
            self.fails(3, "solve", "profile.h5", "-o", "no.yaml", "--bits", "4.5", "--space", "some.yaml", says=says)
        self.fails(3, "solve", "profile.h5", "-o", "no.yaml", "--bits", "4.5", "--space", "none.yaml", says="none.yaml")
        self.absent("no.yaml")

    def test_wrong_words(self):
        for option, value in [("--max-pairs", "0"), ("--max-pairs", "x"), ("--equal-pages", "perhaps"), ("--max-constants", "1Q"),
                              ("--max-constants", "-1")]:
            self.fails(2, "solve", "profile.h5", "-o", "no.yaml", f"{option}={value}", says=option)
        for limit in (["--max-pairs", "2"], ["--equal-pages"], ["--max-constants", "1k"]):
            self.fails(2, "solve", "profile.h5", "-o", "no.yaml", "--method", "greedy", *limit, says=[limit[0], "--method greedy"])
            self.fails(2, "run", "model", "-o", "no.bin", "--evaluations", "9", *limit, says=[limit[0], "--evaluations"])
        self.fails(2, "eval", "model", "--text", "a.txt", "--max-pairs", "2", says="--max-pairs")

    def test_run_keeps_them(self):
        self.ok("run", "wide", "-o", "limited.bin", "--bits", "5", "--max-pairs", "1", *SMALL, "--space", "wide.yaml")
        self.assertEqual(len(self.pairs(self.json_of("inspect", "limited.bin", "--json")["layers"])), 1)
        self.fails(4, "run", "wide", "-o", "no.bin", "--bits", "2", "--max-pairs", "1", *SMALL, "--space", "wide.yaml", says="--max-pairs 1")
        write(self.path("all_fitted.yaml"), "keys: [int4.ch32+smooth]\nvalues: [int2.tok32+rot]\n")
        for budget in (["--bits", "6"], ["--max-loss", "10%"]):  # known before the model runs
            self.fails(4, "run", "wide", "-o", "no.bin", *budget, "--max-constants", "0", *SMALL, "--space", "all_fitted.yaml",
                       says=["--max-constants 0", "the least is"])
        self.absent("no.bin", "no.bin.work")


    def test_run_counts_padding(self):
        write(self.path("uneven.yaml"), "keys: [int8.ch32, int3.ch32, int4.ch64]\nvalues: [int8.tok32, int4.tok32, int3.tok32+had, int2.tok16]\n")
        run = ["run", "wide", "-o", "padded.bin", "--bits", "8", "--equal-pages", "-q", *SMALL, "--space", "uneven.yaml"]
        found = self.json_of(*run, "--json", "--report", "padded.html")
        solved = self.json_of("solve", "padded.bin.work/profile.h5", "-o", "plan.yaml", "-q", "--bits", "8", "--equal-pages", "--json")
        self.assertEqual(found["padded_bits_per_value"], solved["bits_per_value"])
        self.assertEqual(found["bits_per_value"], self.json_of("inspect", "padded.bin", "--json")["bits_per_value"])
        self.assertGreater(found["padded_bits_per_value"], found["bits_per_value"])
        page = read(self.path("padded.html")).decode()
        self.assertIn(f'<dd>{found["padded_bits_per_value"]:.3f} <small>', page)
        self.assertIn(f'padded to one size: {found["padded_bits_per_value"]:.3f} bits per value', self.ok(*run))


class Rivals(Searches):
    """What a report shows beside the plan: the other methods' fronts, and their plans of the same bytes."""

    def rows(self, page):
        """(plan, method) of the measured plans."""
        table = page[page.index("<h2>Measured plans</h2>"):page.index("</table>", page.index("<h2>Measured plans</h2>"))]
        return re.findall(r'<th scope="row">([^<]*)</th><td[^>]*>([^<]*)</td>', table)

    def test_fronts_and_baselines(self):
        run = ["run", "wide", "--bits", "6", "--price-tokens", "448", *SMALL, "--space", "wide.yaml", "--report", "page.html"]
        for method, own in (("exact", "exact, predicted"), ("kvtuner", "KVTuner, measured on calibration text")):
            self.ok(*run, "-o", "rivals.bin", "--method", method, *(["--evaluations", "12"] if method == "kvtuner" else []))
            page = read(self.path("page.html")).decode()
            for name in {"exact, predicted", "greedy, predicted", "random, predicted", "KVTuner, predicted", own} - (
                    {"KVTuner, predicted"} if method == "kvtuner" else set()):
                self.assertIn(f"</svg>{name}</li>", page)
            self.assertEqual("KVTuner, predicted" in page, method == "exact")
            rows = self.rows(page)
            self.assertLessEqual({("greedy", "greedy"), ("random", "random")}, set(rows))
            self.assertIn(("KVTuner&#39;s search", "KVTuner") if method == "exact" else ("exact", "exact"), rows)

    def test_without_its_pairs(self):
        write(self.path("poor.yaml"), "keys: [int8.ch32, int4.ch32]\nvalues: [int8.tok32, int4.tok32, int2.tok32]\n")
        self.ok("run", "wide", "-o", "poor.bin", "--bits", "6", *SMALL, "--space", "poor.yaml", "--report", "page.html")
        page = read(self.path("page.html")).decode()
        self.assertIn("KVTuner&#39;s search has no front here: ", page.replace("KVTuner's", "KVTuner&#39;s"))
        self.assertIn("no candidate for keys is an int2 (configs/recipes/kvtuner.yaml", page)
        self.assertNotIn("KVTuner, predicted", page)

    def test_refinement_leaves_its_trace(self):
        run = ["run", "wide", "-o", "fine.bin", "--bits", "5", "--evaluations", "30", "--price-tokens", "448", *SMALL, "--space", "wide.yaml"]
        done = self.json_of(*run, "--json", "--report", "fine.html")["refinement"]
        self.assertEqual(set(done), {"evaluations", "plans", "accepted", "start_kl", "kl", "kl_stderr"})
        self.assertLessEqual(done["evaluations"], 30)
        self.assertEqual(self.json_of("inspect", "fine.bin", "--json")["provenance"]["refinement"], done)
        page = read(self.path("fine.html")).decode()
        self.assertIn(f'{done["evaluations"]} measurements on calibration text, {done["accepted"]} of {done["plans"]} plans accepted', page)
        self.assertGreater(done["accepted"], 0)
        self.assertLess(done["kl"], done["start_kl"])
        self.assertIn(("exact, before refinement", "exact"), self.rows(page))
        self.assertIn(f'{done["accepted"]} of {done["plans"]} plans accepted', self.ok(*run))


class KvTuner(Searches):
    """KVTuner's method, on predicted losses (solve) and measured ones (run)."""

    def test_pairs_and_front(self):
        exact, _ = self.solve("--bits", "6")
        found, front = self.solve("--bits", "6", "--method", "kvtuner")
        self.assertEqual(found["method"], "kvtuner")
        self.assertLessEqual(found["bits_per_value"], 6)
        self.assertGreaterEqual(found["predicted_kl"], exact["predicted_kl"])
        self.assertEqual({p["method"] for p in front}, {"kvtuner, predicted losses"})
        self.assertEqual(sum(p["chosen"] for p in front), 1)
        for point in front:
            for layer in point["plan"]["layers"]:
                self.assertIn(layer["key"], ("int8.ch32", "int4.ch32", "int2.ch32"))
                self.assertIn(layer["value"], ("int8.tok32", "int4.tok32", "int2.tok32"))
        for a, b in zip(front, front[1:]):
            self.assertLess(a["bits_per_value"], b["bits_per_value"])
            self.assertGreaterEqual(a["predicted_kl"], b["predicted_kl"])
        found, _ = self.solve("--max-loss", "10%", "--method", "kvtuner")
        self.assertLessEqual(found["predicted_kl"], math.log1p(0.1))

    def test_seed_and_evaluations(self):
        plans = []
        for options in (["--seed", "1"], ["--seed", "1"], ["--evaluations", "3"]):
            _, front = self.solve("--bits", "6", "--method", "kvtuner", *options)
            plans.append(read(self.path("plan.yaml")))
        self.assertEqual(plans[0], plans[1])
        self.assertLessEqual(len(front), 3)
        code, _, err = self.run_quietly("solve", "profile.h5", "-o", "plan.yaml", "--bits", "6", "--method", "kvtuner", "-v",
                                        "--evaluations", "3")
        self.assertEqual(code, 0)
        self.assertRegex(err, r"kvtuner: \d groups of 4 layers \(\d of noise\), 3 plans evaluated")

    def test_least_and_nearest(self):
        code, _, err = self.run_quietly("solve", "profile.h5", "-o", "no.yaml", "--bits", "2", "--method", "kvtuner")
        self.assertEqual(code, 4)
        least = err.split("the least is ")[1].split()[0]
        for evaluations in ("1", "100"):
            found, _ = self.solve("--bits", least, "--method", "kvtuner", "--evaluations", evaluations)
            self.assertEqual({(x["key"], x["value"]) for x in self.compiled()["layers"]}, {("int2.ch32", "int2.tok32")})
        self.fails(4, "solve", "profile.h5", "-o", "no.yaml", "--max-loss", "0.0001%", "--method", "kvtuner", says="--max-loss")
        self.absent("no.yaml")

    def test_missing_candidates(self):
        write(self.path("poor.yaml"), "keys: [int8.ch32, int4.ch32]\nvalues: [int8.tok32, int4.tok32, int2.tok32]\n")
        self.fails(3, "solve", "profile.h5", "-o", "no.yaml", "--bits", "6", "--method", "kvtuner", "--space", "poor.yaml",
                   says=["kvtuner", "keys", "int2"])
        for budget in (["--bits", "6"], []):
            self.fails(3, "run", "wide", "-o", "no.bin", *budget, "--method", "kvtuner", *SMALL, "--space", "poor.yaml",
                       says=["kvtuner", "keys", "int2", "configs/recipes/kvtuner.yaml"])
        self.absent("no.yaml", "no.bin", "no.bin.work")

    def test_wrong_words(self):
        self.fails(2, "solve", "profile.h5", "-o", "no.yaml", "--evaluations", "9", says=["--evaluations", "kvtuner", "run"])
        self.fails(2, "solve", "profile.h5", "-o", "no.yaml", "--method", "kvtuner", "--max-pairs", "2", says=["--max-pairs", "kvtuner"])
        self.fails(2, "solve", "profile.h5", "-o", "no.yaml", "--method", "kvtuner", "--objective", "max", says=["--objective", "kvtuner"])
        self.fails(2, "solve", "profile.h5", "-o", "no.yaml", "--format", "json", says="--format")
        write(self.path("recipe.yaml"), "evaluations: 9\nbits: 6\n")
        self.ok("solve", "profile.h5", "-o", "plan.yaml", "--recipe", "recipe.yaml")

    def test_form(self):
        self.solve("--bits", "6", "--method", "kvtuner")
        same = read(self.path("plan.yaml"))
        self.ok("compile", "plan.yaml", "--profile", "profile.h5", "-o", "own.bin")
        self.ok("solve", "profile.h5", "-o", "tuner.yaml", "--bits", "6", "--method", "kvtuner", "--format", "kvtuner")
        lines = read(self.path("tuner.yaml")).decode().splitlines()
        self.assertTrue(lines[0].startswith("# kvtuner: "))
        self.assertRegex(lines[1], r"^0: \{nbits_key: [248], nbits_value: [248]\}$")
        self.assertEqual(len(lines), 5)
        self.ok("compile", "tuner.yaml", "--profile", "profile.h5", "-o", "tuner.bin")
        self.assertEqual(self.ok("diff", "own.bin", "tuner.bin"), "the same configuration\n")
        write(self.path("had.yaml"), "keys: [int4.ch32]\nvalues: [int4.tok+had]\n")
        self.fails(7, "solve", "profile.h5", "-o", "no.yaml", "--bits", "6", "--space", "had.yaml", "--format", "kvtuner",
                   says=["layer 0 value int4.tok32+had", "layer 3 value"])
        self.absent("no.yaml")
        self.solve("--bits", "6", "--method", "kvtuner", "--format", "plan")
        self.assertEqual(read(self.path("plan.yaml")), same)

    def test_run_on_measured_losses(self):
        run = ["run", "wide", "--bits", "6", "--method", "kvtuner", "--evaluations", "12", "--price-tokens", "448",
               "--price-rows", "0", *SMALL, "--space", "wide.yaml"]
        self.ok(*run, "-o", "tuned.bin", "--front", "front.json", "--report", "tuned.html")
        lines = read(self.path("tuned.bin.work/kvtuner.jsonl")).decode().splitlines()
        front = json.loads(read(self.path("front.json")))
        self.assertEqual({p["method"] for p in front}, {"kvtuner"})
        self.assertIn(b"KVTuner", read(self.path("tuned.html")))
        losses = [p["measured_kl"] for p in front]
        self.assertEqual(losses, sorted(losses, reverse=True))
        kept = {float(f"{json.loads(line)['value']:.9g}") for line in lines[1:]}
        self.assertLessEqual(len(kept), 12)
        self.assertLessEqual(set(losses), kept)
        chosen = next(p for p in front if p["chosen"])
        self.assertEqual(chosen["measured_kl"], min(p["measured_kl"] for p in front if p["bits_per_value"] <= 6))
        self.measured_as_eval_does(chosen["measured_kl"])
        self.resumed(run, lines)

    def measured_as_eval_does(self, kl):
        """Over all positions of the first sequence of each text."""
        whole = [self.json_of("eval", "wide", "--text", text, "--seq-len", "224", "--max-tokens", "224", "--config", "tuned.bin", "--json")
                 for text in ("a.txt", "b.txt")]
        self.assertAlmostEqual(kl / (sum(w["kl_mean"] for w in whole) / 2), 1, places=3)

    def resumed(self, run, lines):
        """Half of the measurements, and half a line, as a killed run may leave them: the same bytes in the end, and nothing twice."""
        first = read(self.path("tuned.bin"))
        write(self.path("tuned.bin.work/kvtuner.jsonl"), "\n".join(lines[:6]) + "\n" + lines[6][:20])
        leftovers = [f"tuned.bin.work/{search}.jsonl.tmp-5nL0aZ" for search in ("kvtuner", "refine", "policy")]
        for name in leftovers:  # of a process that was killed while it wrote
            write(self.path(name), "{")
        code, _, err = self.run_quietly(*run, "-o", "tuned.bin", "--resume", "-v")
        self.assertEqual(code, 0, err)
        self.absent(*leftovers)
        self.assertEqual(err.count("kvtuner: plan "), len(lines) - 6)
        self.assertEqual(read(self.path("tuned.bin.work/kvtuner.jsonl")).decode().splitlines(), lines)
        self.assertEqual(read(self.path("tuned.bin")), first)


if __name__ == "__main__":
    unittest.main()
