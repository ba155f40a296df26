-- As if it had run out just now.
UPDATE background_work SET expire_time = now() - interval '1 microsecond' WHERE owner = $1
