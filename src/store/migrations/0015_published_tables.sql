-- Where all tables of the database are published (`CREATE PUBLICATION … FOR ALL TABLES`), one without a key takes no UPDATE and no
-- DELETE. This one's columns may be null, so they make none.
ALTER TABLE flag_bulk_evaluation REPLICA IDENTITY FULL;
