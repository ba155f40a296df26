SELECT digest, revision, reply FROM request WHERE request_id = $1
