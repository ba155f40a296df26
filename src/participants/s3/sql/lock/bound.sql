-- How long this transaction waits for the lock, and how long it may then say nothing, in milliseconds.
SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $1, true),
       set_config('idle_in_transaction_session_timeout', $2, true)
