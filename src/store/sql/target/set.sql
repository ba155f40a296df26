-- $8: the control. Nothing changes where it is so already.
changed AS (
    INSERT INTO target_control AS c
    SELECT g.* FROM next, jsonb_populate_record(NULL::target_control, $8::jsonb || next.revision) g
    ON CONFLICT (target) DO UPDATE SET
        paused = excluded.paused, reason = excluded.reason, actor = excluded.actor,
        update_time = excluded.update_time, revision = excluded.revision
    WHERE c.paused <> excluded.paused OR excluded.paused AND c.reason <> excluded.reason
    RETURNING target
)
