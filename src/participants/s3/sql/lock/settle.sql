-- The policy says all that it has to, and nothing can arrive any more.
DELETE FROM background_work WHERE work = $1
