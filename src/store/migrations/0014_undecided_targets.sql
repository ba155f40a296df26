-- Targets of a tenant that hold a newer generation than the registry had asked for, as after a restore of it, and for which nobody
-- has decided yet which of the two counts. Null for none.
ALTER TABLE tenant ADD COLUMN undecided jsonb;
