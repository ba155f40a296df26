-- A stretch of the log, from before $1 backwards: what was done to flags within the last $2 seconds. A row without an entry at
-- the end says that the stretch before may have more.
WITH stretch AS (
    SELECT revision, kind, entry, record_time FROM log WHERE revision < $1 ORDER BY revision DESC LIMIT 5000
)
SELECT revision, entry FROM stretch
WHERE record_time >= now() - make_interval(secs => $2) AND kind IN (
    'flag_created', 'flag_updated', 'flag_expiry_extended', 'flag_deleted', 'tier_default_set', 'tier_default_cleared',
    'tenant_override_set', 'tenant_override_cleared', 'segment_created', 'segment_updated', 'segment_deleted',
    'flags_applied', 'tier_deleted')
UNION ALL
SELECT min(revision), NULL FROM stretch HAVING max(record_time) >= now() - make_interval(secs => $2)
