-- $8: {bulk, items}. The tier that it leads to is there.
changed AS (
    INSERT INTO bulk_operation
    SELECT b.* FROM next, jsonb_populate_record(NULL::bulk_operation, ($8::jsonb -> 'bulk') || next.revision) b
    WHERE b.wish ->> 'tier' IS NULL OR EXISTS (SELECT 1 FROM tier WHERE tier_id = b.wish ->> 'tier')
    RETURNING bulk_id
), items_made AS (
    INSERT INTO bulk_item
    SELECT i.* FROM changed, jsonb_array_elements($8::jsonb -> 'items') WITH ORDINALITY e (item, place),
        jsonb_populate_record(NULL::bulk_item, item || jsonb_build_object('bulk_id', changed.bulk_id, 'position', place)) i
)
