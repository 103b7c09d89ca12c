"""A grpcio server of kernel's .proto files, whose answers a script decides.

    server.py STUBS SETTINGS

STUBS is the folder of the generated modules. SETTINGS is a JSON object:

* `id`: the name of the server in its replies.
* `log`: the file to append a line of JSON to for each attempt, when it arrives.
* `script`: a list of lists of answers; without it each answer is "OK". Call number N has the list N modulo their number, where N
  is the request's id below `ids_per_client`. Its first attempt has the first answer of the list, and so on; the last one repeats.
  An answer is the name of a status, or an object with `status` and, optionally, `delay_ms` (before the answer), `pushback` (the
  value of grpc-retry-pushback-ms), `headers` (true: response headers are sent before the delay) and `message`. A reply in tiles
  has all of them before the status OK and none before another one, unless `tiles` is how many come before the status. With
  `wrong`, the last pixel of each tile is another one.
* `not_serving`: true for a server whose health service says NOT_SERVING at first, and which answers all the same. SIGUSR1 switches
  between that and SERVING.
* `no_health`: true for a server without a health service.
* `channel`: options of the server, such as {"grpc.max_connection_age_ms": 1500}.
* `tls`: {"cert": FILE, "key": FILE} of the server, in PEM, and with "ca" the authority of clients, which then have to show a certificate.
* `grace_s`: the time that calls under way have to end after SIGTERM.

The first line of its output is {"port": PORT}. SIGTERM ends it as gRPC servers end: GOAWAY, no new connections, the calls
under way end. It ends at once when its standard input ends.
"""

import json
import os
import signal
import sys
import threading
import time
from concurrent import futures

import grpc

import workloads

IDS_PER_CLIENT = 1_000_000


class Log:
    """The attempts as they arrive, and how many of each request there were."""

    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8") if path else None
        self.lock = threading.Lock()
        self.attempts = {}

    def arrived(self, method, request, context):
        """Returns the number of the attempt within its call, from 0, as this server counts."""
        metadata = dict(context.invocation_metadata())
        with self.lock:
            number = self.attempts.get(request, 0)
            self.attempts[request] = number + 1
            row = {
                "method": method,
                "request": request,
                "attempt": number,
                "previous": metadata.get("grpc-previous-rpc-attempts"),
                "user_agent": metadata.get("user-agent"),
                "peer": context.peer(),
            }
            if self.file:
                self.file.write(json.dumps(row) + "\n")
                self.file.flush()
        return number


class Script:
    """The answers to the attempts."""

    def __init__(self, lists):
        self.lists = lists or [["OK"]]

    def answer(self, request, attempt):
        answers = self.lists[request % IDS_PER_CLIENT % len(self.lists)]
        answer = answers[min(attempt, len(answers) - 1)]
        return {"status": answer} if isinstance(answer, str) else answer

    @staticmethod
    def begin(answer, context):
        """Does what comes before the messages of a reply."""
        if answer.get("headers"):
            # Not empty: gRPC's core turns default headers whose trailers are already there into trailers alone, which commit no call.
            context.send_initial_metadata((("began", "yes"),))
        if "delay_ms" in answer:
            time.sleep(answer["delay_ms"] / 1000)
        if "pushback" in answer:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", answer["pushback"]),))

    @staticmethod
    def end(answer, context):
        """Returns if the attempt is answered; otherwise ends it as the script says."""
        if answer["status"] != "OK":
            context.abort(grpc.StatusCode[answer["status"]], answer.get("message", "scripted"))


