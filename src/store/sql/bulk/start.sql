-- $8: {bulk, items, overruling or null}. The tier that it leads to is there. Its tenants, but for those that
-- have failed already, leave older bulk operations that have not begun them and lead elsewhere.
changed AS (
    INSERT INTO bulk_operation
    SELECT b.* FROM next, jsonb_populate_record(NULL::bulk_operation, ($8::jsonb -> 'bulk') || next.revision) b
    WHERE b.wish ->> 'tier' IS NULL OR EXISTS (SELECT 1 FROM tier WHERE tier_id = b.wish ->> 'tier')
    RETURNING bulk_id
), items_made AS (
    INSERT INTO bulk_item
    SELECT i.* FROM changed, jsonb_array_elements($8::jsonb -> 'items') WITH ORDINALITY e (item, place),
        jsonb_populate_record(NULL::bulk_item, item || jsonb_build_object('bulk_id', changed.bulk_id, 'position', place)) i
), overruled AS (
    UPDATE bulk_item i SET overruled = d.decision ->> 'why'
    FROM (
        SELECT (item ->> 'tenant_uid')::uuid, $8::jsonb -> 'overruling'
        FROM changed, jsonb_array_elements($8::jsonb -> 'items') item
        WHERE item ->> 'state' = 'WAITING'
    ) d (uid, decision),
        LATERAL (SELECT ctid, bulk_id FROM bulk_item WHERE tenant_uid = d.uid AND state = 'WAITING' OFFSET 0) w
    WHERE i.ctid = w.ctid AND i.overruled IS NULL AND (
        SELECT d.decision -> 'verbs' ? b.verb
            AND (b.verb, b.wish -> 'tier', b.wish -> 'to')
                IS DISTINCT FROM (d.decision ->> 'verb', d.decision -> 'wish' -> 'tier', d.decision -> 'wish' -> 'to')
        FROM bulk_operation b WHERE b.bulk_id = w.bulk_id)
)
