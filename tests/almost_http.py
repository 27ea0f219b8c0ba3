"""Makes what is almost HTTP: mostly sound, with a fault here and there, at random."""

from random import Random

from router.codec.body import LAST_CHUNK

SPECIAL_BYTES = [
    bytes([byte]) for byte in (0, 9, 10, 11, 13, 32, 34, 35, 37, 44, 58, 59, 61, 64, 92, 95, 127, 128, 255)
]
METHODS = [b"GET", b"POST", b"HEAD", b"PUT", b"get", b"CONNECT", b"OPTIONS", b"M-SEARCH", b"TRACE", b"", b"G ET"]
TARGETS = [
    *(b"/fn/f", b"/fn/f/a/b?c=d", b"/fn/f:2/x", b"/fn/f%20g/", b"/fn/f/../g", b"/fn/f/%2e%2e/g", b"*", b"/", b"//fn/f"),
    *(b"http://h/fn/f", b"http://u@h/fn/f", b"HTTP://h:1/fn/f?x", b"/fn/f#a", b"/fn/f%00", b"/fn/f%zz", b"h:80"),
    *(b"/2015-03-31/functions/f/invocations?Qualifier=1", b"/fn/f\xff", b"/fn/", b""),
]
VERSIONS = [
    b"HTTP/1.1",
    b"HTTP/1.1",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"HTTP/1.2",
    b"http/1.1",
    b"HTTP/1.1 ",
    b"",
]
SOUND = (METHODS[:4], TARGETS[:4], VERSIONS[:4])
"""Parts of a request line that are let pass."""
NAMES = [
    *(b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Content_Length", b"Transfer_Encoding"),
    *(b"Keep-Alive", b"TE", b"Trailer", b"Upgrade", b"Expect", b"Via", b"Forwarded", b"X-Forwarded-For", b"X-Other"),
    *(
        b"Hotswap-Version",
        b"Hotswap-Error",
        b"Proxy-Connection",
        b"Cookie",
        b"Date",
        b"X_Forwarded_For",
        b"content-length",
    ),
]
VALUES = [
    *(b"a", b"a:80", b"0", b"3", b"3, 3", b"+3", b"-1", b"0x3", b"003", b"9223372036854775808", b"chunked", b"Chunked"),
    *(b"gzip, chunked", b"chunked, chunked", b"close", b"keep-alive", b"close, x-other", b"host", b"content-length"),
    *(
        b"websocket",
        b"100-continue",
        b"1.1 other",
        b"",
        b" ",
        b"exception",
        b"x" * 200,
        b"caf\xe9",
        b"identity",
        b"[::1]",
    ),
]
STATUSES = [
    b"200 OK",
    b"204 No Content",
    b"304",
    b"101 Switching Protocols",
    b"100 Continue",
    b"500 ",
    b"099 x",
    b"1000 x",
]
SIZES = [
    b"0",
    b"3",
    b"a",
    b"A",
    b"03",
    b"0x3",
    b"-1",
    b"+3",
    b" 3",
    b"3 ",
    b"3;a=b",
    b'3;a="b"',
    b"f" * 17,
    b"",
    b"3\t",
]


def request(random: Random) -> bytes:
    """A head, and what may come after it."""
    line = b" ".join(map(random.choice, ((METHODS, TARGETS, VERSIONS) if random.random() < 0.3 else SOUND)))
    head = mutated(line + fields(random) + b"\r\n\r\n", random)
    return head + random.choice((b"", b"3\r\nabc\r\n0\r\n\r\n", b"GET / "))


def response(random: Random) -> bytes:
    """A head without the empty line that ends it."""
    version = random.choice((b"HTTP/1.1 ",) * 6 + (b"HTTP/1.0 ", b"HTTP/2 ", b""))
    return mutated(version + random.choice(STATUSES) + fields(random), random)


def body(random: Random) -> bytes:
    """In chunks, and what may come after it."""
    pieces = [chunk(random) for _ in range(random.choice((0, 1, 2, 3)))]
    end = random.choice((LAST_CHUNK, LAST_CHUNK, b"0\r\nX-Trailer: 1\r\n\r\n", b"0\r\nContent-Length: 3\r\n\r\n", b""))
    return mutated(b"".join(pieces) + end, random) + random.choice((b"", b"GET / "))


def chunk(random: Random) -> bytes:
    size, data = random.choice(((b"3", b"abc"), (b"A", b"abcdefghij"), (b"3;a=b", b"a\r\n")))
    if random.random() < 0.2:
        size = random.choice(SIZES)
    return size + b"\r\n" + data + random.choice((b"\r\n",) * 19 + (b"\n",))


def mutated(data: bytes, random: Random) -> bytes:
    """Mostly a little, sometimes not at all."""
    for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
        at = random.randrange(len(data) + 1)
        to = min(len(data), at + random.choice((0, 1, 1, 2, 5)))
        match random.randrange(4):
            case 0:
                data = data[:at] + random.choice(SPECIAL_BYTES) + data[to:]
            case 1:
                data = data[:at] + data[to:]
            case 2:
                data = data[:to] + data[at:]
            case _:
                data = data[:at] + bytes([random.randrange(256)]) + data[at:]
    return data


def fields(random: Random) -> bytes:
    lines = [
        random.choice(NAMES) + random.choice((b": ",) * 15 + (b":", b" : ", b":\t")) + random.choice(VALUES)
        for _ in range(random.choice((0, 1, 2, 3, 5)))
    ]
    if random.random() < 0.9:
        lines.insert(random.randrange(len(lines) + 1), b"Host: a")
    return b"".join(random.choice((b"\r\n",) * 60 + (b"\n", b"\r\n ")) + line for line in lines)
