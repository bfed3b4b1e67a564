"""The recipes of configs/recipes that run on a tiny model, as their heads say, with less text; --weights."""
import json
import os
import unittest
from harness import SMALL, TESTS, Cli, read, tiny_model, write

SHORT = [o for o in SMALL if o not in ("--space", "space.yaml")]
PROFILED = [o for o in SHORT if o not in ("448", "--holdout-tokens")]


class Wide(Cli):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        tiny_model(cls.path("wide"), "--layers", "4", "--head-dim", "32")
        os.symlink(os.path.join(os.path.dirname(TESTS), "configs"), cls.path("configs"))


class Recipes(Wide):
    def test_kvtuner(self):
        for name, bits, key, value in (("kvtuner", "5.18", "ch32", "tok32"), ("kvtuner-pertoken", "4.69", "tok32", "tok32")):
            printed = self.ok("run", "wide", "--recipe", f"configs/recipes/{name}.yaml", "--print-config")
            for line in ('method: "kvtuner"\n', "evaluations: 200\n", f"bits: {bits}\n"):
                self.assertIn(line, printed)
            self.ok("run", "wide", "-o", "t.bin", "--recipe", f"configs/recipes/{name}.yaml", *SHORT, "--evaluations", "6",
                    "--front", "front.json")
            self.assertEqual({p["method"] for p in json.loads(read(self.path("front.json")))}, {"kvtuner"})
            inspected = self.json_of("inspect", "t.bin", "--json")
            self.assertLessEqual(inspected["bits_per_value"], float(bits))
            for layer in inspected["layers"]:
                self.assertIn(layer["key"], [f"int{b}.{key}" for b in (8, 4, 2)])
                self.assertIn(layer["value"], [f"int{b}.{value}" for b in (8, 4, 2)])

    def test_antkv(self):
        # on the command line a smaller sample; the rest is the recipe's
        self.ok("profile", "wide", "-o", "antkv.h5", "--recipe", "configs/recipes/antkv.yaml", "--prompts", "a.txt", "--prompts", "b.txt",
                "--seq-len", "224", "--calib-tokens", "1344", "--threads", "1")
        for name, rate in (("antkv-1", 1), ("antkv-0.375", 0.375)):
            self.ok("compile", f"configs/plans/{name}.yaml", "--profile", "antkv.h5", "--model", "wide", "-o", "a.bin")
            inspected = self.json_of("inspect", "a.bin", "--json")
            exact = (8192 - (8192 - 68) // 64 * 64) / 8192
            self.assertAlmostEqual(inspected["bits_per_value"], rate * (1 - exact) + 16 * exact, places=6)
            result = self.json_of("eval", "wide", "--config", "a.bin", "--text", "other.txt", "--seq-len", "224", "--json")
            self.assertGreater(result["kl_mean"], 0)
            self.assertLess(result["ppl"], 2 * result["ppl_ref"])


class Weights(Wide):
    def compiled(self, weights, key, value):
        write(self.path("plan.yaml"), f'default: {{key: "{key}", value: "{value}"}}\n')
        self.ok("compile", "plan.yaml", "--profile", f"{weights}.h5", "-o", "c.bin")
        return self.json_of("inspect", "c.bin", "--json")["id"]

    def test_antkv_weighs_keys(self):
        write(self.path("tables.yaml"), "keys: [vq4x4+klt, vq4x4.static, fp16]\nvalues: [vq4x4.static, fp16]\n")
        for weights in ("sensitivity", "antkv"):
            self.ok("profile", "wide", "-o", f"{weights}.h5", *PROFILED, "--space", "tables.yaml", "--weights", weights)
        for key in ("vq4x4+klt", "vq4x4.static"):
            self.assertNotEqual(*(self.compiled(w, key, "fp16") for w in ("sensitivity", "antkv")))
        self.assertEqual(*(self.compiled(w, "fp16", "vq4x4.static") for w in ("sensitivity", "antkv")))

    def test_another_result_and_wrong_words(self):
        options = ["run", "wide", "-o", "w.bin", *SHORT, "--space", "tables.yaml", "--bits", "8"]
        write(self.path("tables.yaml"), "keys: [vq4x4.static, fp16]\nvalues: [int4.tok, fp16]\n")
        self.ok(*options)
        self.fails(3, *options, "--resume", "--weights", "antkv", says=["another recipe (weights)"])
        self.fails(2, *options, "--weights", "fisher", says=["--weights", "fisher", "sensitivity|antkv"])
        self.fails(2, "solve", "p.h5", "-o", "no.yaml", "--weights", "antkv", says="--weights")


if __name__ == "__main__":
    unittest.main()
