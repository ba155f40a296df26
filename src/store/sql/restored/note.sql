-- While no replica runs, so that no view has to be told. Freshness tokens of the time that is lost are void. No target counts as seen:
-- what each holds from the next generation of its tenant on, the registry has forgotten, or not asked for.
WITH head AS (
    UPDATE log_head SET epoch = gen_random_uuid()
), open AS (
    UPDATE operation SET details = coalesce(details, '{}') || jsonb_build_object('restored', generation + 1)
    WHERE state IN ('RUNNING', 'REVERTING', 'NEEDS_OPERATOR')
    RETURNING operation_id
), step AS (
    UPDATE operation_step s SET
        state = CASE s.state WHEN 'VERIFIED' THEN 'PENDING' ELSE s.state END,
        observed = NULL, verify_time = NULL, verification = NULL
    FROM open WHERE s.operation_id = open.operation_id AND s.state <> 'SKIPPED'
), noted AS (
    UPDATE tenant SET undecided = coalesce(undecided, '{}') || jsonb_build_object('restored', generation + 1)
    RETURNING 1
)
SELECT (SELECT count(*) FROM noted), (SELECT count(*) FROM open)
