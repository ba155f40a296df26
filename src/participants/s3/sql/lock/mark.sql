-- From here on something that was written under the lock may arrive, for so many milliseconds; known to all, whatever becomes of the holder.
INSERT INTO background_work AS w (work, owner, expire_time, progress)
VALUES ($1, gen_random_uuid(), clock_timestamp() + $2::bigint * interval '1 millisecond', '')
ON CONFLICT (work) DO UPDATE SET expire_time = greatest(w.expire_time, excluded.expire_time)
