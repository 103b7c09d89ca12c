"""A caller that knows nothing of a server but its address: it asks for services, methods and messages by reflection, and calls one.

    reflection.py STUBS TARGET

grpcio's own client speaks grpc.reflection.v1alpha; the current package is asked with the generated modules. Its output is a JSON object.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "rehearsal.v1.Rehearsal"
# As long as nothing goes wrong, no call takes this long on any machine.
PATIENCE_S = 30


def ask_and_call(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    services = sorted(database.get_services())
    service = descriptor_pool.DescriptorPool(database).FindServiceByName(SERVICE)
    method = service.methods_by_name["GetData"]
    request, reply = (message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type))
    call = channel.unary_unary(
        f"/{service.full_name}/{method.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=reply.FromString,
    )
    data = call(request(request_id=7), timeout=PATIENCE_S).data
    return {"services": services, "methods": sorted(service.methods_by_name), "data": data.decode()}


def ask_v1(channel, stubs):
    sys.path.insert(0, stubs)
    import reflection_pb2
    import reflection_pb2_grpc

    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
        reflection_pb2.ServerReflectionRequest(file_by_filename="health.proto"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="another.Service"),
    ]
    replies = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(requests), timeout=PATIENCE_S)
    return [reply.WhichOneof("message_response") for reply in replies]


def main(stubs, target):
    with grpc.insecure_channel(target) as channel:
        print(json.dumps({**ask_and_call(channel), "v1": ask_v1(channel, stubs)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
