-- $8: {bulk, items}.
changed AS (
    INSERT INTO bulk_operation
    SELECT b.* FROM next, jsonb_populate_record(NULL::bulk_operation, ($8::jsonb -> 'bulk') || next.revision) b
    RETURNING bulk_id
), items_made AS (
    INSERT INTO bulk_item
    SELECT i.* FROM changed, jsonb_array_elements($8::jsonb -> 'items') WITH ORDINALITY e (item, place),
        jsonb_populate_record(NULL::bulk_item, item || jsonb_build_object('bulk_id', changed.bulk_id, 'position', place)) i
)
