"""Interrupted work: signals, kills, work directories of other work. Whatever happens, the resumed bytes are the uninterrupted ones."""
import os
import random
import shutil
import signal
import time
import unittest
from harness import SMALL, Cli, read, sha256, tiny_model, write

# Long enough to be caught in the middle: eight layers of twenty-four sequences, a checkpoint after each.
LONG = [*SMALL, "--calib-tokens", "5376", "--probe-rows", "32", "--bits", "5", "--checkpoint-interval", "0"]
RESULTS = ["cfg.bin", "cfg.bin.work/profile.h5", "cfg.bin.work/plan.yaml"]


class Resume(Cli):
    layers = "8"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ("a.txt", "b.txt"):
            text = read(cls.path(name)).decode()
            write(cls.path(name), "".join(text.replace("0", str(i)) for i in range(3)))
        begin = time.monotonic()
        code, _, err = cls.run_quietly("model", "-o", "cfg.bin", *LONG)
        cls.seconds = time.monotonic() - begin
        assert code == 0, err
        cls.expected = [sha256(cls.path(f)) for f in RESULTS]

    def setUp(self):
        shutil.rmtree(self.path("cfg.bin.work"), ignore_errors=True)
        if os.path.exists(self.path("cfg.bin")):
            os.remove(self.path("cfg.bin"))

    def assert_expected(self):
        self.assertEqual([sha256(self.path(f)) for f in RESULTS], self.expected)
        self.assertEqual(sorted(os.listdir(self.path("cfg.bin.work"))), ["fingerprint.json", "plan.yaml", "profile.h5"])

    def interrupt(self, number, when="cfg.bin.work/profile.partial.h5"):
        process = self.start("model", "-o", "cfg.bin", *LONG)
        self.assertTrue(self.wait_for(process, when))
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        return process.returncode, err.decode()

    def test_interrupt_and_resume(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            code, err = self.interrupt(number)
            self.assertEqual(code, 6, err)
            self.assertIn("--resume", err.splitlines()[-1])
            self.absent("cfg.bin")
            self.assertTrue(os.path.exists(self.path("cfg.bin.work/profile.partial.h5")))
            self.fails(2, "model", "-o", "cfg.bin", *LONG, says=["cfg.bin.work", "unfinished", "--resume"])
            code, _, err = self.run_quietly("model", "-o", "cfg.bin", *LONG, "--resume", "--progress", "json")
            self.assertEqual(code, 0, err)
            first = next(line for line in err.splitlines() if '"profile"' in line)
            total = float(first.split('"total":')[1].split(",")[0])
            self.assertLess(total, 8 * 24, "layers that were done are not done again")
            self.assert_expected()
            self.setUp()

    def test_interrupt_after_the_profile(self):
        code, err = self.interrupt(signal.SIGINT, "cfg.bin.work/profile.h5")
        self.assertIn(code, (0, 6), err)  # 0: it was quicker than the signal
        code, _, err = self.run_quietly("model", "-o", "cfg.bin", *LONG, "--resume")
        self.assertEqual(code, 0, err)
        self.assertIn("is done", err)
        self.assert_expected()

    def test_killed_at_random_moments(self):
        draw = random.Random(20)
        kills, seconds = 0, self.seconds
        for _ in range(40):
            process = self.start("model", "-o", "cfg.bin", *LONG, "--resume")
            try:
                process.wait(timeout=seconds * draw.uniform(0.05, 0.6))
            except Exception:
                process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
            if process.returncode == 0 and kills == 0:  # the machine was slower when the time was taken
                self.setUp()
                seconds /= 2
                continue
            if process.returncode == 0:
                break
            self.assertEqual(process.returncode, -signal.SIGKILL)
            kills += 1
            if os.path.exists(self.path("cfg.bin")):  # killed between the rename and the exit: then it is whole
                self.assert_expected()
        self.assertGreater(kills, 0)
        self.assertEqual(process.returncode, 0, "it never got to the end")
        self.assert_expected()

    def test_profile_command_resumes(self):
        args = ["profile", "model", "-o", "p.h5", *[o for o in LONG if o not in ("448", "--holdout-tokens", "--bits", "5")]]
        self.ok(*args)
        expected = sha256(self.path("p.h5"))
        os.remove(self.path("p.h5"))
        process = self.start(*args)
        self.assertTrue(self.wait_for(process, "p.h5.work/profile.partial.h5"))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 6)
        self.absent("p.h5")
        self.ok(*args, "--resume")
        self.assertEqual(sha256(self.path("p.h5")), expected)
        self.absent("p.h5.work")

    def test_a_second_signal_kills(self):
        process = self.start("model", "-o", "cfg.bin", *LONG, "--calib-tokens", "999999", "--seq-len", "4000", "--probe-rows", "0")
        self.assertTrue(self.wait_for(process, "cfg.bin.work/fingerprint.json"))
        time.sleep(0.1)  # in the first sequence, which is long
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertIn(process.returncode, (-signal.SIGINT, 6))  # 6: the sequence ended between the two

    def test_other_work_is_refused(self):
        code, err = self.interrupt(signal.SIGINT)
        self.assertEqual(code, 6, err)
        write(self.path("c.txt"), read(self.path("a.txt")).replace(b"lamp", b"bell"))
        text = ["c.txt" if o == "a.txt" else o for o in LONG]
        self.fails(3, "model", "-o", "cfg.bin", *text, "--resume", says=["cfg.bin.work", "another text"])
        self.fails(3, "model", "-o", "cfg.bin", *LONG, "--resume", "--probe-rows", "31", says="another recipe (probe_rows)")
        self.fails(3, "model", "-o", "cfg.bin", *LONG, "--resume", "--sinks", "8", says="another recipe (sinks)")
        tiny_model(self.path("twin"), "--layers", "8", "--seed", "9")
        self.fails(3, "twin", "-o", "cfg.bin", *LONG, "--resume", says="another model")
        saved = read(self.path("cfg.bin.work/fingerprint.json"))
        write(self.path("cfg.bin.work/fingerprint.json"), saved.replace(b'"build":"', b'"build":"0')[:-3] + b'"}')
        self.fails(3, "model", "-o", "cfg.bin", *LONG, "--resume", says="another")
        os.remove(self.path("cfg.bin.work/fingerprint.json"))
        self.fails(3, "model", "-o", "cfg.bin", *LONG, "--resume", says="fingerprint.json")
        write(self.path("cfg.bin.work/fingerprint.json"), saved)
        self.ok("model", "-o", "cfg.bin", *LONG, "--resume", "--threads", "2", "--progress", "none", "-v")
        self.assert_expected()

    def test_damaged_checkpoints(self):
        self.assertEqual(self.interrupt(signal.SIGINT)[0], 6)
        hidden = next(f for f in os.listdir(self.path("cfg.bin.work")) if f.startswith("hidden-"))
        path = self.path(os.path.join("cfg.bin.work", hidden))
        whole = read(path)
        write(path, whole[:-100])
        self.fails(3, "model", "-o", "cfg.bin", *LONG, "--resume", says=[hidden, "ends"])
        write(path, b"\0" * 200 + whole[200:])
        self.fails(3, "model", "-o", "cfg.bin", *LONG, "--resume", says=hidden)
        write(path, whole)
        partial = self.path("cfg.bin.work/profile.partial.h5")
        checkpoint = read(partial)
        write(partial, checkpoint[:1000])
        self.fails(3, "model", "-o", "cfg.bin", *LONG, "--resume", says="profile.partial.h5")
        write(partial, checkpoint)
        self.ok("model", "-o", "cfg.bin", *LONG, "--resume")
        self.assert_expected()

    def test_one_at_a_time(self):
        process = self.start("model", "-o", "cfg.bin", *LONG)
        self.assertTrue(self.wait_for(process, "cfg.bin.work/profile.partial.h5"))
        self.fails(5, "model", "-o", "cfg.bin", *LONG, "--resume", says="another kvcalib")
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)

    def test_nothing_to_resume(self):
        code, _, err = self.run_quietly("model", "-o", "cfg.bin", *LONG, "--resume")
        self.assertEqual(code, 0, err)
        self.assertIn("nothing to resume", err)
        self.assert_expected()

    def test_finished_work_is_used_with_resume_alone(self):
        self.ok("model", "-o", "cfg.bin", *LONG)
        code, _, err = self.run_quietly("model", "-o", "other.bin", *LONG, "--workdir", "cfg.bin.work", "--bits", "4.5", "--resume")
        self.assertEqual(code, 0, err)
        self.assertIn("profile.h5 is done", err)
        code, _, err = self.run_quietly("model", "-o", "cfg.bin", *LONG)
        self.assertEqual(code, 0, err)
        self.assertNotIn("is done", err)
        self.assert_expected()


if __name__ == "__main__":
    unittest.main()
