-- The registry's own tables. Portable SQL: no triggers, no advisory locks, no functions of ours.

-- The one place that orders all changes: whoever changes anything locks this row first, so that the state it sees is
-- final, and takes the next revision before it commits.
CREATE TABLE log_head (
    id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    revision bigint NOT NULL,
    -- Watches cannot resume from before this revision.
    compacted_revision bigint NOT NULL,
    -- Differs between databases, also after a restore is promoted by hand: freshness tokens carry it.
    epoch uuid NOT NULL,
    -- Signs page tokens; shown to nobody.
    page_key uuid NOT NULL
);
INSERT INTO log_head (revision, compacted_revision, epoch, page_key)
VALUES (0, 0, gen_random_uuid(), gen_random_uuid());

CREATE TABLE log (
    revision bigint PRIMARY KEY,
    kind text NOT NULL,
    subject text NOT NULL,
    actor text NOT NULL,
    request_id uuid NOT NULL,
    -- JSON, kept as the exact bytes that were written.
    entry bytea NOT NULL,
    record_time timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX log_removals ON log (revision)
    WHERE kind IN ('tier_deleted', 'flag_deleted', 'tier_default_cleared', 'tenant_override_cleared');

-- One row a change, so that a repeated request gets the same answer for 24 h.
CREATE TABLE request (
    request_id uuid PRIMARY KEY,
    digest bytea NOT NULL,
    revision bigint NOT NULL,
    reply bytea NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX request_by_age ON request (create_time);

CREATE TABLE tier (
    tier_id text PRIMARY KEY,
    display_name text NOT NULL,
    description text NOT NULL,
    rank integer NOT NULL,
    limits jsonb NOT NULL,
    sla_target double precision NOT NULL,
    support_level text NOT NULL,
    cache_ttl_class text NOT NULL,
    version bigint NOT NULL,
    revision bigint NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL
);
CREATE INDEX tier_by_revision ON tier (revision);

CREATE TABLE tenant (
    tenant_id text PRIMARY KEY,
    uid uuid NOT NULL UNIQUE,
    display_name text NOT NULL,
    description text NOT NULL,
    parent text,
    business_unit text NOT NULL,
    cost_center text NOT NULL,
    owner text NOT NULL,
    contacts jsonb NOT NULL,
    tier text NOT NULL,
    limit_overrides jsonb NOT NULL,
    sla_target double precision,
    support_level text NOT NULL,
    isolation_model text NOT NULL,
    region text NOT NULL,
    data_residency text NOT NULL,
    compliance_frameworks text[] NOT NULL,
    data_classification text NOT NULL,
    encryption_key_ref text NOT NULL,
    -- Chosen names; null where all derive from the uid.
    resource_names jsonb,
    time_zone text NOT NULL,
    currency_code text NOT NULL,
    monthly_budget numeric,
    labels jsonb NOT NULL,
    annotations jsonb NOT NULL,
    status text NOT NULL,
    status_time timestamptz NOT NULL,
    status_reason text NOT NULL,
    pending_status text,
    operation_id uuid,
    generation bigint NOT NULL,
    creator text NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    delete_time timestamptz,
    purge_time timestamptz,
    revision bigint NOT NULL,
    CHECK ((pending_status IS NULL) = (operation_id IS NULL))
);
CREATE INDEX tenant_by_revision ON tenant (revision);
CREATE INDEX tenant_by_tier ON tenant (tier);
CREATE INDEX tenant_by_parent ON tenant (parent) WHERE parent IS NOT NULL;

-- Apart from the tenant, because reports are frequent and must not disturb someone who edits it.
CREATE TABLE tenant_health (
    tenant_id text PRIMARY KEY,
    latency_p95_ms double precision NOT NULL,
    error_rate double precision NOT NULL,
    query_success_rate double precision NOT NULL,
    storage_utilization double precision NOT NULL,
    score smallint NOT NULL,
    report_time timestamptz NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX tenant_health_by_revision ON tenant_health (revision);

CREATE TABLE flag (
    flag_key text PRIMARY KEY,
    flag_type text NOT NULL,
    description text NOT NULL,
    variants jsonb NOT NULL,
    default_variant text,
    safe_variant text,
    state text NOT NULL,
    owner text NOT NULL,
    labels jsonb NOT NULL,
    version bigint NOT NULL,
    revision bigint NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL
);
CREATE INDEX flag_by_revision ON flag (revision);

CREATE TABLE tier_default (
    flag_key text NOT NULL,
    tier_id text NOT NULL,
    variant text NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (flag_key, tier_id)
);
CREATE INDEX tier_default_by_revision ON tier_default (revision);

CREATE TABLE tenant_override (
    tenant_id text NOT NULL,
    flag_key text NOT NULL,
    variant text NOT NULL,
    reason text NOT NULL,
    expire_time timestamptz,
    update_time timestamptz NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (tenant_id, flag_key)
);
CREATE INDEX tenant_override_by_revision ON tenant_override (revision);
CREATE INDEX tenant_override_by_flag ON tenant_override (flag_key);

CREATE TABLE operation (
    operation_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    tenant_uid uuid NOT NULL,
    verb text NOT NULL,
    from_status text NOT NULL,
    to_status text NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    actor text NOT NULL,
    generation bigint NOT NULL,
    error text NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    finish_time timestamptz,
    revision bigint NOT NULL
);
CREATE INDEX operation_by_revision ON operation (revision);
CREATE UNIQUE INDEX operation_open_once ON operation (tenant_uid)
    WHERE state IN ('RUNNING', 'REVERTING', 'NEEDS_OPERATOR');

CREATE TABLE operation_step (
    operation_id uuid NOT NULL,
    target text NOT NULL,
    desired text NOT NULL,
    state text NOT NULL,
    observed text,
    attempts integer NOT NULL,
    last_error text NOT NULL,
    next_attempt_time timestamptz,
    verify_time timestamptz,
    PRIMARY KEY (operation_id, target)
);

-- Who drives an operation. Apart from it, because heartbeats are no changes and must not wait for the log.
CREATE TABLE operation_lease (
    operation_id uuid PRIMARY KEY,
    owner uuid NOT NULL,
    epoch bigint NOT NULL,
    expire_time timestamptz NOT NULL
);
CREATE INDEX operation_lease_by_expiry ON operation_lease (expire_time);
