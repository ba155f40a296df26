"""A service that joins the cascade: copy it, and put your own store in the place of the two dictionaries.

    python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. \\
        proto/tenantry/participant/v1/participant.proto
    python docs/participant/participant.py 127.0.0.1:7001

Needs grpcio and protobuf. Tell Tenantry of it: --participants documents=http://127.0.0.1:7001. With a certificate, a key
and the authority of those who may call, it speaks mutual TLS:

    python docs/participant/participant.py 127.0.0.1:7001 server.crt server.key authority.crt
"""

import sys
import threading
from concurrent import futures

import grpc
from tenantry.participant.v1 import participant_pb2 as pb
from tenantry.participant.v1 import participant_pb2_grpc as rpc

LETS_READ = (pb.STATE_ACTIVE, pb.STATE_READ_ONLY)
STATES = (pb.STATE_ACTIVE, pb.STATE_READ_ONLY, pb.STATE_SUSPENDED, pb.STATE_ARCHIVED, pb.STATE_DELETED)
NEVER_SEEN = (pb.STATE_UNSPECIFIED, 0, None)
METRIC = "documents"  # the metric of the tenants' limits that this service keeps; it leaves the others alone


class Documents(rpc.ParticipantServicer):
    """Tenants by uid, and their documents. Keep the tenant's row in the same transaction as your data."""

    def __init__(self):
        self._lock = threading.Lock()
        self._tenants = {}  # uid: (state, generation, most documents or None); stays when the tenant is deleted
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
            documents, most = self._documents.setdefault(uid, []), self._tenants[uid][2]
            if most is not None and len(documents) >= most:
                raise OverflowError("the tenant has all the documents that it may have")
            documents.append(text)

    def _state(self, uid):
        return self._tenants.get(uid, NEVER_SEEN)[0]

    def Apply(self, request, context):  # noqa: N802
        """Rule 1: a generation older than one applied is refused for good, the same one again changes nothing, and when
        this answers, it is done. Rule 7: limits come with a generation, also one of the same state."""
        uid, limits = uid_of(request, context), request.tenant.limits
        most = limits[METRIC] if METRIC in limits else None  # what is not in it is unlimited
        # The wire lets any number through.
        if request.desired not in STATES:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "desired must be a state")
        if request.generation < 1:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "generation must be 1 or more")
        with self._lock:
            state, generation, most_before = self._tenants.get(uid, NEVER_SEEN)
            if generation > request.generation:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "a newer change was applied already")
            if generation == request.generation and state != request.desired:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "this generation is of another state")
            if state == pb.STATE_DELETED and request.desired != pb.STATE_DELETED:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the tenant's data is gone for good")
            if generation == request.generation:
                return pb.ApplyResponse(changed=False)
            if request.desired == pb.STATE_DELETED:
                self._documents.pop(uid, None)
            # Of a deleted tenant too: it is by this that a late call for it is refused.
            self._tenants[uid] = (request.desired, request.generation, most)
            return pb.ApplyResponse(changed=(state, most_before) != (request.desired, most))

    def Observe(self, request, context):  # noqa: N802
        """Rule 2: answer what a client of yours would now get, not what you remember of the last Apply."""
        uid = uid_of(request, context)
        with self._lock:
            desired, generation, _ = self._tenants.get(uid, NEVER_SEEN)
            state = desired
            if state == pb.STATE_DELETED and uid in self._documents:
                state = pb.STATE_ARCHIVED
            return pb.ObserveResponse(state=state, generation=generation, desired=desired)


def uid_of(request, context):
    """Rule 4: an id can be used again after its tenant was purged, a uid never."""
    if not request.tenant.uid:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "tenant.uid must be set")
    return request.tenant.uid


def credentials(certificate, key, authority):
    """Shows the certificate, and lets in who shows one of the authority."""

    def pem(path):
        with open(path, "rb") as file:
            return file.read()

    return grpc.ssl_server_credentials(
        [(pem(key), pem(certificate))], root_certificates=pem(authority), require_client_auth=True
    )


def serve(address, *tls):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    rpc.add_ParticipantServicer_to_server(Documents(), server)
    port = server.add_secure_port(address, credentials(*tls)) if tls else server.add_insecure_port(address)
    if not port:
        sys.exit(f"{address} cannot be used")
    server.start()
    print(f"serving on port {port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    if len(sys.argv) not in (1, 2, 5):
        sys.exit("usage: participant.py [ADDRESS [CERTIFICATE KEY AUTHORITY]]")
    serve(*(sys.argv[1:] or ["127.0.0.1:7001"]))
