SELECT entry, revision FROM (
    SELECT revision, entry FROM log
    WHERE revision > $1 AND kind IN ('tier_deleted', 'flag_deleted', 'tier_default_cleared', 'tenant_override_cleared',
                   'segment_deleted', 'flags_applied')
    UNION ALL
    SELECT revision, entry FROM log WHERE revision > $1 AND kind = 'tenant_purged'
) removals
ORDER BY revision
