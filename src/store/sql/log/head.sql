-- Where the log stands, and two of its entries: the newest, and the one at a revision that was seen ($1), which tells whether
-- it still is the log that was seen.
SELECT head.revision, head.compacted_revision, head.epoch, head.page_key, current_setting('transaction_read_only')::boolean,
    newest.request_id, newest.record_time, seen.request_id, seen.record_time
FROM log_head head
LEFT JOIN LATERAL (SELECT request_id, record_time FROM log WHERE revision = head.revision LIMIT 1) newest ON true
LEFT JOIN log seen ON seen.revision = $1
