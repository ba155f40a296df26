-- For how many milliseconds what a former holder wrote may still arrive; not above 0 where it has, or never will. No row where nothing is
-- in doubt.
SELECT ceil(extract(epoch FROM expire_time - clock_timestamp()) * 1000)::bigint FROM background_work WHERE work = $1
