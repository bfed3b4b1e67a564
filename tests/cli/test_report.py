"""The page of a report, rendered from documents made up here (cli/report.h): well-formed, self-contained, escaped, right."""
import copy
import json
import math
import os
import re
import subprocess
import unittest
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

RENDER = os.environ["RENDER_REPORT"]
VOID = {"meta", "link", "img", "br", "hr", "input"}
HEADINGS = ["Front", "Layers", "Predicted and measured", "Measured plans", "Domains", "Provenance"]
SPECS = [("vq8x8+klt", 1.0), ("vq4x8+klt", 2.0), ("seg[8,4,2,1,1,0,0,0].ch64+klt", 2.25), ("int4.ch64", 4.25)]


def document(n_layers=30):
    def kl(bits):
        return 0.1 * 10 ** (1 - bits)

    def result(name, method, bits, **more):
        return {"name": name, "method": method, "bits": bits, "codes_bits": bits - 0.2, "kl": kl(bits), "kl_stderr": kl(bits) / 40,
                "ppl_ratio": 1 + kl(bits), "top1": 0.95, "tokens": 4094, **more}

    def side(i):
        return {"spec": SPECS[i % 4][0], "bits": SPECS[i % 4][1], "sensitivity": 0.001 * (1 + i * 7 % 50)}

    pairs = [{"name": f"plan {i}", "predicted": kl(1 + i / 2) * (1 + 0.1 * (i % 3)), "measured": kl(1 + i / 2), "stderr": 1e-4} for i in range(6)]
    return {
        "model": {"name": "Tiny", "architecture": "llama", "layers": n_layers, "kv_heads": 3, "query_heads": 9, "head_dim": 64,
                  "sha256": "a" * 64, "tokenizer_sha256": "b" * 64},
        "tokens": {"sinks": 4, "window": 64, "page": 64,
                   "trials": [{"sinks": 4, "window": 0, "bits_per_value": 2.1, "kl": 0.03}, {"sinks": 4, "window": 64, "bits_per_value": 2, "kl": 0.02}]},
        "context": 8192,
        "size": {"cache_bytes": 19660800, "fp16_bytes": 188743680, "constant_bytes": 245760, "file_bytes": 262144},
        "chosen": {"method": "exact", "bits": 2.5, "codes_bits": 2.3, "predicted_kl": 0.003},
        "fronts": [{"method": m, "points": [{"bits": 0.8 + i / 10, "kl": f * kl(0.8 + i / 10)} for i in range(40)]}
                   for m, f in (("exact", 0.8), ("refined", 0.7))],
        "results": [result("chosen plan", "exact", 2.5, chosen=True), result("KIVI-2", "uniform", 3.0, yardstick=True, kl=0.2),
                    result("greedy", "greedy", 2.5), result("a plan", "kvtuner", 3.5), result("another", "mine", 3.6),
                    result("anchor", "exact", 2.0, calibration=True)],
        "layers": [{"key": side(i), "value": side(i + 1)} for i in range(n_layers)],
        "sensitivity": {"measure": "loss of one side", "key": "vq4x8+klt", "value": "int2.tok64"},
        "predictions": [{"name": "plans", "pairs": pairs}],
        "domains": [{"name": "prose.txt", "tokens": 2047, "kl": 0.01, "kl_stderr": 0.0002, "ppl_ratio": 1.01, "top1": 0.96, "yardstick_kl": 0.1}],
        "provenance": {"tool": "kvcalib 0.1.0", "device": "cpu", "seed": 7, "recipe": {"method": "exact", "bits": 2.5},
                       "prompts": [{"name": "a.txt", "sha256": "c" * 64, "tokens": 100}],
                       "holdout_prompts": [{"name": "b.txt", "sha256": "d" * 64, "tokens": 90}],
                       "calibration": {"tokens": 100, "sequences": 2, "sha256": "e" * 64},
                       "holdout": {"tokens": 90, "sequences": 1, "sha256": "f" * 64}},
    }


