-- Operations that begin later, that are taken back, that are part of many; targets that are paused; verbs on many
-- tenants. New columns are null where the version before wrote the row, which still runs while replicas are rolled.
ALTER TABLE operation
    ADD COLUMN backward boolean,
    ADD COLUMN abort_reason text,
    ADD COLUMN schedule_time timestamptz,
    ADD COLUMN details jsonb,
    ADD COLUMN bulk_id uuid;
ALTER TABLE operation_step
    ADD COLUMN verification text,
    ADD COLUMN skip_reason text;
ALTER TABLE tenant
    ADD COLUMN placement jsonb,
    ADD COLUMN retain_time timestamptz;
CREATE INDEX operation_scheduled ON operation (schedule_time) WHERE state = 'SCHEDULED';
CREATE INDEX tenant_to_purge ON tenant (purge_time) WHERE purge_time IS NOT NULL;

-- Beside log_removals, which stays for the version before.
CREATE INDEX log_purges ON log (revision) WHERE kind = 'tenant_purged';

CREATE TABLE target_control (
    target text PRIMARY KEY,
    paused boolean NOT NULL,
    reason text NOT NULL,
    actor text NOT NULL,
    update_time timestamptz NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX target_control_by_revision ON target_control (revision);

CREATE TABLE bulk_operation (
    bulk_id uuid PRIMARY KEY,
    verb text NOT NULL,
    wish jsonb NOT NULL,
    filter text NOT NULL,
    parent text,
    reason text NOT NULL,
    actor text NOT NULL,
    state text NOT NULL,
    concurrent_max integer NOT NULL,
    total integer NOT NULL,
    waiting integer NOT NULL,
    running integer NOT NULL,
    needs_operator integer NOT NULL,
    succeeded integer NOT NULL,
    failed integer NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    finish_time timestamptz,
    revision bigint NOT NULL
);
CREATE INDEX bulk_operation_by_revision ON bulk_operation (revision);

-- The tenants of a bulk operation, chosen once. Only its driver reads them.
CREATE TABLE bulk_item (
    bulk_id uuid NOT NULL,
    tenant_uid uuid NOT NULL,
    tenant_id text NOT NULL,
    position bigint NOT NULL,
    state text NOT NULL,
    operation_id uuid,
    error text NOT NULL,
    PRIMARY KEY (bulk_id, tenant_uid)
);

-- Work that one replica does for all, and how far it got. Expiry is by the database's clock, as for operation_lease.
CREATE TABLE background_work (
    work text PRIMARY KEY,
    owner uuid NOT NULL,
    expire_time timestamptz NOT NULL,
    progress text NOT NULL
);
