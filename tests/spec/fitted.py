"""The codecs of format 1.1, written from section 8 of runtime/FORMAT.md alone: sizes and values of their parameters, and pages
encoded and decoded one value at a time. Blocks of int and fp16 are not read here."""
import ctypes
import math
import struct

LUT, VQ, SEG = 4, 5, 6
HAD, SMOOTH, PERM, ROT, KLT = 1, 2, 3, 4, 5
NONE, CH, STATIC, HEAD = 0, 2, 3, 4
GROWTH_MAX = 2.0 ** 17


def f32(x):
    """Rounded to binary32. Sums, products and quotients of two binary32 numbers round the same by way of binary64."""
    return ctypes.c_float(x).value


def dot(a, b):
    total = 0.0
    for x, y in zip(a, b):
        total = f32(total + f32(x * y))
    return total


def dot_in_lanes(a, b):
    lanes = [dot(a[i::8], b[i::8]) for i in range(8)]
    while len(lanes) > 1:
        lanes = [f32(lanes[i] + lanes[i + 1]) for i in range(0, len(lanes), 2)]
    return f32(lanes[0] + 0.0)


def clamp(row):
    return [min(max(x, -65504.0), 65504.0) for x in row]


def numbers(raw, letter):
    return list(struct.unpack(f"<{len(raw) // struct.calcsize(letter)}{letter}", raw))


def columns(matrix, d):
    return [matrix[i::d] for i in range(d)]


def rows_of(matrix, d):
    return [matrix[i * d:(i + 1) * d] for i in range(d)]


