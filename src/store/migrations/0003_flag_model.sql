-- The full flag model: kinds, expiry, relations between flags, rules, rollouts, and segments that rules share. A program
-- of the version before writes rows without the new columns: null stands for what it would have meant.
ALTER TABLE flag
    ADD COLUMN kind text,
    ADD COLUMN flag_set text,
    ADD COLUMN metadata jsonb,
    ADD COLUMN default_rollout jsonb,
    ADD COLUMN off_variant text,
    ADD COLUMN expired_variant text,
    ADD COLUMN expire_time timestamptz,
    ADD COLUMN kill_switch text,
    ADD COLUMN schedule jsonb,
    ADD COLUMN prerequisites jsonb,
    ADD COLUMN conflict_groups jsonb,
    ADD COLUMN priority integer,
    ADD COLUMN rules jsonb,
    ADD COLUMN hash_version text;

-- Either a variant or a rollout. `variants` are all that it can give; where null, the one variant.
ALTER TABLE tier_default
    ALTER COLUMN variant DROP NOT NULL,
    ADD COLUMN rollout jsonb,
    ADD COLUMN variants text[],
    ADD CHECK ((variant IS NULL) <> (rollout IS NULL));
ALTER TABLE tenant_override
    ALTER COLUMN variant DROP NOT NULL,
    ADD COLUMN rollout jsonb,
    ADD COLUMN variants text[],
    ADD CHECK ((variant IS NULL) <> (rollout IS NULL));

CREATE TABLE segment (
    segment_name text PRIMARY KEY,
    description text NOT NULL,
    source jsonb NOT NULL,
    revision bigint NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL
);
CREATE INDEX segment_by_revision ON segment (revision);

DROP INDEX log_removals;
CREATE INDEX log_removals ON log (revision)
    WHERE kind IN ('tier_deleted', 'flag_deleted', 'tier_default_cleared', 'tenant_override_cleared',
                   'segment_deleted', 'flags_applied');

-- How often, and when last, a flag was evaluated for a tenant. Off the log: it is no state of anything. The flag '' is
-- every flag at once: a bulk evaluation is one row and not one for each flag. The tenant '' is those that were too many
-- to count apart, and callers without a tenant.
CREATE TABLE flag_evaluation (
    flag_key text NOT NULL,
    tenant_id text NOT NULL,
    evaluations bigint NOT NULL,
    last_time timestamptz NOT NULL,
    PRIMARY KEY (flag_key, tenant_id)
);
