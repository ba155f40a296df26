-- While no replica runs, so that no view has to be told. Freshness tokens of the time that is lost are void. No target counts as seen:
-- what each holds from the next generation of its tenant on, the registry has forgotten, or not asked for; of two restores the first
-- counts. What an operator had an open operation go beyond was decided before: it is to be said again. What was to begin later may have been overruled in the time that is lost: but for suspensions it ends. Nor is anything purged before
-- somebody had the time to look: what keeps a tenant's data, too, may be forgotten. That holds of a deletion that is under way as well.
WITH head AS (
    UPDATE log_head SET epoch = gen_random_uuid()
), open AS (
    UPDATE operation SET details = coalesce(details, '{}') || jsonb_build_object(
        'restored', least((details ->> 'restored')::bigint, generation + 1))
        || CASE WHEN (details #>> '{wish,undelete_seconds}')::bigint < 604800
            THEN jsonb_build_object('wish', details -> 'wish' || '{"undelete_seconds": 604800}')
            ELSE '{}' END
        || CASE WHEN details ? 'ahead'
            THEN jsonb_build_object('ahead', (SELECT coalesce(jsonb_agg(held), '[]') FROM jsonb_array_elements(details -> 'ahead') held
                WHERE coalesce(held #>> '{adoption,actor}', 'tenantry') = 'tenantry'))
            ELSE '{}' END
    WHERE state IN ('RUNNING', 'REVERTING', 'NEEDS_OPERATOR')
    RETURNING operation_id
), step AS (
    UPDATE operation_step s SET
        state = CASE s.state WHEN 'VERIFIED' THEN 'PENDING' ELSE s.state END,
        observed = NULL, verify_time = NULL, verification = NULL
    FROM open WHERE s.operation_id = open.operation_id
), noted AS (
    UPDATE tenant SET undecided = coalesce(undecided, '{}') || jsonb_build_object(
        'restored', least((undecided ->> 'restored')::bigint, generation + 1)),
        purge_time = CASE WHEN purge_time IS NOT NULL THEN greatest(purge_time, now() + interval '7 days') END
    RETURNING 1
), later AS (
    UPDATE operation SET
        state = 'FAILED', finish_time = now(), update_time = now(),
        error = 'the registry was restored before its time came, and may have forgotten that it was overruled: ask for it again'
    WHERE state = 'SCHEDULED' AND verb <> 'SUSPEND'
    RETURNING 1
), bulk AS (
    UPDATE bulk_operation SET state = 'CANCELLING', update_time = now()
    WHERE state = 'RUNNING' AND verb <> 'SUSPEND'
    RETURNING 1
)
SELECT (SELECT count(*) FROM noted), (SELECT count(*) FROM open), (SELECT count(*) FROM later), (SELECT count(*) FROM bulk)
