-- Foreign keys that refer to tables with tenants' rows and have no index: each row that is removed there has the whole table searched. The
-- largest tables first.
SELECT k.conrelid::regclass::text || ' (' || (
        SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY place)
        FROM unnest(k.conkey) WITH ORDINALITY AS c (number, place) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.number)
    || ')' AS named
FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid IN (SELECT t::oid FROM tenancy.named_tables() AS t)
  AND NOT EXISTS (
      SELECT 1 FROM pg_index i
      WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
        AND k.conkey @> (string_to_array(i.indkey::text, ' ')::smallint[])[1:cardinality(k.conkey)]
        AND (string_to_array(i.indkey::text, ' ')::smallint[])[1:cardinality(k.conkey)] @> k.conkey)
ORDER BY r.relpages DESC, named LIMIT 5
