"""Steers a proxy by toxiproxy-python of PyPI: toxiproxy_client.py http://HOST:PORT UPSTREAM."""

import socket
import sys
import time

from toxiproxy import Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound

host, port = sys.argv[1].removeprefix("http://").rsplit(":", 1)
upstream = sys.argv[2]
server = Toxiproxy()
server.update_api_consumer(host, int(port))


def round_trip(proxy, data=b"ping"):
    """Returns what comes back of `data` until the end, and after how many seconds."""
    address, own = proxy.listen.rsplit(":", 1)
    begun = time.monotonic()
    with socket.create_connection((address, int(own)), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        back = b""
        while more := connection.recv(65536):
            back += more
    return back, time.monotonic() - begun


def expect(what, holds):
    if not holds:
        sys.exit(f"error: toxiproxy-python: {what}")


expect("it runs", server.running() and b"version" in server.version())
expect("the proxy of the command line is there", list(server.proxies()) == ["web"])
web = server.get_proxy("web")
expect("bytes pass", round_trip(web)[0] == b"ping")
web.add_toxic(type="latency", name="late", attributes={"latency": 300})
expect("it is listed", web.get_toxic("late").attributes == {"latency": 300, "jitter": 0})
expect("answers are late", round_trip(web)[1] >= 0.3)
web.destroy_toxic("late")
expect("it is gone", web.get_toxic("late") is None)
web.add_toxic(type="limit_data", attributes={"bytes": 10})
expect("the limit holds", round_trip(web, b"x" * 1000)[0] == b"x" * 10)
expect("a reset", server.reset() and web.toxics() == {})
try:
    web.add_toxic(type="nothing")
    expect("a type that there is not is refused", False)
except InvalidToxic:
    pass
other = server.create(upstream=upstream, name="other")
expect("a new proxy passes bytes", round_trip(other)[0] == b"ping")
with other.down():
    try:
        round_trip(other)
        expect("a disabled proxy accepts nothing", False)
    except OSError:
        pass
expect("it accepts again", round_trip(other)[0] == b"ping")
populated = server.populate([{"name": "third", "upstream": upstream, "listen": "127.0.0.1:0"}])
expect("proxies are added", [proxy.name for proxy in populated] == ["third"])
for name in ("other", "third"):
    server.destroy(server.get_proxy(name))
try:
    other.toxics()
    expect("a proxy that is gone is not found", False)
except NotFound:
    pass
print("toxiproxy-python: 2 proxies added and removed, 3 toxics, a reset: as with toxiproxy")
