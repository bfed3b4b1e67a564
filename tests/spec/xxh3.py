"""XXH3, 64 bits, seed 0, for bytes: the hash of cfg.bin, so that a reader in Python really checks it.

Written from the published description of the algorithm (github.com/Cyan4973/xxHash, doc/xxhash_spec.md). Four ranges of
length have their own mixing; longer inputs go through eight accumulators in stripes of 64 bytes.
"""

M64 = (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
MIX_1, MIX_2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)


def read(data, at, size):
    return int.from_bytes(data[at:at + size], "little")


def secret64(at):
    return read(SECRET, at, 8)


def byteswap64(x):
    return int.from_bytes(x.to_bytes(8, "little"), "big")


def rotate_left(x, n):
    return ((x << n) | (x >> (64 - n))) & M64


def fold(a, b):
    """The two halves of the 128-bit product, combined."""
    product = a * b
    return (product & M64) ^ (product >> 64)


def avalanche(h):
    h = ((h ^ (h >> 37)) * MIX_1) & M64
    return h ^ (h >> 32)


def avalanche_short(h):
    h = ((h ^ (h >> 33)) * P64_2) & M64
    h = ((h ^ (h >> 29)) * P64_3) & M64
    return h ^ (h >> 32)


def hash_to_16(data, n):
    if n > 8:
        low = read(data, 0, 8) ^ secret64(24) ^ secret64(32)
        high = read(data, n - 8, 8) ^ secret64(40) ^ secret64(48)
        return avalanche((n + byteswap64(low) + high + fold(low, high)) & M64)
    if n >= 4:
        h = (read(data, n - 4, 4) + (read(data, 0, 4) << 32)) ^ secret64(8) ^ secret64(16)
        h = ((h ^ rotate_left(h, 49) ^ rotate_left(h, 24)) * MIX_2) & M64
        h = ((h ^ ((h >> 35) + n)) * MIX_2) & M64
        return h ^ (h >> 28)
    if n:
        word = (data[0] << 16) | (data[n >> 1] << 24) | data[n - 1] | (n << 8)
        return avalanche_short(word ^ read(SECRET, 0, 4) ^ read(SECRET, 4, 4))
    return avalanche_short(secret64(56) ^ secret64(64))


def mix_16(data, at, secret_at):
    return fold(read(data, at, 8) ^ secret64(secret_at), read(data, at + 8, 8) ^ secret64(secret_at + 8))


def hash_to_128(data, n):
    h = n * P64_1
    for i in reversed(range((n - 1) // 32 + 1)):
        h += mix_16(data, 16 * i, 32 * i) + mix_16(data, n - 16 * (i + 1), 32 * i + 16)
    return avalanche(h & M64)


def hash_to_240(data, n):
    h = n * P64_1 + sum(mix_16(data, 16 * i, 16 * i) for i in range(8))
    h = avalanche(h & M64) + sum(mix_16(data, 16 * i, 16 * (i - 8) + 3) for i in range(8, n // 16))
    return avalanche((h + mix_16(data, n - 16, 136 - 17)) & M64)


def accumulate(acc, data, at, secret_at):
    for i in range(8):
        value = read(data, at + 8 * i, 8)
        key = value ^ secret64(secret_at + 8 * i)
        acc[i ^ 1] = (acc[i ^ 1] + value) & M64
        acc[i] = (acc[i] + (key & 0xFFFFFFFF) * (key >> 32)) & M64


def scramble(acc):
    for i in range(8):
        acc[i] = ((acc[i] ^ (acc[i] >> 47) ^ secret64(128 + 8 * i)) * P32_1) & M64


def hash_long(data, n):
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    for stripe in range((n - 1) // 64):
        accumulate(acc, data, 64 * stripe, 8 * (stripe % 16))
        if stripe % 16 == 15:
            scramble(acc)
    accumulate(acc, data, n - 64, 192 - 64 - 7)
    h = n * P64_1
    for i in range(4):
        h += fold(acc[2 * i] ^ secret64(11 + 16 * i), acc[2 * i + 1] ^ secret64(19 + 16 * i))
    return avalanche(h & M64)


def xxh3_64(data):
    n = len(data)
    if n <= 16:
        return hash_to_16(data, n)
    if n <= 128:
        return hash_to_128(data, n)
    return hash_to_240(data, n) if n <= 240 else hash_long(data, n)
