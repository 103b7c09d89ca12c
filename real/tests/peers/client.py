"""A grpcio client that calls kernel's service as `real load` does.

    client.py STUBS SETTINGS

STUBS is the folder of the generated modules. SETTINGS is a JSON object:

* `target`: the target of the channel, such as "ipv4:127.0.0.1:50051,127.0.0.1:50052".
* `service_config`: the service config as an object; null for none.
* `rate`: calls per second, whether or not they are answered; null for one call after the other.
* `calls`: the number of calls after which it ends; null for one that ends when its standard input does.
* `deadline_s`: the deadline of a call; null for that of the service config.
* `tiles`: the number of tiles in which replies stream, only with calls one after the other; null for replies of one message.
* `channel`: options of the channel, such as {"grpc.keepalive_time_ms": 1000}.
* `tls`: {"ca": FILE} of the authority of servers, in PEM, and with "cert" and "key" what the client shows; without it nothing is encrypted.
* `first_id`: the request id of the first call.
* `log`: the file to append {"id": NUMBER, "status": STATUS, "details": MESSAGE} to for each call, as it ends; with tiles, there
  is "stream": {"messages": COUNT}, too. Calls are numbered from 0 in the order in which they are sent.

Its output is the counts of the statuses as JSON. When its standard input ends it sends no more calls, and waits for those that
it has sent.
"""

import json
import sys
import threading
import time
from collections import Counter

import grpc

import workloads

SIDE = 8


def open_channel(settings, options):
    tls = settings.get("tls")
    if tls is None:
        return grpc.insecure_channel(settings["target"], options=options)
    ca, key, cert = (workloads.content(tls.get(part)) for part in ("ca", "key", "cert"))
    return grpc.secure_channel(settings["target"], grpc.ssl_channel_credentials(ca, key, cert), options=options)


def main(stubs, settings):
    sys.path.insert(0, stubs)
    import rehearsal_pb2
    import rehearsal_pb2_grpc

    settings = json.loads(settings)
    options = [("grpc.use_local_subchannel_pool", 1), *settings.get("channel", {}).items()]
    if settings.get("service_config") is not None:
        options.append(("grpc.service_config", json.dumps(settings["service_config"])))
    pixels = bytes(37 * n % 256 for n in range(SIDE * SIDE))
    wanted = workloads.sobel(SIDE, SIDE, pixels)
    image = rehearsal_pb2.Image(width=SIDE, height=SIDE, pixels=pixels)

    stop = threading.Event()

    def end_with_input():
        sys.stdin.read()
        stop.set()

    threading.Thread(target=end_with_input, daemon=True).start()
    log = open(settings["log"], "a", encoding="utf-8")
    lock = threading.Condition()
    ended = {}

    def end(number, call, is_right, **more):
        status = call.code().name
        if status == "OK" and not is_right():
            status = "WRONG_ANSWER"
        with lock:
            ended[number] = status
            log.write(json.dumps({"id": number, "status": status, "details": call.details(), **more}) + "\n")
            log.flush()
            lock.notify()

    def stream(stub, number, request_id, timeout):
        request = rehearsal_pb2.ProcessImagesRequest(request_id=request_id, tiles=settings["tiles"], image=image)
        replies = stub.ProcessImages(request, timeout=timeout)
        found = []
        try:
            for tile in replies:
                found.append((tile.row, tile.image.height, tile.image.pixels))
        except grpc.RpcError:
            pass
        tiles = workloads.tiles(SIDE, SIDE, wanted, settings["tiles"])
        end(number, replies, lambda: found == tiles, stream={"messages": len(found)})

    def call(stub, number, request_id, timeout):
        request = rehearsal_pb2.ProcessImageRequest(request_id=request_id, image=image)
        future = stub.ProcessImage.future(request, timeout=timeout)
        future.add_done_callback(lambda done: end(number, done, lambda: done.result().image.pixels == wanted))

    sent = 0
    with open_channel(settings, options) as channel:
        stub = rehearsal_pb2_grpc.RehearsalStub(channel)
        begun = time.monotonic()
        while not stop.is_set() and sent != settings.get("calls"):
            if settings.get("rate"):
                stop.wait(begun + sent / settings["rate"] - time.monotonic())
                if stop.is_set():
                    break
            make = stream if settings.get("tiles") else call
            make(stub, sent, settings.get("first_id", 0) + sent, settings.get("deadline_s"))
            sent += 1
            if not settings.get("rate"):
                with lock:
                    lock.wait_for(lambda: len(ended) == sent)
        with lock:
            lock.wait_for(lambda: len(ended) == sent)
    print(json.dumps(Counter(ended.values())), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
