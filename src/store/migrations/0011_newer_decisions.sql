-- A tenant that waits in a bulk operation is taken out of it by a newer decision, which says so here. Null where nobody
-- decided otherwise. A program of the version before does not look.
ALTER TABLE bulk_item ADD COLUMN overruled text;
ALTER TABLE bulk_operation ADD COLUMN overruled integer;
CREATE INDEX bulk_item_waiting ON bulk_item (tenant_uid) WHERE state = 'WAITING';
CREATE INDEX bulk_item_overruled ON bulk_item (bulk_id) WHERE state = 'WAITING' AND overruled IS NOT NULL;
