"""Makes pictures small: PNG of a screen in, PNG with a palette out."""

import collections
import struct
import zlib

COLOURS = 96
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def chunks(data):
    at = len(SIGNATURE)
    while at < len(data):
        size = struct.unpack(">I", data[at : at + 4])[0]
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def paeth(left, up, corner):
    near = left + up - corner
    distances = [(abs(near - left), left), (abs(near - up), up), (abs(near - corner), corner)]
    return min(distances, key=lambda it: it[0])[1]


def unfilter(kind, line, above, step):
    """The bytes of a line, in place."""
    if kind == 2:
        line[:] = bytes((a + b) & 255 for a, b in zip(line, above))
    elif kind:
        for at in range(len(line)):
            left = line[at - step] if at >= step else 0
            corner = above[at - step] if at >= step else 0
            guess = {1: left, 3: (left + above[at]) // 2, 4: paeth(left, above[at], corner)}[kind]
            line[at] = (line[at] + guess) & 255


def pixels(data):
    """Width, and the lines of a picture of 8 bits a channel, each a list of (red, green, blue)."""
    parts = collections.defaultdict(bytes)
    for kind, part in chunks(data):
        parts[kind] += part
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    assert depth == 8 and colour in (2, 6) and not interlaced
    step = 3 if colour == 2 else 4
    raw = zlib.decompress(parts[b"IDAT"])
    above, lines = bytearray(width * step), []
    for at in range(0, len(raw), width * step + 1):
        line = bytearray(raw[at + 1 : at + 1 + width * step])
        unfilter(raw[at], line, above, step)
        lines.append(list(zip(line[0::step], line[1::step], line[2::step])))
        above = line
    assert len(lines) == height
    return width, lines


def palette(lines):
    """Colours that are far enough from each other, the most frequent ones first."""
    counts = collections.Counter(pixel for line in lines for pixel in line)
    chosen = []
    for apart in (40, 20, 10, 4, 0):
        for colour, _ in counts.most_common():
            if len(chosen) == COLOURS:
                return chosen
            if all(sum(abs(a - b) for a, b in zip(colour, other)) > apart for other in chosen):
                chosen.append(colour)
    return chosen


def small(data):
    """The picture with few colours."""
    width, lines = pixels(data)
    colours = palette(lines)
    nearest = {}
    raw = bytearray()
    for line in lines:
        places = []
        for pixel in line:
            if pixel not in nearest:
                nearest[pixel] = min(
                    range(len(colours)),
                    key=lambda at: sum((a - b) ** 2 for a, b in zip(pixel, colours[at])),
                )
            places.append(nearest[pixel])
        raw.append(0)
        raw += bytes(places)
    head = struct.pack(">IIBBBBB", width, len(lines), 8, 3, 0, 0, 0)
    body = [
        chunk(b"IHDR", head),
        chunk(b"PLTE", bytes(value for colour in colours for value in colour)),
        chunk(b"IDAT", zlib.compress(bytes(raw), 9)),
        chunk(b"IEND", b""),
    ]
    return SIGNATURE + b"".join(body)
