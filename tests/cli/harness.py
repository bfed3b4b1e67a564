"""What the tests of the program share: a scratch folder, the tiny model, running kvcalib, looking at files."""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
PROGRAM = os.environ.get("KVCALIB", "kvcalib")
SMALL_SPACE = "keys: [int8.ch32, int4.ch32, int2.ch32, fp16]\nvalues: [int8.tok, int4.tok+had, int2.tok16]\n"
# A run of a second: short sequences, few of them, few candidates.
SMALL = ["--seq-len", "224", "--calib-tokens", "1344", "--holdout-tokens", "448", "--anchor-tokens", "224",
         "--probe-rows", "8", "--space", "space.yaml", "--prompts", "a.txt", "--prompts", "b.txt", "--threads", "1"]
PROSE = "The keeper of the lamp counts the steps of the tower each night, and each night there is one more or one less. "
CODE = "for (int i = 0; i < n; i++) { sum += x[i] * y[i]; }\nif (sum > 100) return -1; /* too much */\n"


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def write(path, content):
    with open(path, "wb") as f:
        f.write(content.encode() if isinstance(content, str) else content)
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


def tiny_model(folder, *options):
    subprocess.run([sys.executable, "-B", os.path.join(TESTS, "tiny_model.py"), folder, *options], check=True,
                   stdout=subprocess.DEVNULL)
    return folder


def varied(text, n):
    """n characters in which no line is like another."""
    out, i = [], 0
    while sum(map(len, out)) < n:
        out.append(f"{i * 7919 % 1000} {text[i % 17:]}")
        i += 1
    return "".join(out)[:n]


class Cli(unittest.TestCase):
    """Each class works in a folder of its own, with a tiny model, two texts and a small space."""

    layers = "2"

    @classmethod
    def setUpClass(cls):
        os.makedirs(os.environ.get("KVC_TEST_BUILD", tempfile.gettempdir()), exist_ok=True)
        cls.folder = tempfile.mkdtemp(prefix="cli-", dir=os.environ.get("KVC_TEST_BUILD"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        tiny_model(cls.path("model"), "--layers", cls.layers)
        write(cls.path("a.txt"), varied(PROSE, 3000))
        write(cls.path("b.txt"), varied(CODE, 3000))
        write(cls.path("other.txt"), varied(CODE + PROSE, 900))
        write(cls.path("space.yaml"), SMALL_SPACE)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def start(cls, *args, **kwargs):
        return subprocess.Popen([PROGRAM, *args], cwd=cls.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                stdin=subprocess.DEVNULL, **kwargs)

    @classmethod
    def run_quietly(cls, *args, **kwargs):
        """(exit code, stdout, stderr)"""
        process = cls.start(*args, **kwargs)
        out, err = process.communicate(timeout=120)
        return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")

    def ok(self, *args, **kwargs):
        code, out, err = self.run_quietly(*args, **kwargs)
        self.assertEqual(code, 0, f"{args}: {err}")
        return out

    def json_of(self, *args):
        return json.loads(self.ok(*args))

    def fails(self, code, *args, says=(), **kwargs):
        """The exit code, one line on stderr that starts with the program's name and holds every word of `says`."""
        got, out, err = self.run_quietly(*args, **kwargs)
        self.assertEqual(got, code, f"{args}: {err}")
        lines = [line for line in err.splitlines() if line]
        self.assertEqual(len(lines), 1, f"{args}: {err}")
        self.assertTrue(lines[0].startswith("kvcalib: "), err)
        for word in (says,) if isinstance(says, str) else says:
            self.assertIn(word, lines[0])
        return out

    def absent(self, *names):
        for name in names:
            self.assertFalse(os.path.exists(self.path(name)), name)

    def wait_for(self, process, name, seconds=60):
        """Until the file is there; False if the process ended first."""
        deadline = time.monotonic() + seconds
        while not os.path.exists(self.path(name)):
            if process.poll() is not None:
                return False
            self.assertLess(time.monotonic(), deadline, f"{name} never came")
            time.sleep(0.002)
        return True
