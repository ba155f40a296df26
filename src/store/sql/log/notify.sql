-- A hint that may be lost: it must not wait for the disk, and so keep the next change from it.
SELECT set_config('synchronous_commit', 'off', true), pg_notify('tenantry_log', $1)
