"""Several prompt files: --objective max, each file's share in the profile, the figures of each in the report."""
import json
import math
import unittest
from harness import CODE, PROSE, SMALL, Cli, read, sha256, varied, write

LESS = [o for o in SMALL if o not in ("448", "--holdout-tokens")]
# Digits that no other text has: the model is random, so that texts differ by their tokens alone.
DIGITS = "31415926535 8979323846 2643383279 5028841971 6939937510\n"


class Domains(Cli):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write(cls.path("c.txt"), varied(DIGITS, 1500))
        cls.options = [*LESS, "--prompts", "c.txt", "--price", "anchor", "--price-tokens", "672"]
        cls.profiled = cls.run_quietly("profile", "model", "-o", "profile.h5", *cls.options)

    def setUp(self):
        self.assertEqual(self.profiled[0], 0, self.profiled[2])

    def solve(self, objective, *options, profile="profile.h5"):
        return self.json_of("solve", profile, "-o", f"{objective}.yaml", "--objective", objective, "--json", *options)

    # ---- solve ----
    def test_solve_keeps_its_budget(self):
        differ = 0
        for bits in ("3.7", "4", "4.5", "5", "6", "7"):
            mean, found = self.solve("mean", "--bits", bits), self.solve("max", "--bits", bits)
            self.assertLessEqual(found["bits_per_value"], float(bits))
            self.assertEqual(set(found), set(mean))
            self.assertGreater(found["predicted_kl"], 0)
            differ += read(self.path("mean.yaml")) != read(self.path("max.yaml"))
        self.assertGreater(differ, 0)

    def test_the_worst_text_is_predicted_to_lose_more_than_the_mean(self):
        mean, found = self.solve("mean", "--bits", "4.5"), self.solve("max", "--bits", "4.5")
        self.assertGreater(found["predicted_kl"], 0.999 * mean["predicted_kl"])

    def test_solve_keeps_its_loss_in_every_text(self):
        for loss in (0.01, 0.05, 0.2):
            mean, found = (self.solve(o, "--max-loss", str(loss)) for o in ("mean", "max"))
            self.assertLessEqual(found["predicted_kl"], math.log1p(loss))
            self.assertGreater(found["bits_per_value"], 0.98 * mean["bits_per_value"])

    def test_front_and_report(self):
        self.solve("max", "--bits", "4.5", "--front", "front.json", "--report", "page.html")
        front = json.loads(read(self.path("front.json")))
        self.assertEqual(sum(p["chosen"] for p in front), 1)
        exact = [p for p in front if p["method"] == "exact"]
        self.assertGreater(exact[0]["predicted_kl"], exact[-1]["predicted_kl"])
        self.assertTrue(read(self.path("page.html")).startswith(b"<!DOCTYPE html>"))

    def test_other_methods_and_constraints(self):
        for options in (["--method", "greedy"], ["--method", "random"], ["--max-pairs", "2"]):
            found = self.solve("max", "--bits", "5", *options)
            self.assertLessEqual(found["bits_per_value"], 5)
        greedy = self.solve("max", "--bits", "5", "--method", "greedy")
        self.assertLessEqual(self.solve("max", "--bits", "5")["predicted_kl"], greedy["predicted_kl"] * (1 + 1e-9))

    def test_infeasible_requests(self):
        self.fails(4, "solve", "profile.h5", "-o", "no.yaml", "--bits", "0.5", "--objective", "max",
                   says=["--bits 0.5 cannot be reached", "the least is"])
        self.absent("no.yaml")

    def test_wrong_values(self):
        self.fails(2, "solve", "profile.h5", "-o", "no.yaml", "--objective", "min", says=["--objective", "mean", "max"])
        self.fails(2, "profile", "model", "-o", "no.h5", *LESS, "--objective", "max", says="--objective is an option of")

    # ---- profile ----
    def test_profile_does_not_depend_on_threads(self):
        self.ok("profile", "model", "-o", "two.h5", *self.options, "--threads", "2")
        self.assertEqual(sha256(self.path("two.h5")), sha256(self.path("profile.h5")))

    def test_profile_names_its_texts_unless_there_is_one(self):
        self.assertIn(b"c.txt\0", read(self.path("profile.h5")))
        one = [o for o in LESS if o != "b.txt"]
        one.pop(one.index("--prompts", one.index("--prompts") + 1))
        self.ok("profile", "model", "-o", "one.h5", *one)
        self.assertNotIn(b"a.txt\0", read(self.path("one.h5")))
        code, _, err = self.run_quietly("solve", "one.h5", "-o", "max.yaml", "--objective", "max", "--bits", "4.5")
        self.assertEqual(code, 0, err)
        self.assertIn("one text", err)
        self.ok("solve", "one.h5", "-o", "mean.yaml", "--bits", "4.5")
        self.assertEqual(read(self.path("max.yaml")), read(self.path("mean.yaml")))

    def test_every_file_is_probed(self):
        self.ok("profile", "model", "-o", "few.h5", *LESS, "--prompts", "c.txt", "--probe-sequences", "1")
        for name in (b"a.txt\0", b"b.txt\0", b"c.txt\0"):
            self.assertIn(name, read(self.path("few.h5")))

    def test_texts_without_prices_are_named(self):
        for tokens, says in (("224", "prices are of one text alone"), ("448", "c.txt: no prices on this text")):
            self.ok("profile", "model", "-o", "few.h5", *LESS, "--prompts", "c.txt", "--price", "anchor",
                    "--price-tokens", tokens)
            code, _, err = self.run_quietly("solve", "few.h5", "-o", "max.yaml", "--objective", "max", "--bits", "4.5")
            self.assertEqual(code, 0, err)
            self.assertEqual(err.count("\n"), 1)
            self.assertIn(says, err)

    # ---- run ----
    def run_options(self, output):
        return ["run", "model", "-o", output, *SMALL, "--prompts", "c.txt", "--holdout", "other.txt", "--holdout",
                "c.txt", "--objective", "max", "--bits", "4.5", "--evaluations", "12", "--price-tokens", "672"]

    def test_run_refines_and_reports_each_text(self):
        found = self.json_of(*self.run_options("cfg.bin"), "--report", "run.html", "--json")
        self.assertLessEqual(found["bits_per_value"], 4.5)
        page = read(self.path("run.html")).decode()
        for name in ("other.txt", "c.txt"):
            self.assertRegex(page, rf"<th[^>]*>{name}<")
        header, *records = [json.loads(line) for line in read(self.path("cfg.bin.work/refine.jsonl")).splitlines()]
        self.assertEqual(header["objective"], "max")
        plans = [r["value"] for r in records if r["kind"] == "plan"]
        self.assertTrue(0 < len(records) <= 12)
        self.assertTrue(all(record["value"] > 0 for record in records if record["kind"] == "plan"))
        # the same again from the log, and with the mean as objective: another text's figures
        again = self.json_of(*self.run_options("cfg.bin"), "--resume", "--json")
        self.assertEqual(again["id"], found["id"])
        self.assertEqual(len(read(self.path("cfg.bin.work/refine.jsonl")).splitlines()), 1 + len(records))
        self.ok(*self.run_options("cfg.bin"), "--resume", "--objective", "mean", "--json")
        header, *records = [json.loads(line) for line in read(self.path("cfg.bin.work/refine.jsonl")).splitlines()]
        self.assertEqual(header["objective"], "mean")
        self.assertLess(min(r["value"] for r in records if r["kind"] == "plan"), min(plans))

    def test_a_plan_that_measurements_changed_has_a_name_of_its_own(self):
        names = []
        for bits in ("3.7", "7"):
            self.ok("run", "model", "-o", "named.bin", *SMALL, "--bits", bits, "--evaluations", "24", "--front", "front.json")
            records = [json.loads(line) for line in read(self.path("named.bin.work/refine.jsonl")).splitlines()[1:]]
            plans = [r["value"] for r in records if r["kind"] == "plan"]
            name = "refined" if min(plans) < plans[0] else "exact"
            self.assertEqual([p["method"] for p in json.loads(read(self.path("front.json"))) if p["chosen"]], [name])
            self.assertTrue(read(self.path("named.bin.work/plan.yaml")).decode().startswith(f"# {name}: "))
            names.append(name)
        self.assertEqual(names, ["exact", "refined"])

    def test_run_says_what_it_does_not_measure(self):
        options = self.run_options("few.bin")
        options[options.index("--price-tokens") + 1] = "224"
        code, _, err = self.run_quietly(*options)
        self.assertEqual(code, 0, err)
        self.assertIn("--evaluations measures on 1 of the 3 texts", err)
        options = self.run_options("fewer.bin")
        options[options.index("--calib-tokens") + 1] = "448"
        code, _, err = self.run_quietly(*options)
        self.assertEqual(code, 0, err)
        self.assertIn("2 of 3 prompt files are calibrated on", err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