def render_bytes(doc):
    done = subprocess.run([RENDER], input=json.dumps(doc).encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Page(HTMLParser):
    """Elements in order, and whether every one is closed."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.attributes, self.text = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, tuple(name for name, _ in attributes)))
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, tuple(name for name, _ in attributes)))
        self.attributes += [(tag, name, value) for name, value in attributes]

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def body_of(html):
    """The body, read as XML: stricter than HTML."""
    return ET.fromstring(html[html.index("<body>"):html.index("</body>") + 7])


def text_of(element):
    return "".join(element.itertext())


def replace_leaves(value, leaf):
    if isinstance(value, dict):
        return {k: replace_leaves(v, leaf) for k, v in value.items()}
    if isinstance(value, list):
        return [replace_leaves(v, leaf) for v in value]
    return leaf(value)


def paths(value, at=()):
    yield at
    for key in value if isinstance(value, dict) else range(min(len(value), 2)) if isinstance(value, list) else ():
        yield from paths(value[key], at + (key,))


def changed(doc, path, new):
    doc = copy.deepcopy(doc)
    if not path:
        return new
    at = doc
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = new
    return doc


class Report(unittest.TestCase):
    def page(self, doc):
        """Everything that must hold of any page."""
        html = render_bytes(doc).decode("utf-8")
        page = Page(html)
        body = body_of(html)
        self.assertFalse({tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "use"})
        for tag, name, value in page.attributes:
            self.assertNotIn(name, {"src", "href", "style", "srcset", "action", "data"}, tag)
            self.assertFalse(name.startswith("on"), name)
        style = html[html.index("<style>"):html.index("</style>")]
        self.assertNotRegex(style, r"@import|url\(|expression|//")
        for svg in body.iter("svg"):
            for element in svg.iter():
                for name in ("x", "y", "x1", "x2", "y1", "y2"):
                    value = element.get(name, "")
                    if value.endswith("%"):
                        self.assertTrue(0 <= float(value[:-1]) <= 100, (name, value))
        self.assertNotRegex(text_of(body), r"\b(nan|inf|NaN|null|None)\b")
        return html, body

    def headings(self, body):
        return [h.text for h in body.iter("h2")]

    def rows(self, body, heading):
        section = next(s for s in body.iter("section") if s.find("h2").text == heading)
        return [[text_of(c) for c in row] for row in section.iter("tr")]

    # ---- form ----
    def test_is_whole_and_self_contained(self):
        html, body = self.page(document())
        self.assertTrue(html.startswith("<!DOCTYPE html>"))
        self.assertNotRegex(html, r"https?:|src=|@import|<script")
        self.assertEqual(self.headings(body), HEADINGS)
        for scheme in ("prefers-color-scheme: dark", "@media print", "max-width: 1100px"):
            self.assertIn(scheme, html)

    def test_is_deterministic(self):
        doc = document()
        turned = json.loads(json.dumps(doc))
        turned["provenance"]["recipe"] = dict(reversed(list(doc["provenance"]["recipe"].items())))
        turned = dict(reversed(list(turned.items())))
        self.assertEqual(render_bytes(doc), render_bytes(doc))
        self.assertEqual(render_bytes(doc), render_bytes(turned))

    def test_escapes_hostile_texts(self):
        hostile = "</title></style></svg>\"'><script>alert(1)</script><!--&lt;\x01\x7f\u202e %s%n"
        known = {"exact", "refined", "uniform", "greedy", "kvtuner"}
        doc = document(2)
        bad = replace_leaves(doc, lambda v: hostile if isinstance(v, str) and v not in known else v)
        bad["provenance"]["recipe"] = {hostile: hostile, "n": {hostile: [hostile]}}
        plain = replace_leaves(doc, lambda v: "plain" if isinstance(v, str) and v not in known else v)
        plain["provenance"]["recipe"] = {"a": "plain", "n": {"b": ["plain"]}}
        html, body = self.page(bad)
        self.assertEqual(Page(html).elements, Page(render_bytes(plain).decode()).elements)
        shown = hostile.replace("\x01", "\ufffd").replace("\x7f", "\ufffd")
        self.assertEqual(body.find("header/h1").text, shown)
        self.assertIn(shown, [row[0] for row in self.rows(body, "Measured plans")])
        self.assertTrue(any(shown in cell.get("title", "") for cell in body.iter("td")))
        self.assertTrue(any(shown in (title.text or "") for title in body.iter("title")))

    def test_parts_may_be_absent(self):
        doc = document(3)
        _, body = self.page({})
        self.assertEqual(self.headings(body), [])
        needs = {"layers": "Layers", "predictions": "Predicted and measured", "results": "Measured plans", "domains": "Domains"}
        for key in doc:
            for new in (None, [], {}, "text", 7, True):
                _, body = self.page(changed(doc, (key,), new))
                self.assertEqual(self.headings(body), [h for h in HEADINGS if h != needs.get(key)], (key, new))
        _, body = self.page({k: v for k, v in doc.items() if k not in ("fronts", "results", "chosen")})
        self.assertNotIn("Front", self.headings(body))
        _, body = self.page({k: v for k, v in doc.items() if k not in ("provenance", "model")})
        self.assertNotIn("Provenance", self.headings(body))

    def test_any_field_may_be_anything(self):
        doc = document(2)
        for path in list(paths(doc))[1:]:
            for new in (None, "text", [1, {}]):
                self.page(changed(doc, path, new))

    def test_any_number_may_be_extreme(self):
        doc = document(3)
        for new in (0, -1, 1, 1e-320, 1e300, -1e300, 1e14, 2 ** 62):
            self.page(replace_leaves(doc, lambda v: new if isinstance(v, (int, float)) and not isinstance(v, bool) else v))
        for key in ("fronts", "results", "predictions", "layers"):
            for new in (0, -1, 1e-300, 1e14):
                self.page({**doc, key: replace_leaves(doc[key], lambda v: new if isinstance(v, float) else v)})

    def test_any_number_of_layers(self):
        for n in (1, 2, 30, 100):
            _, body = self.page(document(n))
            maps = [t for t in body.iter("table") if t.get("class") == "map"]
            self.assertEqual(len(maps), 2)
            for m in maps:
                self.assertEqual([len(row) for row in m], [n + 1] * 3)
            listed = [row for row in self.rows(body, "Layers") if len(row) == 7 and row[0].isdigit()]
            self.assertEqual([int(row[0]) for row in listed], list(range(n)))

    # ---- contents ----
    def test_plots_lie_where_the_numbers_are(self):
        _, body = self.page(document())
        kl, ratio = [p for p in body.iter("div") if p.get("class") == "plot"][:2]
        for plot, n_lines in ((kl, 2), (ratio, 0)):
            marks = {m.find("title").text: m for m in plot.iter("svg") if m.get("class") == "at" and m.find("title") is not None}
            self.assertEqual(len(marks), 6)
            at = {name.split(" (")[0]: (float(m.get("x")[:-1]), float(m.get("y")[:-1])) for name, m in marks.items()}
            self.assertLess(at["anchor"][0], at["greedy"][0])
            self.assertLess(at["greedy"][0], at["a plan"][0])
            self.assertLess(at["anchor"][1], at["greedy"][1])  # more loss is higher up
            self.assertEqual(at["greedy"], at["chosen plan"])
            ring = next(m for m in plot.iter("svg") if m.find("circle[@class='chosen']") is not None and m.get("class") == "at")
            self.assertEqual((float(ring.get("x")[:-1]), float(ring.get("y")[:-1])), at["chosen plan"])
            self.assertEqual(len([p for p in plot.iter("path") if p.get("class", "").startswith("line")]), n_lines)
        # equal ratios of KL are equal distances: one bit is one decade here
        y = {m.find("title").text.split(" (")[0]: float(m.get("y")[:-1]) for m in kl.iter("svg") if m.find("title") is not None}
        decade = (y["a plan"] - y["greedy"])
        self.assertAlmostEqual(y["greedy"] - y["anchor"], decade / 2, delta=0.05)
        labels = {t.text: float(t.get("y")[:-1]) for t in kl.iter("text") if t.get("x") == "-8"}
        self.assertAlmostEqual(labels["0.001"] - labels["0.01"], decade, delta=0.05)
        self.assertEqual(len([e for e in kl.iter("line") if e.get("class", "").startswith("error")]), 6)

    def test_front_without_measurements(self):
        doc = {k: v for k, v in document().items() if k in ("fronts", "chosen")}
        _, body = self.page(doc)
        plots = [p for p in body.iter("div") if p.get("class") == "plot"]
        self.assertEqual(len(plots), 1)
        self.assertEqual(len(list(plots[0].iter("circle"))), 1)
        self.assertEqual(self.headings(body), ["Front"])

    def test_legend_names_what_is_drawn(self):
        _, body = self.page(document())
        legend = [text_of(li) for li in body.iter("li")]
        self.assertEqual(legend, ["exact, predicted", "exact", "exact, on calibration text", "refined, predicted", "uniform pairs",
                                  "greedy", "KVTuner", "mine", "chosen"])

    def test_fronts_that_were_measured(self):
        doc = document()
        doc["fronts"][1] = {**doc["fronts"][1], "method": "kvtuner", "measured": True}
        doc["without_kvtuner"] = "<none>"
        _, body = self.page(doc)
        legend = [text_of(li) for li in body.iter("li")]
        self.assertIn("KVTuner, measured on calibration text", legend)
        self.assertNotIn("KVTuner, predicted", legend)
        self.assertIn("KVTuner's search has no front here: <none>.", [text_of(p) for p in body.iter("p")])

    def test_many_methods(self):
        doc = document(1)
        doc["results"] = [dict(doc["results"][0], method=f"m{i}", name=f"n{i}", chosen=False) for i in range(60)]
        _, body = self.page(doc)
        self.assertEqual(len(self.rows(body, "Measured plans")), 61)

    def test_heat_map_shades(self):
        doc = document(4)
        for i, layer in enumerate(doc["layers"]):
            layer["key"]["sensitivity"], layer["value"]["sensitivity"] = 10.0 ** -i, 0
        _, body = self.page(doc)
        keys, values = list(next(t for t in body.iter("table") if t.get("class") == "map"))[1:]
        shades = [c.get("class") for c in keys.iter("td")]
        self.assertEqual((shades[0], shades[3]), ("a8", "a0"))
        self.assertEqual(sorted(shades, reverse=True), shades)
        self.assertEqual({c.get("class") for c in values.iter("td")}, {"a0"})
        self.assertEqual(keys[1].get("title"), "layer 0 keys: 1.00, vq8x8+klt")

    def test_results_and_shares(self):
        _, body = self.page(document())
        rows = {row[0]: row for row in self.rows(body, "Measured plans")}
        self.assertIn("share of KIVI-2", rows["plan"])
        self.assertEqual(rows["chosen plan"][1:4], ["exact", "2.500", "2.300"])
        self.assertEqual(rows["chosen plan"][4], "0.00316 \u00b1 0.000079")
        self.assertEqual(rows["chosen plan"][5:], ["0.016", "1.0032", "95.0\u00a0%"])
        self.assertEqual(rows["KIVI-2"][5], "1.00")
        self.assertEqual(rows["anchor (calibration text)"][5], "\u2013")  # other text
        self.assertEqual(self.rows(body, "Domains")[1], ["prose.txt", "2047", "0.0100 \u00b1 0.00020", "0.100", "0.10", "1.0100", "96.0\u00a0%"])

    def test_narrow_pages_show_the_numbers(self):
        """Below 760 px the style drops the method, which would push the numbers out of sight, and gives the name a line of its own."""
        html, body = self.page(document())
        table = next(t for t in body.iter("table") if "plans" in t.get("class", "").split())
        self.assertEqual(table.get("class"), "plans shared")
        self.assertEqual({row[1].get("class") for row in table}, {"method"})
        narrow = html[html.index("@media (max-width: 760px)"):html.index("@media print")]
        self.assertIn(".plans .method { display: none; }", narrow)
        columns = narrow[narrow.index(".plans.shared tr"):].split(": ")[1].split(";")[0].split()
        self.assertEqual({len(row) - 2 for row in table}, {len(columns)})
        doc = document()
        doc["results"] = [r for r in doc["results"] if "yardstick" not in r]
        _, body = self.page(doc)
        self.assertIn("plans", [t.get("class") for t in body.iter("table")])

    def test_facts_of_the_chosen_plan(self):
        _, body = self.page(document())
        facts = {text_of(d.find("dt")): text_of(d.find("dd")) for d in body.find("header/dl")}
        self.assertEqual(facts, {"true bits per value at 8192 tokens": "2.500 2.300 codes and metadata",
                                 "cache, and 240\u00a0KiB of constants": "18.8\u00a0MiB 9.6 times smaller",
                                 "KL, nats per token": "0.00316 \u00b1 0.000079", "perplexity ratio": "1.0032",
                                 "same first choice": "95.0\u00a0%", "predicted KL": "0.00300"})

    def test_provenance(self):
        html, body = self.page(document())
        terms = dict(zip([text_of(t) for t in body.iter("dt")], [text_of(t) for t in body.iter("dd")]))
        self.assertEqual(terms["constants beside it"], "240\u00a0KiB (245760 bytes)")
        self.assertEqual(terms["cache at 8192 tokens"], "18.8\u00a0MiB (19660800 bytes)")
        self.assertEqual(terms["shape"], "30 layers, 9 query heads on 3 KV heads of 64")
        self.assertEqual((terms["bits"], terms["seed"], terms["device"]), ("2.5", "7", "cpu"))
        for hash_of in "abcdef":
            self.assertIn(hash_of * 64, html)

    # ---- predicted and measured ----
    def summary(self, pairs):
        doc = {"predictions": [{"name": "set", "pairs": [{"name": f"p{i}", "predicted": a, "measured": b} for i, (a, b) in enumerate(pairs)]}]}
        _, body = self.page(doc)
        return self.rows(body, "Predicted and measured")[1] if self.headings(body) else None

    def test_rank_correlation_and_worst_miss(self):
        self.assertEqual(self.summary([(1, 1), (2, 2), (3, 9), (4, 16)]), ["set", "4", "1.000", "1.73", "4.00 times too low: p3"])
        self.assertEqual(self.summary([(1, 4), (2, 3), (3, 2), (4, 1.6)])[2:], ["-1.000", "1.94", "4.00 times too low: p0"])
        self.assertEqual(self.summary([(8, 2), (1, 1), (1, 1.5)])[2:], ["0.866", "1.50", "4.00 times too high: p0"])
        x, y = [3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8, 1, 8]

        def ranks(v):
            return [sum(w < u for w in v) + (v.count(u) - 1) / 2 for u in v]
        a, b = ranks(x), ranks(y)
        mean = (len(x) - 1) / 2
        cov = sum((p - mean) * (q - mean) for p, q in zip(a, b))
        rho = cov / math.sqrt(sum((p - mean) ** 2 for p in a) * sum((q - mean) ** 2 for q in b))
        self.assertEqual(self.summary(list(zip(x, y)))[2], f"{rho:.3f}")

    def test_pairs_that_say_nothing(self):
        self.assertIsNone(self.summary([]))
        self.assertIsNone(self.summary([(None, 1), (1, None)]))
        self.assertEqual(self.summary([(1, 1)]), ["set", "1", "\u2013", "1.00", "right: p0"])
        self.assertEqual(self.summary([(0, 0), (0, 1), (1, 0)])[1:], ["3", "-0.500", "\u2013", ""])
        self.assertEqual(self.summary([(1, 2), (2, 2), (3, 2)])[2], "\u2013")

    def test_long_sets_are_plotted_but_not_listed(self):
        for n, listed in ((40, True), (41, False)):
            pairs = [{"name": f"p{i}", "predicted": 1 + i, "measured": 2 + i} for i in range(n)]
            _, body = self.page({"predictions": [{"name": "set", "pairs": pairs}]})
            plot = next(p for p in body.iter("div") if p.get("class") == "plot")
            self.assertEqual(len(list(plot.iter("title"))), n)
            self.assertEqual(len(self.rows(body, "Predicted and measured")), 2 + (n + 1 if listed else 0))


if __name__ == "__main__":
    unittest.main()
