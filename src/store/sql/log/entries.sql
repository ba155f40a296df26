SELECT revision, kind, subject, actor, request_id, entry FROM log WHERE revision > $1 ORDER BY revision LIMIT $2
