-- Never goes back to an older generation of the same tenant. A new tenant of the same id starts over once the one before it
-- was purged, and not before: its rows would be the new one's. A late call for the one before changes nothing: uids grow
-- with time.
INSERT INTO tenancy.access AS a (tenant_id, uid, state, generation) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id) DO UPDATE SET uid = excluded.uid, state = excluded.state, generation = excluded.generation
WHERE (a.uid < excluded.uid AND a.state = 'DELETED')
   OR (a.uid = excluded.uid AND (a.generation < excluded.generation
        OR (a.generation = excluded.generation AND a.state <> excluded.state)))
RETURNING true AS changed
