"""The constants of the transforms smooth, perm and rot, read from FORMAT.md, section 8: how many bytes they have for H heads of
d channels, and what is wrong with them, if anything."""
import struct


def binary32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def smooth_bytes(heads, d):
    return 4 * heads * d


def smooth_problem(raw, heads, d):
    for i, factor in enumerate(struct.unpack_from(f"<{heads * d}f", raw)):
        if not 2.0 ** -20 <= factor <= 2.0 ** 20:
            return f"smooth: head {i // d}, channel {i % d}: factor {factor}"
    return None


def perm_bytes(heads, d):
    return 2 * heads * d


def perm_problem(raw, heads, d):
    for head in range(heads):
        order = struct.unpack_from(f"<{d}H", raw, 2 * d * head)
        if sorted(order) != list(range(d)):
            return f"perm: head {head}: {order}"
    return None


def rot_bytes(heads, d):
    return 2 * heads * d * d


def is_unit(row):
    total = 0.0
    for value in row:
        if not abs(value) <= 1.0:
            return False
        total = binary32(total + binary32(value * value))
    return 1 - 1 / 64 < total < 1 + 1 / 64


def rot_problem(raw, heads, d):
    for j in range(heads * d):
        if not is_unit(struct.unpack_from(f"<{d}e", raw, 2 * d * j)):
            return f"rot: head {j // d}, row {j % d} is not that of a rotation"
    return None


# wire id: name, first format version, bytes of the constants, what is wrong with them
FITTED_TRANSFORMS = {
    2: ("smooth", 1001, smooth_bytes, smooth_problem),
    3: ("perm", 1001, perm_bytes, perm_problem),
    4: ("rot", 1001, rot_bytes, rot_problem),
}