def main(stubs, settings):
    sys.path.insert(0, stubs)
    import health_pb2
    import health_pb2_grpc
    import rehearsal_pb2
    import rehearsal_pb2_grpc

    settings = json.loads(settings)
    log = Log(settings.get("log"))
    script = Script(settings.get("script"))
    served_by = rehearsal_pb2.ServedBy(server_id=settings.get("id", "server"))

    class Rehearsal(rehearsal_pb2_grpc.RehearsalServicer):
        def arrive(self, method, request, context):
            """Plays the answer up to the messages of its reply, and returns it."""
            attempt = log.arrived(method, request.request_id, context)
            answer = script.answer(request.request_id, attempt)
            script.begin(answer, context)
            return answer

        def edges_of(self, image, context):
            if not image.pixels or image.width * image.height != len(image.pixels):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the pixels are not those of an image")
            return workloads.sobel(image.width, image.height, image.pixels)

        def ProcessImage(self, request, context):
            script.end(self.arrive("ProcessImage", request, context), context)
            image = request.image
            edges = self.edges_of(image, context)
            reply = rehearsal_pb2.Image(width=image.width, height=image.height, pixels=edges)
            return rehearsal_pb2.ProcessImageReply(image=reply, served_by=served_by)

        def ProcessImages(self, request, context):
            answer = self.arrive("ProcessImages", request, context)
            if request.tiles == 0:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no tiles")
            width = request.image.width
            edges = self.edges_of(request.image, context)
            tiles = workloads.tiles(width, request.image.height, edges, request.tiles)
            for row, height, pixels in tiles[: answer.get("tiles", len(tiles) if answer["status"] == "OK" else 0)]:
                if answer.get("wrong"):
                    pixels = pixels[:-1] + bytes([pixels[-1] ^ 1])
                yield rehearsal_pb2.Tile(row=row, image=rehearsal_pb2.Image(width=width, height=height, pixels=pixels))
            script.end(answer, context)

        def SearchGraph(self, request, context):
            script.end(self.arrive("SearchGraph", request, context), context)
            graph = request.graph
            if graph.nodes < 2 or graph.edges < graph.nodes - 1 or request.start >= graph.nodes:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such graph, or no such node")
            order = workloads.search(graph.nodes, graph.edges, graph.seed, request.start)
            return rehearsal_pb2.SearchGraphReply(order=order, served_by=served_by)

        def GetData(self, request, context):
            script.end(self.arrive("GetData", request, context), context)
            return rehearsal_pb2.GetDataReply(data=workloads.DATA, served_by=served_by)

        def HealthCheck(self, request, context):
            return rehearsal_pb2.HealthCheckReply(healthy=True, server_id=served_by.server_id)

    served = ["", "rehearsal.v1.Rehearsal"]
    reply = health_pb2.HealthCheckResponse
    statuses = [reply.NOT_SERVING if settings.get("not_serving") else reply.SERVING]
    changed = threading.Condition()
    ended = threading.Event()

    class Health(health_pb2_grpc.HealthServicer):
        def Check(self, request, context):
            if request.service not in served:
                context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
            return reply(status=statuses[-1])

        def Watch(self, request, context):
            if request.service not in served:
                yield reply(status=reply.SERVICE_UNKNOWN)
            reported = 0
            while context.is_active() and not ended.is_set():
                if request.service in served and reported < len(statuses):
                    reported = len(statuses)
                    yield reply(status=statuses[-1])
                # The time is for the end of the call, which notifies nobody.
                with changed:
                    changed.wait_for(lambda: ended.is_set() or reported < len(statuses), timeout=0.1)

    options = list(settings.get("channel", {}).items()) + [("grpc.so_reuseport", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=128), options=options)
    rehearsal_pb2_grpc.add_RehearsalServicer_to_server(Rehearsal(), server)
    if not settings.get("no_health"):
        health_pb2_grpc.add_HealthServicer_to_server(Health(), server)
    tls = settings.get("tls")
    if tls is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        ca, key, cert = (workloads.content(tls.get(part)) for part in ("ca", "key", "cert"))
        credentials = grpc.ssl_server_credentials([(key, cert)], root_certificates=ca, require_client_auth=ca is not None)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    # Handled here in the main thread, which waits for it: a handler would interrupt any line of Python.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
    print(json.dumps({"port": port}), flush=True)

    def end_with_input():
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=end_with_input, daemon=True).start()
    while signal.sigwait([signal.SIGTERM, signal.SIGUSR1]) == signal.SIGUSR1:
        with changed:
            statuses.append(reply.SERVING if statuses[-1] == reply.NOT_SERVING else reply.NOT_SERVING)
            changed.notify_all()
    with changed:
        ended.set()
        changed.notify_all()
    server.stop(settings.get("grace_s", 10)).wait()
    # Not past the daemon thread that reads: the interpreter would wait for its lock.
    os._exit(0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
    main(*sys.argv[1:])
