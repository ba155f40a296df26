"""Plays the scenario of `tenantry demo` with a client that shares no code with the server: generated Python stubs.

    python demo.py HOST:PORT

Ends with an error at the first answer that differs. Can be repeated against the same server: what an earlier run left
is brought back to where the story begins, and each run archives a legal department of its own.
"""

import itertools
import sys

import grpc
from google.protobuf import duration_pb2, field_mask_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from stubs import SERVICES, Contract

pb = Contract()

TARGETS = ["cache", "monitoring", "object-store", "postgres", "vector-db"]
# Longest time for one call, in seconds; above WAIT, which the server spends waiting for an operation.
DEADLINE = 30
WAIT = duration_pb2.Duration(seconds=20)

# id: rank, SLA target, support, time to keep, limits of users, documents and queries
TIERS = {
    "platinum": (30, 0.9999, "24/7", "CRITICAL", (100, 50_000, 10_000)),
    "gold": (20, 0.999, "business-hours", "STANDARD", (50, 8_000, 3_000)),
    "silver": (10, 0.99, "email-only", "RELAXED", (20, 2_000, 500)),
}
# id: name, tier, limits of users, documents and queries; `legal` gets a number where it was archived before.
UNITS = {
    "finance": ("Finance Department", "platinum", (100, 50_000, 10_000)),
    "legal": ("Legal Department", "platinum", (50, 10_000, 5_000)),
    "hr": ("HR Operations", "gold", (30, 5_000, 2_000)),
    "ops": ("Global Operations", "gold", (50, 8_000, 3_000)),
    "marketing": ("Marketing", "silver", (20, 2_000, 500)),
}
GLOBAL_DEFAULTS = {
    "basic_search": "on",
    "advanced_analytics": "off",
    "api_access": "off",
    "dedicated_namespace": "off",
    "shared_namespace": "off",
    "priority_support": "off",
}
TIER_DEFAULTS = {
    "platinum": {"advanced_analytics": "on", "dedicated_namespace": "on", "priority_support": "on", "api_access": "on"},
    "gold": {"advanced_analytics": "on", "shared_namespace": "on", "api_access": "on"},
    "silver": {"advanced_analytics": "off", "shared_namespace": "on", "api_access": "off"},
}
OVERRIDES = {"marketing": ["advanced_analytics", "api_access"]}


def layer(tenant, tier, key):
    """Which layer decides a flag, from the tables above: override > tier > global."""
    if key in OVERRIDES.get(tenant, []):
        return True, "TENANT_OVERRIDE"
    if key in TIER_DEFAULTS[tier]:
        return TIER_DEFAULTS[tier][key] == "on", "TIER_DEFAULT"
    return GLOBAL_DEFAULTS[key] == "on", "GLOBAL_DEFAULT"


def limits(numbers):
    return {metric: pb.Limit(value=number) for metric, number in zip(("users", "documents", "queries"), numbers)}


def short(enum, number):
    """`ACTIVE` from TENANT_STATUS_ACTIVE."""
    name = enum.Name(number)
    unspecified = enum.Name(0)
    return name.removeprefix(unspecified.removesuffix("UNSPECIFIED"))


