INSERT INTO target_place (target, place) VALUES ($1, $2)
ON CONFLICT (target) DO UPDATE SET place = excluded.place
