"""XXH3 with 64 bits and without a seed, of 1 byte and more, as xxHash's own description defines it."""

import struct

SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248e"
    "e03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d8a"
    "51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8f"
    "f8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")
PRIMES32 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
PRIMES64 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
STRIPE, BLOCK = 64, 1024
MASK = (1 << 64) - 1


def read(data, at):
    return struct.unpack_from("<Q", data, at)[0]


def fold(one, other):
    """The product of two numbers, its halves put together."""
    product = one * other
    return product & MASK ^ product >> 64


def avalanche(hash):
    hash ^= hash >> 37
    hash = hash * 0x165667919E3779F9 & MASK
    return hash ^ hash >> 32


def mix(data, at, secret):
    return fold(read(data, at) ^ read(SECRET, secret), read(data, at + 8) ^ read(SECRET, secret + 8))


def of_3(data):
    """The mixing of the last round is that of the older XXH64."""
    first, middle, last = data[0], data[len(data) // 2], data[-1]
    secret = struct.unpack_from("<2I", SECRET, 0)
    hash = (first << 16 | middle << 24 | last | len(data) << 8) ^ secret[0] ^ secret[1]
    hash = (hash ^ hash >> 33) * PRIMES64[1] & MASK
    hash = (hash ^ hash >> 29) * PRIMES64[2] & MASK
    return hash ^ hash >> 32


def of_8(data):
    first, last = struct.unpack_from("<I", data, 0)[0], struct.unpack_from("<I", data, len(data) - 4)[0]
    hash = (last + (first << 32)) ^ read(SECRET, 8) ^ read(SECRET, 16)
    hash ^= turned(hash, 49) ^ turned(hash, 24)
    hash = hash * 0x9FB21C651E98DF25 & MASK
    hash = (hash ^ (hash >> 35) + len(data)) * 0x9FB21C651E98DF25 & MASK
    return hash ^ hash >> 28


def turned(number, by):
    return (number << by | number >> 64 - by) & MASK


def of_16(data):
    low = read(data, 0) ^ read(SECRET, 24) ^ read(SECRET, 32)
    high = read(data, len(data) - 8) ^ read(SECRET, 40) ^ read(SECRET, 48)
    swapped = struct.unpack(">Q", struct.pack("<Q", low))[0]
    return avalanche(len(data) + swapped + high + fold(low, high) & MASK)


def of_128(data):
    hash = len(data) * PRIMES64[0]
    for number in range((len(data) - 1) // 32 + 1):
        hash += mix(data, 16 * number, 32 * number)
        hash += mix(data, len(data) - 16 * (number + 1), 32 * number + 16)
    return avalanche(hash & MASK)


def of_240(data):
    hash = len(data) * PRIMES64[0] + sum(mix(data, at, at) for at in range(0, 128, 16))
    hash = avalanche(hash & MASK)
    hash += sum(mix(data, at, at - 128 + 3) for at in range(128, len(data) // 16 * 16, 16))
    return avalanche(hash + mix(data, len(data) - 16, 136 - 17) & MASK)


def accumulate(lanes, data, at, secret):
    for lane in range(8):
        word = read(data, at + 8 * lane)
        key = word ^ read(SECRET, secret + 8 * lane)
        lanes[lane ^ 1] = lanes[lane ^ 1] + word & MASK
        lanes[lane] = lanes[lane] + (key & 0xFFFFFFFF) * (key >> 32) & MASK


def of_long(data):
    lanes = [PRIMES32[2], *PRIMES64[:4], PRIMES32[1], PRIMES64[4], PRIMES32[0]]
    for number in range((len(data) - 1) // STRIPE):
        place = number % (BLOCK // STRIPE)
        if number > 0 and place == 0:
            scramble(lanes)
        accumulate(lanes, data, STRIPE * number, 8 * place)
    if (len(data) - 1) % BLOCK < STRIPE:
        scramble(lanes)
    accumulate(lanes, data, len(data) - STRIPE, len(SECRET) - STRIPE - 7)
    hash = len(data) * PRIMES64[0]
    for pair in range(4):
        one, other = (lanes[2 * pair + half] ^ read(SECRET, 11 + 16 * pair + 8 * half) for half in (0, 1))
        hash += fold(one, other)
    return avalanche(hash & MASK)


def scramble(lanes):
    for lane in range(8):
        word = lanes[lane]
        lanes[lane] = (word ^ word >> 47 ^ read(SECRET, len(SECRET) - STRIPE + 8 * lane)) * PRIMES32[0] & MASK


def xxh3(data):
    if not data:
        raise ValueError("nothing hashes so little")
    for most, of in ((3, of_3), (8, of_8), (16, of_16), (128, of_128), (240, of_240)):
        if len(data) <= most:
            return of(data)
    return of_long(data)
