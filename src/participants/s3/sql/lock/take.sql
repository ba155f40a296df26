-- Waits; the transaction's end gives it back.
SELECT pg_advisory_xact_lock(hashtextextended($1, 0))
