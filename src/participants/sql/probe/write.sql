-- Without a condition and without reading a column, so that only the policies of writing decide: those of reading count where
-- a statement reads.
DELETE FROM tenancy.probe
