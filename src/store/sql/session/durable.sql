-- What is answered is on disk. A site may ask for more, as a standby's word; whoever asks for less, for the role or the database, has
-- a change that was read back be gone after a crash.
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
