"""Calls that probe a server of kernel's .proto files, one after the other, with grpcio.

    checks.py STUBS TARGET

Its output is a JSON object: what came of each check, a status or, of a call that is answered, whether the answer is right.
The server has to take 300 ms at least for a request, so that a deadline of 50 ms passes.
"""

import json
import sys

import grpc

import workloads

SERVICE = "/rehearsal.v1.Rehearsal/"
# As long as nothing goes wrong, no call takes this long on any machine.
PATIENCE_S = 30


def outcome(call):
    try:
        return call()
    except grpc.RpcError as error:
        return error.code().name


def main(stubs, target):
    sys.path.insert(0, stubs)
    import health_pb2
    import health_pb2_grpc
    import rehearsal_pb2
    import rehearsal_pb2_grpc

    def open_channel(*options, compression=None):
        return grpc.insecure_channel(
            target, options=[("grpc.use_local_subchannel_pool", 1), *options], compression=compression
        )

    def picture(width, height):
        pixels = bytes((31 * n * n + 7 * n) % 256 for n in range(width * height))
        return rehearsal_pb2.Image(width=width, height=height, pixels=pixels)

    def sobel(channel, width=8, height=8, timeout=PATIENCE_S, metadata=None):
        image = picture(width, height)
        request = rehearsal_pb2.ProcessImageRequest(image=image)
        stub = rehearsal_pb2_grpc.RehearsalStub(channel)
        reply = stub.ProcessImage(request, timeout=timeout, metadata=metadata).image
        edges = workloads.sobel(width, height, image.pixels)
        is_right = (reply.width, reply.height, reply.pixels) == (width, height, edges)
        return "right" if is_right else "wrong"

    def tiles(channel, width, height, count):
        """Whether the tiles are those of the image, in their order, and together the result that is one message."""
        image = picture(width, height)
        stub = rehearsal_pb2_grpc.RehearsalStub(channel)
        request = rehearsal_pb2.ProcessImagesRequest(image=image, tiles=count)
        replies = list(stub.ProcessImages(request, timeout=PATIENCE_S))
        found = [(reply.row, reply.image.height, reply.image.pixels) for reply in replies]
        edges = workloads.sobel(width, height, image.pixels)
        is_right = found == workloads.tiles(width, height, edges, count)
        whole = stub.ProcessImage(rehearsal_pb2.ProcessImageRequest(image=image), timeout=PATIENCE_S).image.pixels
        is_right &= b"".join(reply.image.pixels for reply in replies) == whole
        return "right" if is_right and all(reply.image.width == width for reply in replies) else "wrong"

    def tiles_of(channel, **request):
        request = rehearsal_pb2.ProcessImagesRequest(**request)
        replies = rehearsal_pb2_grpc.RehearsalStub(channel).ProcessImages(request, timeout=PATIENCE_S)
        return f"{len(list(replies))} tiles"

    def search(channel, nodes, edges, seed, start):
        graph = rehearsal_pb2.Graph(nodes=nodes, edges=edges, seed=seed)
        request = rehearsal_pb2.SearchGraphRequest(graph=graph, start=start)
        reply = rehearsal_pb2_grpc.RehearsalStub(channel).SearchGraph(request, timeout=PATIENCE_S)
        return "right" if list(reply.order) == workloads.search(nodes, edges, seed, start) else "wrong"

    def raw(channel, path, messages):
        """The status of a call with these messages, as bytes, whatever the method says."""
        call = channel.stream_unary(path)
        call(iter(messages), timeout=PATIENCE_S)
        return "OK"

    def raw_tiles(channel, messages):
        replies = channel.stream_stream(SERVICE + "ProcessImages")(iter(messages), timeout=PATIENCE_S)
        return f"{len(list(replies))} tiles"

    def health(channel, service):
        request = health_pb2.HealthCheckRequest(service=service)
        reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=PATIENCE_S)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)

    def watch(channel, service):
        request = health_pb2.HealthCheckRequest(service=service)
        replies = health_pb2_grpc.HealthStub(channel).Watch(request, timeout=PATIENCE_S)
        reply = next(replies)
        replies.cancel()
        return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)

    def cancelled(channel):
        request = rehearsal_pb2.ProcessImageRequest(image=picture(8, 8))
        call = rehearsal_pb2_grpc.RehearsalStub(channel).ProcessImage.future(request, timeout=PATIENCE_S)
        call.cancel()
        return call.code().name

    def cancelled_in_mid_stream(channel):
        request = rehearsal_pb2.ProcessImagesRequest(image=picture(8, 8), tiles=8)
        replies = rehearsal_pb2_grpc.RehearsalStub(channel).ProcessImages(request, timeout=PATIENCE_S)
        next(replies)
        replies.cancel()
        return replies.code().name

    def many(channel):
        request = rehearsal_pb2.GetDataRequest()
        stub = rehearsal_pb2_grpc.RehearsalStub(channel)
        calls = [stub.GetData.future(request, timeout=PATIENCE_S) for _ in range(100)]
        return "right" if all(call.result().data == workloads.DATA for call in calls) else "wrong"

    def with_channel(check, *options, compression=None):
        with open_channel(*options, compression=compression) as channel:
            return check(channel)

    one = rehearsal_pb2.ProcessImageRequest(image=picture(8, 8)).SerializeToString()
    four_tiles = rehearsal_pb2.ProcessImagesRequest(image=picture(8, 8), tiles=4).SerializeToString()
    checks = {
        "sobel 8x8": lambda channel: sobel(channel),
        "sobel 1x1": lambda channel: sobel(channel, 1, 1),
        "sobel 3x2": lambda channel: sobel(channel, 3, 2),
        "sobel 67x41": lambda channel: sobel(channel, 67, 41),
        "tiles of 67x41": lambda channel: tiles(channel, 67, 41, 8),
        "as many tiles as rows": lambda channel: tiles(channel, 5, 7, 256),
        "one tile": lambda channel: tiles(channel, 8, 8, 1),
        "no tiles": lambda channel: tiles_of(channel, image=picture(8, 8), tiles=0),
        "tiles of no image": lambda channel: tiles_of(channel, tiles=2),
        "two messages that ask for tiles": lambda channel: raw_tiles(channel, [four_tiles, four_tiles]),
        "no message that asks for tiles": lambda channel: raw_tiles(channel, []),
        "cancelled in mid-stream": cancelled_in_mid_stream,
        "search of a tree": lambda channel: search(channel, 50, 49, 7, 0),
        "search of a graph": lambda channel: search(channel, 200, 900, 2**64 - 1, 199),
        "search from no node": lambda channel: search(channel, 10, 20, 1, 10),
        "data": many,
        "health": lambda channel: health(channel, ""),
        "health of the service": lambda channel: health(channel, "rehearsal.v1.Rehearsal"),
        "health of another service": lambda channel: health(channel, "another.Service"),
        "watch": lambda channel: watch(channel, ""),
        "watch of another service": lambda channel: watch(channel, "another.Service"),
        "deadline": lambda channel: sobel(channel, timeout=0.05),
        "cancelled": cancelled,
        "unknown method": lambda channel: raw(channel, SERVICE + "Unknown", [b""]),
        "unknown service": lambda channel: raw(channel, "/another.Service/Unknown", [b""]),
        "a path without a method": lambda channel: raw(channel, "/rehearsal.v1.Rehearsal", [b""]),
        "no message": lambda channel: raw(channel, SERVICE + "ProcessImage", []),
        "two messages": lambda channel: raw(channel, SERVICE + "ProcessImage", [one, one]),
        "no protobuf": lambda channel: raw(channel, SERVICE + "ProcessImage", [b"\xff\xff\xff"]),
        "an empty message": lambda channel: raw(channel, SERVICE + "ProcessImage", [b""]),
        "unknown fields": lambda channel: raw(channel, SERVICE + "ProcessImage", [one + b"\xfa\x7f\x01x"]),
        "a message that is too large": lambda channel: raw(channel, SERVICE + "ProcessImage", [bytes(17 * 1024 * 1024)]),
        "metadata": lambda channel: sobel(channel, metadata=(("x-text", "a"), ("x-text", "b"), ("x-bin", b"\0\xff"))),
        "6 KiB of metadata": lambda channel: sobel(channel, metadata=(("x-large", "v" * 6 * 1024),)),
    }
    outcomes = {name: outcome(lambda: with_channel(check)) for name, check in checks.items()}
    # The third is that of the target ipv4:127.0.0.1:1,127.0.0.1:2.
    authorities = [
        "rehearsal",
        "example.org:80",
        "127.0.0.1:1%2C127.0.0.1:2",
        "127.0.0.1:1,127.0.0.1:2",
        "[::1]:1",
        "a_b~!$&'()*+;=",
    ]
    for authority in authorities:
        option = ("grpc.default_authority", authority)
        outcomes[f"authority {authority}"] = outcome(lambda: with_channel(sobel, option))
    for compression in [grpc.Compression.Gzip, grpc.Compression.Deflate]:
        outcomes[f"compression {compression.name}"] = outcome(lambda: with_channel(sobel, compression=compression))
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
