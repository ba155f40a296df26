-- The statements of changes look up by key and are the same for ever: planning them anew took half of the database's time.
-- A plan made while a table was empty must still be right when it has a million rows: never a scan.
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off
