"""The workload functions of kernel, implemented again from their descriptions, in plain Python.

Sobel is that of `kernel/src/workload/sobel/gradient.rs`; the graph and its search are those of
`kernel/src/workload/dfs/graph.rs`. The random numbers of a graph are defined by three public specifications: ChaCha with 8
rounds, PCG32 for the key from a seed of 64 bits, and a multiplication for a number below a bound (Canon).
"""

import math
import struct

MASK32 = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF

DATA = b"data of the backend"


def sobel(width, height, pixels):
    """min(255, floor(sqrt(gx^2 + gy^2))) of each pixel; the nearest pixel repeats beyond the border."""

    def at(x, y):
        return pixels[min(max(y, 0), height - 1) * width + min(max(x, 0), width - 1)]

    edges = bytearray()
    for y in range(height):
        for x in range(width):
            gx = sum(w * (at(x + 1, y + d) - at(x - 1, y + d)) for d, w in ((-1, 1), (0, 2), (1, 1)))
            gy = sum(w * (at(x + d, y + 1) - at(x + d, y - 1)) for d, w in ((-1, 1), (0, 2), (1, 1)))
            edges.append(min(255, math.isqrt(gx * gx + gy * gy)))
    return bytes(edges)


def tiles(width, height, pixels, count):
    """The first row, the height and the pixels of each of `count` bands of `pixels`, and of at most one for each row.

    Band number N begins with the row `height * N / count`, rounded down.
    """
    count = min(count, height)
    starts = [height * index // count for index in range(count + 1)]
    return [(row, end - row, pixels[row * width : end * width]) for row, end in zip(starts, starts[1:])]


def chacha8(seed):
    """The 32-bit words of ChaCha8 with the key that PCG32 expands `seed` to, and with nonce 0."""
    key = []
    state = seed
    for _ in range(8):
        state = (state * 6364136223846793005 + 11634580027462260723) & MASK64
        mixed = (((state >> 18) ^ state) >> 27) & MASK32
        turn = state >> 59
        key.append(((mixed >> turn) | (mixed << (32 - turn))) & MASK32)
    constants = list(struct.unpack("<4I", b"expand 32-byte k"))
    counter = 0
    while True:
        initial = constants + key + [counter & MASK32, counter >> 32, 0, 0]
        block = initial[:]
        for _ in range(4):
            for column in range(4):
                quarter_round(block, column, column + 4, column + 8, column + 12)
            for column in range(4):
                quarter_round(block, column, (column + 1) % 4 + 4, (column + 2) % 4 + 8, (column + 3) % 4 + 12)
        for word, start in zip(block, initial):
            yield (word + start) & MASK32
        counter += 1


def quarter_round(block, a, b, c, d):
    for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        block[x] = (block[x] + block[y]) & MASK32
        mixed = block[z] ^ block[x]
        block[z] = ((mixed << turn) | (mixed >> (32 - turn))) & MASK32


def below(bound, words):
    """A number from 0 to `bound` - 1."""
    product = next(words) * bound
    result, low = product >> 32, product & MASK32
    if low > -bound & MASK32:
        result += low + (next(words) * bound >> 32) > MASK32
    return result


def neighbours(nodes, edges, seed):
    """The neighbours of each node, in the order of the edges: first a tree, then edges between random pairs."""
    words = chacha8(seed)
    lists = [[] for _ in range(nodes)]
    for edge in range(edges):
        if edge < nodes - 1:
            one = edge + 1
            other = below(edge + 1, words)
        else:
            one = below(nodes, words)
            other = below(nodes - 1, words)
            other += other >= one
        lists[one].append(other)
        lists[other].append(one)
    return lists


def search(nodes, edges, seed, start):
    """The nodes in the order in which a depth-first search from `start` comes to them."""
    lists = neighbours(nodes, edges, seed)
    order = [start]
    reached = {start}
    path = [iter(lists[start])]
    while path:
        node = next(path[-1], None)
        if node is None:
            path.pop()
        elif node not in reached:
            reached.add(node)
            order.append(node)
            path.append(iter(lists[node]))
    return order


def content(path):
    """Returns the bytes of a file; None without one."""
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()
