"""Python stubs of the services, made from proto/ at the moment they are needed: nothing generated is kept."""

import importlib
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

PROTO = Path(__file__).resolve().parents[2] / "proto"
SERVICES = {
    "TenantRegistry": "tenant_registry",
    "Tiers": "tiers",
    "FeatureFlags": "feature_flags",
    "Lifecycle": "lifecycle",
    "TenantHealth": "tenant_health",
}


def generate(folder):
    """Compiles our files only. Google's own come from googleapis-common-protos, as with every Python client, so this
    also shows that our copies of them agree with the originals."""
    files = sorted(str(file) for file in (PROTO / "tenantry" / "v1").glob("*.proto"))
    builtin = Path(grpc_tools.__file__).parent / "_proto"
    failed = protoc.main(
        ["protoc", f"-I{PROTO}", f"-I{builtin}", f"--python_out={folder}", f"--grpc_python_out={folder}", *files]
    )
    if failed:
        sys.exit("the stubs cannot be generated from proto/")


class Contract:
    """The generated modules: `pb.Tenant` is a message or an enum, `stub(channel, "Tiers")` a client."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="tenantry-stubs-")
        generate(self._folder.name)
        sys.path.insert(0, self._folder.name)
        names = ["access", "tenant", *SERVICES.values()]
        self._messages = [importlib.import_module(f"tenantry.v1.{name}_pb2") for name in names]

    def __getattr__(self, name):
        for module in self._messages:
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"proto/ has no {name}")

    def stub(self, channel, service):
        module = importlib.import_module(f"tenantry.v1.{SERVICES[service]}_pb2_grpc")
        return getattr(module, f"{service}Stub")(channel)
