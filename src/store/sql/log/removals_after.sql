SELECT entry FROM log
WHERE revision > $1 AND kind IN ('tier_deleted', 'flag_deleted', 'tier_default_cleared', 'tenant_override_cleared',
               'segment_deleted', 'flags_applied')
ORDER BY revision
