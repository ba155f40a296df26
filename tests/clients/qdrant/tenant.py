"""An ordinary client: Qdrant's own, with a tenant's token. Prints what it met.

Arguments: port, token, the name by which it calls its collection.
"""

import sys

import grpc
from qdrant_client import QdrantClient, models

port, token, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
client = QdrantClient(
    host="127.0.0.1",
    grpc_port=port,
    prefer_grpc=True,
    https=False,
    api_key=token,
    check_compatibility=False,
)
try:
    client.upsert(
        name, [models.PointStruct(id=1, vector=[1.0, 0.0, 0.0, 0.0], payload={"title": "budget"})], wait=True
    )
    found = client.query_points(name, query=[1.0, 0.0, 0.0, 0.0], limit=1, with_payload=True).points
    print("served", found[0].id, found[0].payload["title"])
except grpc.RpcError as error:
    print("refused", error.code().name)