def reason(error):
    """The reason that machines read: ErrorInfo in the details of google.rpc.Status."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else []:
        if detail.Unpack(info):
            return info.reason
    return "no reason"


class Deadlines(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """No call waits for ever: a server that hangs fails the test."""

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details._replace(timeout=DEADLINE), request)

    def intercept_unary_stream(self, continuation, details, request):
        return continuation(details._replace(timeout=DEADLINE), request)


class Story:
    def __init__(self, channel):
        self.registry, self.tiers, self.flags, self.lifecycle, self.health = (
            pb.stub(channel, service) for service in SERVICES
        )
        self.checks = 0
        self.units = UNITS

    def check(self, what, got, wanted):
        self.checks += 1
        if got != wanted:
            sys.exit(f"  ✗ {what}: {got!r}, and should be {wanted!r}")
        print(f"  ✓ {what}: {got}")

    def refused(self, what, call, request, code, why, message=None):
        try:
            answer = call(request)
        except grpc.RpcError as error:
            self.check(what, (error.code(), reason(error)), (code, why))
            if message:
                self.check(f"{what} says", error.details(), message)
            return
        sys.exit(f"  ✗ {what}: done, and should be refused as {why}: {answer}")

    def ensure(self, call, request, why):
        """Makes what is not there, leaves what is."""
        try:
            call(request)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.ALREADY_EXISTS:
                raise
            self.check("what is there is told apart", reason(error), why)

    def tenant(self, tenant_id):
        return self.registry.GetTenant(pb.GetTenantRequest(tenant_id=tenant_id))

    def status(self, tenant_id):
        return short(pb.TenantStatus, self.tenant(tenant_id).status)

    def play(self):
        self.free_legal()
        for chapter in (
            self.make_tiers,
            self.make_tenants,
            self.read_and_list,
            self.make_flags,
            self.evaluate_flags,
            self.move,
            self.cascade,
            self.report_health,
            self.count,
        ):
            print(f"\n── {chapter.__doc__} ──")
            chapter()
        print(f"\n{self.checks} answers checked, all as they must be.")

    def free_legal(self):
        """Takes the first of legal, legal-2, … that is not archived: archiving cannot be taken back."""
        for number in itertools.count(1):
            legal = "legal" if number == 1 else f"legal-{number}"
            try:
                archived = self.status(legal) in ("ARCHIVED", "DELETED")
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND:
                    raise
                self.check(f"{legal} is not there yet", reason(error), "TENANT_NOT_FOUND")
                archived = False
            if not archived:
                self.legal = legal
                self.units = {legal if unit == "legal" else unit: row for unit, row in UNITS.items()}
                return

    def make_tiers(self):
        """Three tiers"""
        for tier_id, (rank, sla, support, ttl, numbers) in TIERS.items():
            tier = pb.Tier(
                tier_id=tier_id,
                display_name=tier_id.capitalize(),
                rank=rank,
                sla_target=sla,
                support_level=support,
                cache_ttl_class=pb.CacheTtlClass.Value(f"CACHE_TTL_CLASS_{ttl}"),
                limits=limits(numbers),
            )
            self.ensure(self.tiers.CreateTier, pb.CreateTierRequest(tier=tier), "TIER_EXISTS")
            read = self.tiers.GetTier(pb.GetTierRequest(tier_id=tier_id))
            self.check(f"{tier_id}'s limits", read.limits["documents"].value, numbers[1])
        listed = self.tiers.ListTiers(pb.ListTiersRequest(page_size=1000)).tiers
        self.check("by rank", [tier.tier_id for tier in listed if tier.tier_id in TIERS], list(TIERS))

    def make_tenants(self):
        """Five tenants"""
        mask = field_mask_pb2.FieldMask(
            paths=["display_name", "business_unit", "tier", "sla_target", "support_level", "limit_overrides"]
        )
        for tenant_id, (name, tier, numbers) in self.units.items():
            _, sla, support, _, _ = TIERS[tier]
            tenant = pb.Tenant(
                tenant_id=tenant_id,
                display_name=name,
                business_unit=name,
                tier=tier,
                sla_target=sla,
                support_level=support,
                limit_overrides=limits(numbers),
            )
            self.ensure(self.registry.CreateTenant, pb.CreateTenantRequest(tenant=tenant), "TENANT_EXISTS")
            self.bring_back(tenant_id)
            updated = self.registry.UpdateTenant(pb.UpdateTenantRequest(tenant=tenant, update_mask=mask))
            read = self.tenant(tenant_id)
            self.check(f"{tenant_id} as updated", updated, read)
            self.check(tenant_id, (short(pb.TenantStatus, read.status), read.tier), ("ACTIVE", tier))
            self.check(f"{tenant_id} is", (read.display_name, read.business_unit), (name, name))
        again = pb.CreateTenantRequest(tenant=pb.Tenant(tenant_id="finance", display_name="Again", tier="gold"))
        exists = grpc.StatusCode.ALREADY_EXISTS
        self.refused("finance again", self.registry.CreateTenant, again, exists, "TENANT_EXISTS")

    def bring_back(self, tenant_id):
        """Waits for what is under way, and lets a tenant in that an earlier run locked out."""
        operation = self.tenant(tenant_id).operation_id
        if operation:
            self.follow(operation)
        back = {
            "SUSPENDED": (self.lifecycle.ActivateTenant, pb.ActivateTenantRequest),
            "MIGRATING": (self.lifecycle.FinishMigration, pb.FinishMigrationRequest),
        }.get(self.status(tenant_id))
        if back:
            call, request = back
            call(request(tenant_id=tenant_id, wait=WAIT))

    def follow(self, operation_id):
        """Watches an operation to its end, over a stream."""
        last = None
        for last in self.lifecycle.WatchOperation(pb.WatchOperationRequest(operation_id=operation_id)):
            self.check("the stream is about", last.operation_id, operation_id)
        self.check("the stream ends with", short(pb.OperationState, last.state), "SUCCEEDED")
        return last

    def read_and_list(self):
        """Reading and listing"""
        finance = self.tenant("finance")
        self.check("finance's SLA target", finance.sla_target, 0.9999)
        self.check("finance's support", finance.support_level, "24/7")
        users = [limit for limit in finance.limits if limit.metric == "users"]
        found = [(limit.limit.value, short(pb.LimitSource, limit.source)) for limit in users]
        self.check("finance's limit of users", found, [(100, "OVERRIDE")])
        for what, condition, wanted in (
            ("active", "status = ACTIVE", sorted(self.units)),
            ("platinum", 'tier = "platinum" AND status = ACTIVE', sorted(["finance", self.legal])),
        ):
            self.check(f"{what} ones of the five", self.list_pages(condition), wanted)

    def list_pages(self, condition):
        """The ids of ours that match, page by page. Others may have tenants here too."""
        found, token = [], ""
        while True:
            request = pb.ListTenantsRequest(filter=condition, order_by="tenant_id", page_size=2, page_token=token)
            page = self.registry.ListTenants(request)
            found += [tenant.tenant_id for tenant in page.tenants if tenant.tenant_id in self.units]
            token = page.next_page_token
            if not token:
                return found

    def make_flags(self):
        """Feature flags: tenant override > tier default > global default"""
        for key, variant in GLOBAL_DEFAULTS.items():
            flag = pb.Flag(flag_key=key, type=pb.FLAG_TYPE_BOOLEAN, default_variant=variant)
            self.ensure(self.flags.CreateFlag, pb.CreateFlagRequest(flag=flag), "FLAG_EXISTS")
        for tier, defaults in TIER_DEFAULTS.items():
            for key, variant in defaults.items():
                request = pb.SetTierDefaultRequest(flag_key=key, tier_id=tier, variant=variant)
                answer = self.flags.SetTierDefault(request)
                self.check(f"{key} on {tier}", (answer.tier_id, answer.variant), (tier, variant))
        for tenant, keys in OVERRIDES.items():
            for key in keys:
                request = pb.SetTenantOverrideRequest(
                    flag_key=key, tenant_id=tenant, variant="on", reason="a campaign needs it"
                )
                answer = self.flags.SetTenantOverride(request)
                self.check(f"{key} for {tenant}", (answer.variant, answer.reason), ("on", "a campaign needs it"))

    def evaluate_flags(self):
        """The whole table of flags, each alone and all at once"""
        # The answers of the demo, spelled out so that a mistake in `layer` cannot hide one of the server.
        for tenant, key, wanted in (
            ("finance", "advanced_analytics", (True, "TIER_DEFAULT")),
            ("hr", "advanced_analytics", (True, "TIER_DEFAULT")),
            ("marketing", "advanced_analytics", (True, "TENANT_OVERRIDE")),
            ("finance", "dedicated_namespace", (True, "TIER_DEFAULT")),
            ("hr", "dedicated_namespace", (False, "GLOBAL_DEFAULT")),
            ("marketing", "basic_search", (True, "GLOBAL_DEFAULT")),
            ("hr", "no_such_flag", (False, "UNKNOWN_FLAG")),
        ):
            self.check(f"{key} for {tenant}", self.evaluate(tenant, key), wanted)
        for tenant, (_, tier, _) in self.units.items():
            wanted = {key: layer(tenant, tier, key) for key in GLOBAL_DEFAULTS}
            self.check(f"{tenant}, each", {key: self.evaluate(tenant, key) for key in GLOBAL_DEFAULTS}, wanted)
            request = pb.EvaluateFlagsRequest(tenant_id=tenant, flag_keys=list(GLOBAL_DEFAULTS))
            answers = self.flags.EvaluateFlags(request).flags
            self.check(f"{tenant}, at once", {answer.flag_key: decided(answer) for answer in answers}, wanted)

    def evaluate(self, tenant, key):
        return decided(self.flags.EvaluateFlag(pb.EvaluateFlagRequest(tenant_id=tenant, flag_key=key)))

    def go(self, method, tenant_id, why, wanted):
        """Asks for a move, waits, and checks where it led."""
        request = getattr(pb, f"{method}Request")(tenant_id=tenant_id, reason=why, wait=WAIT)
        operation = getattr(self.lifecycle, method)(request)
        self.check(f"{method} {tenant_id}", self.status(tenant_id), wanted)
        self.check("its reason", operation.reason, why)
        read = self.lifecycle.GetOperation(pb.GetOperationRequest(operation_id=operation.operation_id))
        self.check("the operation as read", read, operation)
        return operation

    def move(self):
        """The lifecycle, and what it refuses"""
        self.go("SuspendTenant", "hr", "Budget review", "SUSPENDED")
        self.go("ActivateTenant", "hr", "Budget approved", "ACTIVE")
        self.refused(
            "DeleteTenant marketing",
            self.lifecycle.DeleteTenant,
            pb.DeleteTenantRequest(tenant_id="marketing"),
            grpc.StatusCode.FAILED_PRECONDITION,
            "ILLEGAL_TRANSITION",
            "a tenant that is ACTIVE cannot take DeleteTenant: from there it can move to SUSPENDED or MIGRATING",
        )
        self.check("marketing still is", self.status("marketing"), "ACTIVE")
        self.go("SuspendTenant", self.legal, "Closing the department", "SUSPENDED")
        self.go("ArchiveTenant", self.legal, "Closed", "ARCHIVED")
        answer = self.lifecycle.ListTransitions(pb.ListTransitionsRequest(tenant_id=self.legal))
        allowed = [(short(pb.TenantStatus, to.to), to.method) for to in answer.transitions]
        self.check("allowed from ARCHIVED", allowed, [("DELETED", "DeleteTenant")])

    def cascade(self):
        """Suspended and activated in every system at once"""
        operation = self.go("SuspendTenant", "finance", "Monthly maintenance", "SUSPENDED")
        self.every_target(operation, "SUSPENDED")
        # This time without waiting in the call: the way to its end is watched.
        request = pb.ActivateTenantRequest(tenant_id="finance", reason="Maintenance complete")
        operation = self.follow(self.lifecycle.ActivateTenant(request).operation_id)
        self.check("finance is back", self.status("finance"), "ACTIVE")
        self.every_target(operation, "ACTIVE")

    def every_target(self, operation, wanted):
        self.check("the operation", short(pb.OperationState, operation.state), "SUCCEEDED")
        steps = {
            step.target: (short(pb.DesiredState, step.observed), short(pb.TargetState, step.state))
            for step in operation.targets
        }
        self.check("its systems", steps, dict.fromkeys(TARGETS, (wanted, "VERIFIED")))

    def report_health(self):
        """Health from four signals"""
        for tenant, signals, wanted in (
            # 0.5 % of errors cost 10.
            ("finance", (350.0, 0.005, 0.98, 0.70), (90, "HEALTHY")),
            # 200 ms cost 20, 2 % of errors 40, the queries 30.
            ("hr", (700.0, 0.02, 0.93, 0.85), (10, "CRITICAL")),
            # 700 ms cost 70, 10 % of errors 200: the score does not go below 0.
            ("marketing", (1_200.0, 0.10, 0.80, 0.95), (0, "CRITICAL")),
        ):
            fields = ("latency_p95_ms", "error_rate", "query_success_rate", "storage_utilization")
            reported = pb.Signals(**dict(zip(fields, signals)))
            answer = self.health.ReportSignals(pb.ReportSignalsRequest(tenant_id=tenant, signals=reported))
            self.check(tenant, (answer.health_score, short(pb.HealthLevel, answer.health_level)), wanted)
            read = self.health.GetTenantHealth(pb.GetTenantHealthRequest(tenant_id=tenant))
            self.check(f"{tenant} as read", (read.health_score, read.signals), (wanted[0], reported))
            self.check(f"{tenant}'s score in the registry", self.tenant(tenant).health_score, wanted[0])
        ours = 'tenant_id = "hr" OR tenant_id = "marketing" OR tenant_id = "finance"'
        listed = self.registry.ListTenants(pb.ListTenantsRequest(filter=f"health_score < 50 AND ({ours})"))
        self.check("of these below 50", listed.total_size, 2)

    def count(self):
        """Statistics"""
        counts = self.registry.GetStatistics(pb.GetStatisticsRequest())
        listed = self.registry.ListTenants(pb.ListTenantsRequest(page_size=1))
        self.check("tenants in all", counts.total, listed.total_size)
        self.check("tenants on tiers", sum(counts.by_tier.values()), counts.total)
        statuses = {name.removeprefix("TENANT_STATUS_").lower() for name in pb.TenantStatus.keys()}
        self.check("all statuses", set(counts.by_status), statuses - {"unspecified"})


def decided(answer):
    """A boolean flag's value and the layer that decided it."""
    if answer.value.WhichOneof("kind") != "bool_value":
        return f"no boolean: {answer.value}", ""
    return answer.value.bool_value, short(pb.FlagLayer, answer.layer)


def main(address):
    # A proxy of the machine's is for the world outside, never for the server under test.
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        grpc.channel_ready_future(channel).result(timeout=DEADLINE)
        Story(grpc.intercept_channel(channel, Deadlines())).play()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
