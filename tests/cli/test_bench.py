"""bench: what it prints and what it refuses. How long anything takes is never tested."""
import glob
import os
import signal
import unittest
from harness import TESTS, Cli, write

GOOD = os.path.join(TESTS, "golden", "good")
PLAN = """tokens: {sinks: 4, window: 16, page: 32}
default: {key: int4.ch32, value: int4.tok+had}
layers:
  1: {key: int8.ch32, value: int8.tok}
"""
TIMES = {"attend_us", "append_us", "bytes", "bytes_per_second", "read_fraction"}


class Bench(Cli):
    layers = "3"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write(cls.path("plan.yaml"), PLAN)
        code, _, err = cls.run_quietly("compile", "plan.yaml", "--model", "model", "-o", "c.bin")
        assert code == 0, err

    def test_json(self):
        got = self.json_of("bench", "--config", "c.bin", "--repeats", "2", "--load", "3x200", "--load", "1x50", "--json")
        self.assertEqual(set(got), {"device", "model", "repeats", "read_bytes_per_second", "loads"})
        self.assertEqual((got["device"], got["repeats"]), ("cpu", 2))
        self.assertEqual([(load["batch"], load["context"]) for load in got["loads"]], [(3, 200), (1, 50)])
        for load in got["loads"]:
            self.assertEqual(set(load), {"batch", "context", "pairs", "fp16", "attend_us", "times_fp16"})
            self.assertEqual([(p["key"], p["value"], p["layers"]) for p in load["pairs"]],
                             [("int4.ch32", "int4.tok16+had", 2), ("int8.ch32", "int8.tok16", 1)])
            self.assertEqual(set(load["fp16"]), TIMES)
            for pair in load["pairs"]:
                self.assertEqual(set(pair), TIMES | {"key", "value", "layers", "times_fp16"})
                self.assertAlmostEqual(pair["times_fp16"] * pair["attend_us"], load["fp16"]["attend_us"], 3)
                self.assertAlmostEqual(pair["bytes_per_second"] * pair["attend_us"], pair["bytes"] * 1e6, -3)
                self.assertAlmostEqual(pair["read_fraction"] * got["read_bytes_per_second"], pair["bytes_per_second"], -3)
            self.assertAlmostEqual(sum(p["attend_us"] * p["layers"] for p in load["pairs"]), load["attend_us"], 3)
            whole = self.json_of("inspect", "c.bin", "--json", "--context", str(load["context"]))
            self.assertAlmostEqual(sum(p["bytes"] * p["layers"] for p in load["pairs"]),
                                   whole["bytes_per_token"] * load["context"] * load["batch"], 3)

    def test_text(self):
        lines = self.ok("bench", "-c", "c.bin", "--repeats", "1", "--load", "2x70").splitlines()
        self.assertRegex(lines[0], r"one core, medians of 1; streaming read \d+\.\d\d GB/s$")
        self.assertEqual(lines[2], "2 x 70 tokens")
        self.assertEqual(lines[3].split(), ["keys", "values", "layers", "attend", "us", "GB/s", "of", "read", "x", "fp16", "append", "us"])
        self.assertEqual([line.split()[:3] for line in lines[4:7]],
                         [["int4.ch32", "int4.tok16+had", "2"], ["int8.ch32", "int8.tok16", "1"], ["fp16", "fp16", "-"]])
        self.assertRegex(lines[7], r"^  all layers: \d+\.\d us, \d+\.\d\d x fp16$")
        self.assertEqual(len(lines), 8)

    def test_every_codec(self):
        files = sorted(glob.glob(os.path.join(GOOD, "*.bin")))
        self.assertTrue(files)
        for file in files:
            load, = self.json_of("bench", "-c", file, "--repeats", "1", "--load", "2x150", "--json")["loads"]
            self.assertEqual(sum(p["layers"] for p in load["pairs"]), len(self.json_of("inspect", file, "--json")["layers"]), file)

    def test_wrong_words(self):
        for load in ("4", "x4096", "4x", "4x4k", "-1x5", "4 x 5", "4x5x6", "0x5", "5x0", "65537x1", "1x99999999999999999999"):
            self.fails(2, "bench", "-c", "c.bin", "--load", load, says=["--load", load])
        self.fails(2, "bench", "-c", "c.bin", "--load", "1x64", "--load", "bad", says="bad")
        self.fails(2, "bench", "-c", "c.bin", "--repeats", "0", says="--repeats")

    def test_devices(self):
        self.assertEqual(self.json_of("bench", "-c", "c.bin", "--repeats", "1", "--load", "1x40", "--device", "cpu", "--json")["device"], "cpu")
        self.fails(2, "bench", "-c", "c.bin", "--device", "gpu", says=["gpu", "cuda[:N]"])
        self.fails(2, "bench", "-c", "c.bin", "--device", "cuda,fast", "--kernels", "k", says=",fast")
        self.fails(2, "bench", "-c", "c.bin", "--kernels", "k", says=["--kernels", "--device cuda"])
        self.fails(2, "bench", "-c", "c.bin", "--device", "cuda", says=["--device cuda", "--kernels"])
        self.fails(2, "bench", "-c", "c.bin", "--device", "cuda:1023", "--kernels", "k", says="device cuda:1023: ") # not built, or not there

    def test_wrong_files(self):
        self.fails(3, "bench", "-c", "nosuch.bin", says="nosuch.bin")
        self.fails(3, "bench", "-c", "plan.yaml", says=["plan.yaml", "[F-01]"])

    def test_an_interrupt_ends_it(self):
        process = self.start("bench", "-c", "c.bin", "--load", "1x3000000", "--progress", "json")
        self.assertIn(b"fill", process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 6, err)


if __name__ == "__main__":
    unittest.main()
