-- Takes or keeps work that nobody else has; no row where another does. By the database's clock.
INSERT INTO background_work AS w (work, owner, expire_time, progress)
VALUES ($1, $2, now() + $3::bigint * interval '1 millisecond', '')
ON CONFLICT (work) DO UPDATE SET owner = excluded.owner, expire_time = excluded.expire_time
WHERE w.owner = excluded.owner OR w.expire_time < now()
RETURNING progress
