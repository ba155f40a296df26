SELECT tenant_id, latency_p95_ms, error_rate, query_success_rate, storage_utilization, score, report_time, revision
FROM tenant_health WHERE revision > $1 AND revision <= $2
