-- Two that make the table at once would break on its name; the number is this program's own.
SELECT pg_advisory_xact_lock(8313748150612);
CREATE TABLE IF NOT EXISTS schema_migration (
    number integer PRIMARY KEY,
    name text NOT NULL,
    apply_time timestamptz NOT NULL DEFAULT now()
)
