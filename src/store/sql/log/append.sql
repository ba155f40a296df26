-- The end of every change. Before it stands `changed AS (…)`: the state rows, conditional on what the change was decided
-- on, and on `next`. Nothing changed: no event, no revision, no reply, and no row in the answer. A change that forgets to
-- ask `next` and is repeated fails here, for it has no revision.
-- $1 request id, $2 digest, $3 reply, $4 entry, $5 kind, $6 subject, $7 actor; $8 belongs to the change.
, head AS (
    SELECT set_config('tenantry.revision', next.number::text, true)::bigint AS revision
    FROM (SELECT FROM changed LIMIT 1) made LEFT JOIN next ON true
), logged AS (
    INSERT INTO log (revision, kind, subject, actor, request_id, entry)
    SELECT head.revision, $5::text, $6::text, $7::text, $1::uuid, $4::bytea FROM head
), kept AS (
    INSERT INTO request (request_id, digest, revision, reply)
    SELECT $1::uuid, $2::bytea, head.revision, $3::bytea FROM head
)
SELECT revision FROM head
