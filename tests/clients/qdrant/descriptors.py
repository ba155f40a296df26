"""Writes the description of Qdrant's API that its own client carries, as one descriptor set."""

import sys

from google.protobuf import descriptor_pb2, timestamp_pb2
from qdrant_client.grpc import (
    collections_pb2,
    collections_service_pb2,
    json_with_int_pb2,
    points_pb2,
    points_service_pb2,
    qdrant_common_pb2,
    qdrant_pb2,
    snapshots_service_pb2,
)

files = descriptor_pb2.FileDescriptorSet()
for module in (
    timestamp_pb2,
    json_with_int_pb2,
    qdrant_common_pb2,
    collections_pb2,
    points_pb2,
    collections_service_pb2,
    points_service_pb2,
    snapshots_service_pb2,
    qdrant_pb2,
):
    module.DESCRIPTOR.CopyToProto(files.file.add())
sys.stdout.buffer.write(files.SerializeToString())
