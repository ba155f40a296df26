-- $8: the report. The tenant must exist and not be deleted.
changed AS (
    INSERT INTO tenant_health
    SELECT h.* FROM next, jsonb_populate_record(NULL::tenant_health, $8::jsonb || next.revision) h
    WHERE EXISTS (SELECT 1 FROM tenant t WHERE t.tenant_id = h.tenant_id AND t.status <> 'DELETED')
    ON CONFLICT (tenant_id) DO UPDATE SET
        latency_p95_ms = excluded.latency_p95_ms, error_rate = excluded.error_rate,
        query_success_rate = excluded.query_success_rate, storage_utilization = excluded.storage_utilization,
        score = excluded.score, report_time = excluded.report_time, revision = excluded.revision
    RETURNING tenant_id
)
