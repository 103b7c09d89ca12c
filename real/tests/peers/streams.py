"""A grpcio client that leaves streams of tiles in the middle.

    streams.py STUBS TARGET

The server has one worker, which a stream occupies for ten seconds, and no other clients. The output is a JSON object:

* `cancelled`: the status of a stream that is cancelled after three of its tiles.
* `late`: the status of a stream with a deadline of three seconds, and `tiles`: how many tiles came before. It is served when the
  worker has left the first stream.
* `metrics`: the counters of the server after each of the two, from when no worker is occupied.
* `order`: whether the tiles of both had their places, and were those of the image.
"""

import json
import sys
import time

import grpc

import workloads

TILES = 100
# As long as nothing goes wrong, no call takes this long on any machine.
PATIENCE_S = 30


def main(stubs, target):
    sys.path.insert(0, stubs)
    import rehearsal_pb2
    import rehearsal_pb2_grpc

    pixels = bytes(41 * n % 256 for n in range(3 * TILES))
    image = rehearsal_pb2.Image(width=3, height=TILES, pixels=pixels)
    wanted = workloads.tiles(3, TILES, workloads.sobel(3, TILES, pixels), TILES)
    found = {"metrics": [], "order": True}

    def start(stub, number, timeout):
        return stub.ProcessImages(
            rehearsal_pb2.ProcessImagesRequest(request_id=number, image=image, tiles=TILES), timeout=timeout
        )

    def is_next(tile, number):
        return (tile.row, tile.image.height, tile.image.pixels) == wanted[number]

    def idle_metrics(stub):
        give_up = time.monotonic() + PATIENCE_S
        while True:
            metrics = stub.GetMetrics(rehearsal_pb2.GetMetricsRequest(), timeout=PATIENCE_S)
            if metrics.running == 0 or time.monotonic() > give_up:
                names = ["received", "finished", "refused", "invalid", "skipped", "cancelled", "aborted", "running", "queued"]
                return {name: getattr(metrics, name) for name in names}
            time.sleep(0.01)

    with grpc.insecure_channel(target) as channel:
        stub = rehearsal_pb2_grpc.RehearsalStub(channel)
        replies = start(stub, 0, PATIENCE_S)
        found["order"] &= all(is_next(next(replies), number) for number in range(3))
        replies.cancel()
        found["cancelled"] = replies.code().name
        found["metrics"].append(idle_metrics(stub))

        found["tiles"] = 0
        replies = start(stub, 1, 3)
        try:
            for number, tile in enumerate(replies):
                found["order"] &= is_next(tile, number)
                found["tiles"] += 1
        except grpc.RpcError:
            pass
        found["late"] = replies.code().name
        found["metrics"].append(idle_metrics(stub))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
