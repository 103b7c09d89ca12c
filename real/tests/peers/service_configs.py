"""Says which service configs gRPC's core accepts, with grpcio installed.

    python service_configs.py FILE...        prints `accept` or `refuse` for each file, and what gRPC says
    python service_configs.py --agree DIR    compares with DIR/valid, DIR/refused and DIR/exceptions.json

Each config is given to a channel of its own as the option `grpc.service_config`, and a call is made to a server of this
process. A channel whose config is not valid refuses every call with INVALID_ARGUMENT, as it cannot be created. An exception is
a file, such as `valid/least_request`, on which gRPC's core differs, with the reason. With --agree the exit code is 1 if a
verdict differs without an exception, or an exception is not needed.
"""

import json
import pathlib
import sys
from concurrent import futures

import grpc

METHOD = "/rehearsal.Peer/Echo"
REFUSED = "Failed to create channel"


def echo(request, _context):
    return request


def start_server():
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("rehearsal.Peer", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def refusal(port, config):
    """Returns what gRPC says of a config that it refuses; None if it accepts it."""
    options = [("grpc.service_config", config), ("grpc.service_config_disable_resolution", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        try:
            # An empty message, which no limit of its size refuses.
            channel.unary_unary(METHOD)(b"", timeout=30)
        except grpc.RpcError as error:
            # Other errors are those of a balancer that lacks what it needs from the call: its config is accepted.
            if error.code() == grpc.StatusCode.INVALID_ARGUMENT and error.details().startswith(REFUSED):
                return error.details().split(":", 2)[-1]
        return None


def show(port, paths):
    for path in paths:
        said = refusal(port, pathlib.Path(path).read_text(encoding="utf-8"))
        print(f"accept {path}" if said is None else f"refuse {path}: {said}", flush=True)
    return 0


def agree(port, folder):
    exceptions = json.loads((folder / "exceptions.json").read_text(encoding="utf-8"))
    wrong = [f"{name}: there is no such file" for name in exceptions if not (folder / f"{name}.json").is_file()]
    count = 0
    for expected in ("valid", "refused"):
        for path in sorted((folder / expected).glob("*.json")):
            count += 1
            said = refusal(port, path.read_text(encoding="utf-8"))
            differs = (said is None) != (expected == "valid")
            if differs != (f"{expected}/{path.stem}" in exceptions):
                wrong.append(f"{expected}/{path.stem}: gRPC's core " + ("accepts it" if said is None else f"says {said}"))
    wrong.append(f"{count} configs, {len(exceptions)} exceptions, {len(wrong)} wrong with grpcio {grpc.__version__}")
    print("\n".join(wrong))
    return 1 if len(wrong) > 1 else 0


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    server, port = start_server()
    try:
        if sys.argv[1] == "--agree":
            return agree(port, pathlib.Path(sys.argv[2]))
        return show(port, sys.argv[1:])
    finally:
        server.stop(None)


if __name__ == "__main__":
    sys.exit(main())
