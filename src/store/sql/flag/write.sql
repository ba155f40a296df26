-- $8: {segments: [{row, expected}], flags: [{row, expected}], files: [{row, expected}], tier_defaults: [row], segments_deleted: [{key, expected}],
-- flags_deleted: [{key, expected}], tier_defaults_cleared: [[flag, tier]], needs: {flags, segments}, unchanged_since,
-- values_unchanged_since, compared: {since, flags, flag_sets, segments, file}, time}.
-- All of it or nothing: what is no longer as it was decided on keeps everything from being written. `expected` is the
-- revision of what is replaced, null for what must not be there yet.
flag_in AS (
    SELECT i -> 'row' AS row, i #>> '{row,flag_key}' AS flag_key, (i ->> 'expected')::bigint AS expected
    FROM jsonb_array_elements($8::jsonb -> 'flags') i
), segment_in AS (
    SELECT i -> 'row' AS row, i #>> '{row,segment_name}' AS segment_name, (i ->> 'expected')::bigint AS expected
    FROM jsonb_array_elements($8::jsonb -> 'segments') i
), file_in AS (
    SELECT i -> 'row' AS row, i #>> '{row,file_name}' AS file_name, (i ->> 'expected')::bigint AS expected
    FROM jsonb_array_elements($8::jsonb -> 'files') i
), default_in AS (
    SELECT i AS row, i ->> 'flag_key' AS flag_key, i ->> 'tier_id' AS tier_id
    FROM jsonb_array_elements($8::jsonb -> 'tier_defaults') i
), flag_out AS (
    SELECT i ->> 'key' AS flag_key, (i ->> 'expected')::bigint AS expected
    FROM jsonb_array_elements($8::jsonb -> 'flags_deleted') i
), segment_out AS (
    SELECT i ->> 'key' AS segment_name, (i ->> 'expected')::bigint AS expected
    FROM jsonb_array_elements($8::jsonb -> 'segments_deleted') i
), default_out AS (
    SELECT i ->> 0 AS flag_key, i ->> 1 AS tier_id
    FROM jsonb_array_elements($8::jsonb -> 'tier_defaults_cleared') i
), stands AS (
    SELECT 1 FROM next
    WHERE NOT EXISTS (SELECT 1 FROM flag_in i LEFT JOIN flag f USING (flag_key) WHERE f.revision IS DISTINCT FROM i.expected)
      AND NOT EXISTS (SELECT 1 FROM file_in i LEFT JOIN flag_file f USING (file_name)
                      WHERE f.revision IS DISTINCT FROM i.expected)
      AND NOT EXISTS (SELECT 1 FROM flag_out i LEFT JOIN flag f USING (flag_key) WHERE f.revision IS DISTINCT FROM i.expected)
      AND NOT EXISTS (SELECT 1 FROM segment_in i LEFT JOIN segment s USING (segment_name)
                      WHERE s.revision IS DISTINCT FROM i.expected)
      AND NOT EXISTS (SELECT 1 FROM segment_out i LEFT JOIN segment s USING (segment_name)
                      WHERE s.revision IS DISTINCT FROM i.expected)
      AND NOT EXISTS (SELECT 1 FROM jsonb_array_elements_text($8::jsonb #> '{needs,flags}') k
                      WHERE NOT EXISTS (SELECT 1 FROM flag f WHERE f.flag_key = k)
                        AND NOT EXISTS (SELECT 1 FROM flag_in i WHERE i.flag_key = k))
      AND NOT EXISTS (SELECT 1 FROM jsonb_array_elements_text($8::jsonb #> '{needs,segments}') k
                      WHERE NOT EXISTS (SELECT 1 FROM segment s WHERE s.segment_name = k)
                        AND NOT EXISTS (SELECT 1 FROM segment_in i WHERE i.segment_name = k))
      AND NOT EXISTS (SELECT 1 FROM flag f WHERE f.revision > ($8::jsonb ->> 'unchanged_since')::bigint)
      AND NOT EXISTS (SELECT 1 FROM segment s WHERE s.revision > ($8::jsonb ->> 'unchanged_since')::bigint)
      AND NOT EXISTS (SELECT 1 FROM tier_default d WHERE d.revision > ($8::jsonb ->> 'values_unchanged_since')::bigint
                        AND (EXISTS (SELECT 1 FROM flag_out i WHERE i.flag_key = d.flag_key)
                          OR EXISTS (SELECT 1 FROM default_in i WHERE (i.flag_key, i.tier_id) = (d.flag_key, d.tier_id))
                          OR EXISTS (SELECT 1 FROM default_out i WHERE (i.flag_key, i.tier_id) = (d.flag_key, d.tier_id))))
      AND NOT EXISTS (SELECT 1 FROM flag_out i JOIN tenant_override o USING (flag_key)
                      WHERE o.revision > ($8::jsonb ->> 'values_unchanged_since')::bigint)
      AND NOT EXISTS (SELECT 1 FROM flag f WHERE f.revision > ($8::jsonb #>> '{compared,since}')::bigint
                        AND ($8::jsonb #> '{compared,flags}' ? f.flag_key
                          OR $8::jsonb #> '{compared,flag_sets}' ?| ARRAY[coalesce(f.flag_set, ''), f.origin ->> 'file']))
      AND NOT EXISTS (SELECT 1 FROM tier_default d WHERE d.revision > ($8::jsonb #>> '{compared,since}')::bigint
                        AND $8::jsonb #> '{compared,flags}' ? d.flag_key)
      AND NOT EXISTS (SELECT 1 FROM segment s WHERE s.revision > ($8::jsonb #>> '{compared,since}')::bigint
                        AND coalesce($8::jsonb #> '{compared,segments}' ? s.segment_name, true))
      AND NOT EXISTS (SELECT 1 FROM flag_file f WHERE f.revision > ($8::jsonb #>> '{compared,since}')::bigint
                        AND f.file_name = $8::jsonb #>> '{compared,file}')
      AND NOT EXISTS (SELECT 1 FROM default_in i WHERE NOT EXISTS (SELECT 1 FROM tier t WHERE t.tier_id = i.tier_id))
      -- A default of a flag that is not written here must find its variants there.
      AND NOT EXISTS (SELECT 1 FROM default_in i WHERE NOT EXISTS (SELECT 1 FROM flag_in w WHERE w.flag_key = i.flag_key)
                        AND NOT EXISTS (SELECT 1 FROM flag f WHERE f.flag_key = i.flag_key
                                        AND f.variants ?& ARRAY(SELECT jsonb_array_elements_text(i.row -> 'variants'))))
      -- No default and no override may be left without its variants, but one that has ended: it gives none any more.
      AND NOT EXISTS (SELECT 1 FROM flag_in i JOIN tier_default d USING (flag_key)
                      WHERE NOT (i.row -> 'variants') ?& coalesce(d.variants, ARRAY[d.variant])
                        AND NOT EXISTS (SELECT 1 FROM default_in n WHERE n.flag_key = d.flag_key AND n.tier_id = d.tier_id)
                        AND NOT EXISTS (SELECT 1 FROM default_out n WHERE n.flag_key = d.flag_key AND n.tier_id = d.tier_id))
      AND NOT EXISTS (SELECT 1 FROM flag_in i JOIN tenant_override o USING (flag_key)
                      WHERE NOT (i.row -> 'variants') ?& coalesce(o.variants, ARRAY[o.variant])
                        AND (o.expire_time IS NULL OR o.expire_time > ($8::jsonb ->> 'time')::timestamptz))
), segments_written AS (
    INSERT INTO segment
    SELECT s.* FROM stands, next, segment_in i, jsonb_populate_record(NULL::segment, i.row || next.revision) s
    ON CONFLICT (segment_name) DO UPDATE SET
        description = excluded.description, source = excluded.source,
        update_time = excluded.update_time, revision = excluded.revision
), files_written AS (
    INSERT INTO flag_file
    SELECT f.* FROM stands, next, file_in i, jsonb_populate_record(NULL::flag_file, i.row || next.revision) f
    ON CONFLICT (file_name) DO UPDATE SET
        head = excluded.head, update_time = excluded.update_time, revision = excluded.revision
), flags_written AS (
    INSERT INTO flag
    SELECT f.* FROM stands, next, flag_in i, jsonb_populate_record(NULL::flag, i.row || next.revision) f
    ON CONFLICT (flag_key) DO UPDATE SET
        description = excluded.description, variants = excluded.variants, default_variant = excluded.default_variant,
        safe_variant = excluded.safe_variant, state = excluded.state, owner = excluded.owner,
        labels = excluded.labels, kind = excluded.kind, flag_set = excluded.flag_set, metadata = excluded.metadata,
        default_rollout = excluded.default_rollout, off_variant = excluded.off_variant,
        expired_variant = excluded.expired_variant, expire_time = excluded.expire_time,
        kill_switch = excluded.kill_switch, schedule = excluded.schedule, prerequisites = excluded.prerequisites,
        conflict_groups = excluded.conflict_groups, priority = excluded.priority, rules = excluded.rules,
        hash_version = excluded.hash_version, flag_type = excluded.flag_type, origin = excluded.origin,
        extensions = excluded.extensions, version = excluded.version, update_time = excluded.update_time,
        revision = excluded.revision
), defaults_written AS (
    INSERT INTO tier_default
    SELECT d.* FROM stands, next, default_in i, jsonb_populate_record(NULL::tier_default, i.row || next.revision) d
    ON CONFLICT (flag_key, tier_id) DO UPDATE SET
        variant = excluded.variant, rollout = excluded.rollout, variants = excluded.variants,
        revision = excluded.revision
), segments_gone AS (
    DELETE FROM segment s USING stands, segment_out i WHERE s.segment_name = i.segment_name
), flags_gone AS (
    DELETE FROM flag f USING stands, flag_out i WHERE f.flag_key = i.flag_key
), defaults_cleared AS (
    DELETE FROM tier_default d USING stands, default_out i WHERE d.flag_key = i.flag_key AND d.tier_id = i.tier_id
), defaults_gone AS (
    DELETE FROM tier_default d USING stands, flag_out i WHERE d.flag_key = i.flag_key
), overrides_gone AS (
    DELETE FROM tenant_override o USING stands, flag_out i WHERE o.flag_key = i.flag_key
), evaluations_gone AS (
    DELETE FROM flag_evaluation e USING stands, flag_out i WHERE e.flag_key = i.flag_key
), changed AS (
    SELECT 1 FROM stands
)
