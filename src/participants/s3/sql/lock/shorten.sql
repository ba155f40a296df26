-- All that this holder wrote has arrived; what a former one wrote may for so many milliseconds.
UPDATE background_work SET expire_time = clock_timestamp() + $2::bigint * interval '1 millisecond' WHERE work = $1
