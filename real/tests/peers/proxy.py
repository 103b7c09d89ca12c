"""A TCP proxy of the loopback device that can lose all packets of the connections that it has.

    proxy.py PORT

PORT is that of the server behind it. The first line of its output is {"port": PORT}, where it listens. On a line `hole` on its
standard input the connections that are open become half-open: both ends keep them, and what is sent over them vanishes, as behind
a firewall that has dropped its state. New connections work. It answers with {"holes": CONNECTIONS}. It ends when its
standard input does.
"""

import asyncio
import json
import os
import sys


class Connection:
    """Two sockets, and whether what comes from them is passed on."""

    def __init__(self):
        self.is_half_open = False

    async def pass_on(self, reader, writer):
        try:
            while data := await reader.read(65536):
                if not self.is_half_open:
                    writer.write(data)
                    await writer.drain()
            # The end of a connection vanishes like its data.
            if not self.is_half_open:
                writer.close()
        except ConnectionError:
            writer.close()


async def main(upstream):
    # With their sockets, which Python would close otherwise.
    connections = []

    async def accept(reader, writer):
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", int(upstream))
        connection = Connection()
        connections.append((connection, writer, up_writer))
        await asyncio.gather(connection.pass_on(reader, up_writer), connection.pass_on(up_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        if line.strip() != "hole":
            sys.exit(f"unknown command {line!r}")
        for connection, _, _ in connections:
            connection.is_half_open = True
        print(json.dumps({"holes": len(connections)}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
