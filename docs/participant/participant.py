"""A service that joins the cascade: copy it, and put your own store in the place of the two dictionaries.

    python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. \\
        proto/tenantry/participant/v1/participant.proto
    python docs/participant/participant.py 127.0.0.1:7001

Needs grpcio and protobuf. Tell Tenantry of it: --participants documents=http://127.0.0.1:7001.
"""

import sys
import threading
from concurrent import futures

import grpc
from tenantry.participant.v1 import participant_pb2 as pb
from tenantry.participant.v1 import participant_pb2_grpc as rpc

LETS_READ = (pb.STATE_ACTIVE, pb.STATE_READ_ONLY)


class Documents(rpc.ParticipantServicer):
    """Tenants by uid, and their documents. Keep the tenant's row in the same transaction as your data."""

    def __init__(self):
        self._lock = threading.Lock()
        self._tenants = {}  # uid: (state, generation)
        self._documents = {}  # uid: list of texts

    def read(self, uid):
        """What the service's own clients call. Whatever lets a client in asks the tenant's state first."""
        with self._lock:
            if self._state(uid) not in LETS_READ:
                raise PermissionError("the tenant is locked out")
            return list(self._documents.get(uid, []))

    def write(self, uid, text):
        with self._lock:
            if self._state(uid) != pb.STATE_ACTIVE:
                raise PermissionError("the tenant may not write")
            self._documents.setdefault(uid, []).append(text)

    def _state(self, uid):
        return self._tenants.get(uid, (pb.STATE_UNSPECIFIED, 0))[0]

    def Apply(self, request, context):  # noqa: N802
        """A generation older than one applied is refused for good; the same one again changes nothing; and when this
        answers, it is done."""
        uid = request.tenant.uid
        if not uid:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "tenant.uid must be set")
        if request.desired == pb.STATE_UNSPECIFIED:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "desired must be a state")
        with self._lock:
            state, generation = self._tenants.get(uid, (pb.STATE_UNSPECIFIED, 0))
            if generation > request.generation:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "a newer change was applied already")
            if request.desired == pb.STATE_DELETED:
                # Forgetting the tenant altogether is the best proof: Observe answers that it was never heard of.
                self._documents.pop(uid, None)
                self._tenants.pop(uid, None)
            else:
                self._tenants[uid] = (request.desired, request.generation)
            return pb.ApplyResponse(changed=state != request.desired)

    def Observe(self, request, context):  # noqa: N802
        """Answer what a client of yours would now get, not what you remember of the last Apply."""
        uid = request.tenant.uid
        if not uid:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "tenant.uid must be set")
        with self._lock:
            state, generation = self._tenants.get(uid, (pb.STATE_UNSPECIFIED, 0))
            return pb.ObserveResponse(state=state, generation=generation)


def serve(address):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    rpc.add_ParticipantServicer_to_server(Documents(), server)
    port = server.add_insecure_port(address)
    if not port:
        sys.exit(f"{address} cannot be used")
    server.start()
    print(f"serving on port {port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    serve(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7001")
