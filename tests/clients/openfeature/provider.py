"""OpenFeature's published providers for Python, driven line by line.

Reads commands in JSON from standard input and writes what the application would see, one line in JSON each.
"""

import json
import logging
import sys
import threading

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import CacheType, ResolverType
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent

lock = threading.Lock()


def say(**what):
    with lock:
        print(json.dumps(what), flush=True)


def provider(options):
    if options["kind"] == "ofrep":
        return OFREPProvider(f"http://{options['host']}:{options['port']}", timeout=5.0)
    kind = {"rpc": ResolverType.RPC, "in-process": ResolverType.IN_PROCESS}[options["kind"]]
    return FlagdProvider(
        host=options["host"],
        port=options["port"],
        resolver_type=kind,
        selector=options.get("selector"),
        cache=CacheType.LRU if options.get("cache") else CacheType.DISABLED,
        deadline_ms=options.get("deadline_ms", 10_000),
        retry_backoff_ms=100,
        retry_backoff_max_ms=500,
        retry_grace_period=options.get("grace_s", 30),
    )


def listen(domain):
    client = api.get_client(domain)
    for event in ProviderEvent:
        client.add_handler(
            event,
            lambda details, name=event.value: say(event=name, domain=domain, flags=details.flags_changed),
        )


class Told(logging.Handler):
    """Tells what the provider logs."""

    def __init__(self, domain):
        super().__init__(logging.WARNING)
        self.domain = domain

    def emit(self, record):
        say(event="LOGGED", domain=self.domain, text=record.getMessage())


def start(command):
    domain = command["domain"]
    if command.get("logs"):
        logging.getLogger("openfeature").addHandler(Told(domain))
    listen(domain)
    try:
        api.set_provider_and_wait(provider(command), domain)
        say(started=True)
    except Exception as error:
        say(started=False, error=str(error))


def get(command):
    client = api.get_client(command["domain"])
    attributes = dict(command.get("context", {}))
    context = EvaluationContext(attributes.pop("targetingKey", None), attributes)
    ask = getattr(client, f"get_{command['type']}_details")
    found = ask(command["flag"], command["default"], context)
    say(
        value=found.value,
        variant=found.variant,
        reason=found.reason,
        error=found.error_code,
        metadata=dict(found.flag_metadata or {}),
    )


for line in sys.stdin:
    command = json.loads(line)
    {"start": start, "get": get}[command["do"]](command)
