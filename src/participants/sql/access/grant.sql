-- Never goes back to an older generation of the same tenant; a new tenant of the same id (other uid) starts over.
INSERT INTO tenancy.access AS a (tenant_id, uid, state, generation) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id) DO UPDATE SET uid = excluded.uid, state = excluded.state, generation = excluded.generation
WHERE a.uid <> excluded.uid OR a.generation < excluded.generation
   OR (a.generation = excluded.generation AND a.state <> excluded.state)
RETURNING true AS changed