def pack_fields(stream, bits):
    """Planes of 8, 4, 2, 1 bits, low bits first."""
    block, low = b"", 0
    for width in (8, 4, 2, 1):
        if bits & width:
            fields = sum((code >> low & (1 << width) - 1) << t * width for t, code in enumerate(stream))
            block += fields.to_bytes(len(stream) * width // 8, "little")
            low += width
    return block


def unpack_fields(block, n, bits):
    stream, low = [0] * n, 0
    for width in (8, 4, 2, 1):
        if bits & width:
            fields = int.from_bytes(block[:n * width // 8], "little")
            stream = [code | (fields >> t * width & (1 << width) - 1) << low for t, code in enumerate(stream)]
            block, low = block[n * width // 8:], low + width
    return stream


def half_bits(x):
    return struct.unpack("<H", struct.pack("<e", x))[0]


def half_of(bits):
    return struct.unpack("<e", struct.pack("<H", bits))[0]


def half_towards(x, sign):
    """The nearest fp16 number that is not below (sign 1) or above (sign -1) x, at most 65504 in magnitude."""
    x = sign * x + 0.0  # now up
    if x >= 65504.0:
        return sign * 65504.0
    bits = half_bits(x) if x > -65504.0 else half_bits(-65504.0)
    if half_of(bits) < x:
        bits = bits - 1 if bits > 0x8000 else bits + 1
    return sign * half_of(bits) + 0.0


class Had:
    def __init__(self, raw, head, d):
        self.n = d & -d

    @staticmethod
    def size(heads, d):
        return 0

    def forward(self, x):
        x, n, h = list(x), self.n, 1
        while h < n:
            for i in range(len(x)):
                if i % (2 * h) < h:
                    x[i], x[i + h] = f32(x[i] + x[i + h]), f32(x[i] - x[i + h])
            h *= 2
        return [f32(value * f32(1 / math.sqrt(n))) for value in x]

    inverse = forward


class Smooth:
    def __init__(self, raw, head, d):
        self.factor = numbers(raw[4 * d * head:4 * d * (head + 1)], "f")

    @staticmethod
    def size(heads, d):
        return 4 * heads * d

    @staticmethod
    def values_fit(raw, heads, d):
        return all(1 / GROWTH_MAX <= x <= GROWTH_MAX for x in numbers(raw, "f"))

    def forward(self, x):
        return [f32(value / factor) for value, factor in zip(x, self.factor)]

    def inverse(self, y):
        return [f32(value * factor) for value, factor in zip(y, self.factor)]


class Perm:
    def __init__(self, raw, head, d):
        self.order = numbers(raw[2 * d * head:2 * d * (head + 1)], "H")

    @staticmethod
    def size(heads, d):
        return 2 * heads * d

    @staticmethod
    def values_fit(raw, heads, d):
        return all(sorted(Perm(raw, head, d).order) == list(range(d)) for head in range(heads))

    def forward(self, x):
        return [x[i] for i in self.order]

    def inverse(self, y):
        x = [0.0] * len(y)
        for value, i in zip(y, self.order):
            x[i] = value
        return x


class Rot:
    def __init__(self, raw, head, d):
        self.matrix = numbers(raw[2 * d * d * head:2 * d * d * (head + 1)], "e")
        self.d = d

    @staticmethod
    def size(heads, d):
        return 2 * heads * d * d

    @staticmethod
    def values_fit(raw, heads, d):
        rows = [row for head in range(heads) for row in rows_of(Rot(raw, head, d).matrix, d)]
        return all(all(abs(x) <= 1.0 for x in row) and 1 - 1 / 64 < dot(row, row) < 1 + 1 / 64 for row in rows)

    def forward(self, x):
        return [dot(x, column) for column in columns(self.matrix, self.d)]

    def inverse(self, y):
        return [dot_in_lanes(row, y) for row in rows_of(self.matrix, self.d)]


class Klt:
    def __init__(self, raw, head, d):
        raw = raw[head * (4 * d + 6 * d * d):][:4 * d + 6 * d * d]
        self.mean, self.t = numbers(raw[:4 * d], "f"), numbers(raw[4 * d:4 * d + 4 * d * d], "f")
        self.s, self.d = numbers(raw[4 * d + 4 * d * d:], "e"), d

    @staticmethod
    def size(heads, d):
        return heads * (4 * d + 6 * d * d)

    @staticmethod
    def values_fit(raw, heads, d):
        parts = [Klt(raw, head, d) for head in range(heads)]
        return all(all(abs(x) <= 65504 for x in part.mean) and all(abs(x) <= 2.0 ** 40 for x in part.t) and
                   all(Klt.magnitude(row) <= GROWTH_MAX for row in rows_of(part.s, d)) for part in parts)

    @staticmethod
    def magnitude(row):
        total = 0.0
        for x in row:
            total = f32(total + abs(x))
        return total

    def forward(self, x):
        centred = [f32(value - mean) for value, mean in zip(x, self.mean)]
        return [dot(centred, column) for column in columns(self.t, self.d)]

    def inverse(self, y):
        return [f32(mean + dot_in_lanes(row, y)) for mean, row in zip(self.mean, rows_of(self.s, self.d))]


class Table:
    """lut and vq; also their frame."""

    def __init__(self, codec, raw, heads, head, d):
        self.bits, self.d, self.dims = codec["bits"], d, self.dims_of(codec, d)
        n, kept = len(self.dims), sum(self.dims)
        scales, orders = 4 * n * heads, (2 * kept * heads + 3) // 4 * 4
        self.scale = numbers(raw[4 * n * head:4 * n * (head + 1)], "f")
        self.order = numbers(raw[scales + 2 * kept * head:scales + 2 * kept * (head + 1)], "H")
        self.latent = (kept + 7) // 8 * 8
        per_head = 2 * self.table_channels(codec, d) << self.bits
        at = scales + orders + (0 if codec["scale"] == NONE else head * per_head)
        self.tables = []
        for i, dims in enumerate(self.dims):
            size = 2 * dims << self.bits
            if i and (codec["scale"] == STATIC or dims != self.dims[i - 1]):
                at += 2 * self.dims[i - 1] << self.bits
            values = numbers(raw[at:at + size], "e")
            self.tables.append([values[e:e + dims] for e in range(0, len(values), dims)])

    @staticmethod
    def classes(codec, d):
        """(dims, codes of a row) of each."""
        if codec["dims"]:
            return [(codec["dims"], d // codec["dims"])]
        return [(1 << k, n * d // 64) for k, n in enumerate(codec["segment"][:5]) if n]

    @staticmethod
    def dims_of(codec, d):
        """Of each code of a row."""
        return [dims for dims, n in Table.classes(codec, d) for _ in range(n)]

    @staticmethod
    def table_channels(codec, d):
        return sum(dims * n if codec["scale"] == STATIC else dims for dims, n in Table.classes(codec, d))

    @staticmethod
    def shape_fits(codec, heads, d, page):
        return d % codec["dims"] == 0 if codec["dims"] else all(n * d % 64 == 0 for n in codec["segment"][:5])

    @staticmethod
    def before_tables(codec, heads, d):
        """Bytes of the scales, and of the order with what fills it up."""
        dims = Table.dims_of(codec, d)
        return 4 * heads * len(dims), (2 * heads * sum(dims) + 3) // 4 * 4

    @staticmethod
    def size(codec, heads, d):
        tables = (1 if codec["scale"] == NONE else heads) * Table.table_channels(codec, d) << codec["bits"]
        return sum(Table.before_tables(codec, heads, d)) + 2 * tables

    @staticmethod
    def values_fit(codec, raw, heads, d):
        scales, orders = Table.before_tables(codec, heads, d)
        kept = sum(Table.dims_of(codec, d))
        orders_of_heads = [numbers(raw[scales + 2 * kept * head:][:2 * kept], "H") for head in range(heads)]
        return (all(0 < x <= GROWTH_MAX for x in numbers(raw[:scales], "f")) and
                all(len(set(order)) == kept and max(order) < d for order in orders_of_heads) and
                all(math.isfinite(x) for x in numbers(raw[scales + orders:], "e")))

    def scale_of_positions(self):
        return [scale for scale, dims in zip(self.scale, self.dims) for _ in range(dims)]

    def forward(self, x):
        y = [f32(x[c] / scale) for c, scale in zip(self.order, self.scale_of_positions())]
        return y + [0.0] * (self.latent - len(y))

    def inverse(self, y):
        x = [0.0] * self.d
        for value, c, scale in zip(y, self.order, self.scale_of_positions()):
            x[c] = f32(value * scale)
        return x

    @staticmethod
    def distance(y, entry):
        squares = [f32(step * step) for step in (f32(a - b) for a, b in zip(y, entry))]
        total = squares[0]
        for square in squares[1:]:
            total = f32(total + square)
        return total

    def codes(self, y):
        at, codes = 0, []
        for table in self.tables:
            part = y[at:at + len(table[0])]
            at += len(part)
            distances = [self.distance(part, entry) for entry in table]
            codes.append(distances.index(min(distances)))
        return codes

    @staticmethod
    def block_bytes(codec, d, page):
        return page * len(Table.dims_of(codec, d)) * codec["bits"] // 8

    def fields(self, page):
        """The row and the code of each field."""
        return [(row, code) for row in range(page) for code in range(len(self.dims))]

    def encode(self, rows):
        codes = [self.codes(row) for row in rows]
        return pack_fields([codes[row][code] for row, code in self.fields(len(rows))], self.bits)

    def decode(self, block, page):
        fields, rows = self.fields(page), []
        codes = dict(zip(fields, unpack_fields(block, len(fields), self.bits)))
        for row in range(page):
            y = [x for code, table in enumerate(self.tables) for x in table[codes[row, code]]]
            rows.append(y + [0.0] * (self.latent - len(y)))
        return rows


class Shared(Table):
    """vq whose codes are shared out among the heads."""

    def __init__(self, codec, raw, heads, head, d):
        counts, scales, orders, values = self.split(codec, raw, heads, d)
        self.bits, self.d, self.latent, self.dims = codec["bits"], d, d, self.dims_of_head(d, counts[head])
        self.scale = scales[sum(counts[:head]):][:counts[head]]
        self.order = orders[d * head:][:sum(self.dims)]
        tables = {}
        for c in (1, 2, 4, 8, 16):
            table, values = values[:c << self.bits], values[c << self.bits:]
            tables[c] = [table[e:e + c] for e in range(0, len(table), c)]
        self.tables = [tables[c] for c in self.dims]

    @staticmethod
    def dims_of_head(d, k):
        """Of each of the k codes of a row."""
        if 16 * k <= d:
            return [16] * k
        c = next(c for c in (8, 4, 2, 1) if c * k <= d)
        small = 2 * k - d // c
        return [c] * small + [2 * c] * (k - small)

    def fields(self, page):
        """Code by code within each run of rows."""
        run = next(rows for rows in (32, 16, 8) if page % rows == 0)
        return [(first + row, code) for first in range(0, page, run) for code in range(len(self.dims)) for row in range(run)]

    @staticmethod
    def total(codec, heads, d):
        """Codes of a token."""
        return codec["segment"][5] * heads * d // 64

    @staticmethod
    def stream_bytes(codec, codes, page):
        return page * codes * codec["bits"] // 8

    @staticmethod
    def shape_fits(codec, heads, d, page):
        total = Shared.total(codec, heads, d)
        return total >= 1 and Shared.stream_bytes(codec, total, page) < 2 ** 32 - 16

    @staticmethod
    def size(codec, heads, d):
        return 4 * heads + 4 * Shared.total(codec, heads, d) + 2 * heads * d + (2 * 31 << codec["bits"])

    @staticmethod
    def split(codec, raw, heads, d):
        """Counts, scales, orders and values of the tables."""
        scales = 4 * heads
        orders = scales + 4 * Shared.total(codec, heads, d)
        tables = orders + 2 * heads * d
        return (numbers(raw[:scales], "I"), numbers(raw[scales:orders], "f"), numbers(raw[orders:tables], "H"),
                numbers(raw[tables:], "e"))

    @staticmethod
    def values_fit(codec, raw, heads, d):
        counts, scales, orders, values = Shared.split(codec, raw, heads, d)
        return (all(k <= d for k in counts) and sum(counts) == Shared.total(codec, heads, d) and
                all(0 < x <= GROWTH_MAX for x in scales) and
                all(sorted(orders[d * head:][:d]) == list(range(d)) for head in range(heads)) and
                all(math.isfinite(x) for x in values))

    @staticmethod
    def page_bytes(codec, heads, d, page):
        return up_to_16(Shared.stream_bytes(codec, Shared.total(codec, heads, d), page))

    @staticmethod
    def sizes_of_heads(codec, raw, heads, d, page):
        """The page is padded behind its last head."""
        sizes = [Shared.stream_bytes(codec, k, page) for k in Shared.split(codec, raw, heads, d)[0]]
        return sizes[:-1] + [Shared.page_bytes(codec, heads, d, page) - sum(sizes[:-1])]


class Seg:
    """Scalar codes, each eighth of the channels with its own bits. `forward` and `inverse`: it has no frame."""

    def __init__(self, codec, raw, heads, head, d):
        self.codec, self.d, self.eighth = codec, d, d // 8
        raw, self.tables = raw[len(raw) // heads * head:], {}
        for i in self.kept(codec, d) if codec["scale"] == STATIC else []:
            size = 2 << self.bits_of(i)
            self.tables[i], raw = numbers(raw[:size], "e"), raw[size:]

    def bits_of(self, channel):
        return self.codec["segment"][channel // self.eighth]

    @staticmethod
    def kept(codec, d):
        return [i for i in range(d) if codec["segment"][i // (d // 8)]]

    @staticmethod
    def shape_fits(codec, heads, d, page):
        return True

    @staticmethod
    def size(codec, heads, d):
        return heads * sum(2 << codec["segment"][i // (d // 8)] for i in Seg.kept(codec, d)) * (codec["scale"] == STATIC)

    @staticmethod
    def values_fit(codec, raw, heads, d):
        return all(math.isfinite(x) for x in numbers(raw, "e"))

    @staticmethod
    def block_bytes(codec, d, page):
        codes = sum(codec["segment"]) * (d // 8) * page // 8
        return codes + codes % 2 + (4 * page // codec["group"] * len(Seg.kept(codec, d)) if codec["scale"] == CH else 0)

    def forward(self, x):
        return x

    inverse = forward

    def ranges(self, rows):
        """fp16 scales and minima [P / G][kept]."""
        scales, minima, group = [], [], self.codec["group"]
        for first in range(0, len(rows), group):
            for i in self.kept(self.codec, self.d):
                column = [row[i] for row in rows[first:first + group]]
                minimum = half_towards(min(column), -1)
                step = f32(f32(max(column) - minimum) / ((1 << self.bits_of(i)) - 1))
                minima.append(minimum)
                scales.append(half_towards(step, 1))
        return scales, minima

    def code(self, y, i, scale, minimum):
        if self.codec["scale"] == STATIC:
            distances = [abs(f32(y - entry)) for entry in self.tables[i]]
            return distances.index(min(distances))
        return min(round(f32(f32(y - minimum) / scale)), (1 << self.bits_of(i)) - 1) if scale else 0

    def encode(self, rows):
        kept, block, scales, minima = self.kept(self.codec, self.d), b"", [], []
        if self.codec["scale"] == CH:
            scales, minima = self.ranges(rows)
        for eighth in range(8):
            stream = []
            for t, row in enumerate(rows):
                for i in range(eighth * self.eighth, (eighth + 1) * self.eighth):
                    if i in kept:
                        at = t // self.codec["group"] * len(kept) + kept.index(i) if scales else 0
                        stream.append(self.code(row[i], i, *((scales[at], minima[at]) if scales else (0, 0))))
            block += pack_fields(stream, self.codec["segment"][eighth])
        block += b"\0" * (len(block) % 2)
        return block + struct.pack(f"<{2 * len(scales)}e", *scales, *minima)

    def decode(self, block, page):
        kept, at = self.kept(self.codec, self.d), 0
        rows = [[0.0] * self.d for _ in range(page)]
        codes = sum(self.codec["segment"]) * self.eighth * page // 8
        n = page // self.codec["group"] * len(kept) if self.codec["scale"] == CH else 0
        values = numbers(block[codes + codes % 2:][:4 * n], "e")
        for eighth, bits in enumerate(self.codec["segment"]):
            stream = unpack_fields(block[at:], page * self.eighth, bits)
            at += page * self.eighth * bits // 8
            for t, code in enumerate(stream if bits else []):
                row, i = t // self.eighth, eighth * self.eighth + t % self.eighth
                if self.tables:
                    rows[row][i] = self.tables[i][code]
                else:
                    where = row // self.codec["group"] * len(kept) + kept.index(i)
                    rows[row][i] = f32(values[n + where] + f32(values[where] * code))
        return rows


TRANSFORMS = {HAD: Had, SMOOTH: Smooth, PERM: Perm, ROT: Rot, KLT: Klt}


SYMBOLS = {LUT: Table, VQ: Table, SEG: Seg}


def symbol_of(codec):
    """None of int and fp16."""
    shared = codec["symbol"] == VQ and codec["dims"] == 0 and codec["segment"][5]
    return Shared if shared else SYMBOLS.get(codec["symbol"])


def up_to_16(n):
    return (n + 15) // 16 * 16


def page_bytes(codec, heads, d, page):
    """Of all heads."""
    symbol = symbol_of(codec)
    return Shared.page_bytes(codec, heads, d, page) if symbol is Shared else heads * up_to_16(symbol.block_bytes(codec, d, page))


def sizes_of_heads(codec, raw, heads, d, page):
    """How many bytes of a page each head has."""
    symbol = symbol_of(codec)
    if symbol is Shared:
        return Shared.sizes_of_heads(codec, parts_of(codec, raw, heads, d)[-1], heads, d, page)
    return [up_to_16(symbol.block_bytes(codec, d, page))] * heads


def part_sizes(codec, heads, d):
    """Bytes of the constants of each piece, transforms first."""
    sizes, symbol = [TRANSFORMS[t].size(heads, d) for t in codec["transforms"]], symbol_of(codec)
    return sizes + [symbol.size(codec, heads, d) if symbol else 0]


def parts_of(codec, raw, heads, d):
    parts, at = [], 0
    for size in part_sizes(codec, heads, d):
        parts.append(raw[at:at + size])
        at += up_to_16(size)
    return parts


def params_size(codec, heads, d):
    return sum(up_to_16(size) for size in part_sizes(codec, heads, d))


def params_fit(codec, raw, heads, d):
    parts = parts_of(codec, raw, heads, d)
    fit = all(TRANSFORMS[t].values_fit(part, heads, d) for t, part in zip(codec["transforms"], parts) if part)
    return fit and (not parts[-1] or symbol_of(codec).values_fit(codec, parts[-1], heads, d))


class Coder:
    """A symbol of format 1.1 behind any transforms, on one of `heads` rows of d channels."""

    def __init__(self, codec, raw, heads, head, d):
        parts, self.d = parts_of(codec, raw, heads, d), d
        self.symbol = symbol_of(codec)(codec, parts[-1], heads, head, d)
        self.stages = [TRANSFORMS[t](part, head, d) for t, part in zip(codec["transforms"], parts)] + [self.symbol]

    def encode(self, rows, size):
        """Padded to `size` bytes."""
        latent = []
        for row in rows:
            y = clamp(row)
            for stage in self.stages:
                y = clamp(stage.forward(y))
            latent.append(y)
        return self.symbol.encode(latent).ljust(size, b"\0")

    def decode(self, block, page):
        rows = self.symbol.decode(block, page)
        for stage in reversed(self.stages):
            rows = [stage.inverse(row) for row in rows]
        return rows
