-- The answer of a request that led to no change: of no revision. Nothing happens where it was answered meanwhile.
INSERT INTO request (request_id, digest, revision, reply) VALUES ($1, $2, 0, $3)
ON CONFLICT DO NOTHING RETURNING true
