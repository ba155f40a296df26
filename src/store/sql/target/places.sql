SELECT target, place FROM target_place WHERE target = ANY($1)
