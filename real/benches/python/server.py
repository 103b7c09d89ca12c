"""The service of `rehearsal.proto` and health checks, as grpcio and NumPy do them.

    server.py PROTO_FOLDER PORT THREADS
"""

import sys
import tempfile
from concurrent import futures

import grpc
import numpy as np
from grpc_tools import protoc


def compile_protos(folder):
    """The modules of the .proto files in `folder`: messages and services."""
    generated = tempfile.mkdtemp()
    names = ["rehearsal", "health"]
    files = [f"{folder}/{name}.proto" for name in names]
    failed = protoc.main(
        ["protoc", f"-I{folder}", f"--python_out={generated}", f"--grpc_python_out={generated}", *files]
    )
    if failed:
        sys.exit(f"cannot compile {files}")
    sys.path.insert(0, generated)
    return [__import__(f"{name}_pb2{kind}") for name in names for kind in ("", "_grpc")]


def sobel(image):
    """min(255, floor(sqrt(gx^2 + gy^2))), the nearest pixel repeated beyond the border."""
    padded = np.pad(image, 1, mode="edge").astype(np.int16)
    smooth_down = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    smooth_across = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    gx = (smooth_down[:, 2:] - smooth_down[:, :-2]).astype(np.float32)
    gy = (smooth_across[2:] - smooth_across[:-2]).astype(np.float32)
    # Exact: the squares' sum is below 2^24, so its root is never rounded up to a whole number.
    return np.minimum(np.sqrt(gx * gx + gy * gy), 255).astype(np.uint8)


def main(folder, port, threads):
    messages, services, health_messages, health_services = compile_protos(folder)

    class Rehearsal(services.RehearsalServicer):
        def ProcessImage(self, request, context):
            image = request.image
            pixels = np.frombuffer(image.pixels, dtype=np.uint8).reshape(image.height, image.width)
            edges = messages.Image(width=image.width, height=image.height, pixels=sobel(pixels).tobytes())
            return messages.ProcessImageReply(image=edges)

    class Health(health_services.HealthServicer):
        def Check(self, request, context):
            return health_messages.HealthCheckResponse(status=health_messages.HealthCheckResponse.SERVING)

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=int(threads)))
    services.add_RehearsalServicer_to_server(Rehearsal(), server)
    health_services.add_HealthServicer_to_server(Health(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
