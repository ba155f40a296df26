-- A batch that takes too long is to end while somebody can still say so.
SELECT set_config('statement_timeout', $1, true)
