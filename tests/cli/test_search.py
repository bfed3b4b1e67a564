"""How plans are chosen from a profile: baselines, side constraints, KVTuner's method; the model is not needed."""
import json
import math
import unittest
from harness import SMALL, Cli, read, write

PROFILED = [o for o in SMALL if o not in ("448", "--holdout-tokens")]


class Searches(Cli):
    layers = "4"
    space = "keys: [int8.ch32, int4.ch32, int2.ch32, fp16]\nvalues: [int8.tok32, int4.tok32, int2.tok32, int4.tok+had]\n"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        from harness import tiny_model
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


if __name__ == "__main__":
    unittest.main()
