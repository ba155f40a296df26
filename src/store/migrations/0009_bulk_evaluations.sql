-- How often, and when last, all flags were evaluated at once. One row for every time that a flag was the newest there was:
-- a flag made later was not among those evaluated, one made before or then was. `flag_set` is null where no set was
-- asked for, and '' where flags without a set were. Not by tenant: 500 flags for 100,000 tenants would be 50 million rows.
CREATE TABLE flag_bulk_evaluation (
    flag_set text,
    newest_flag_time timestamptz NOT NULL,
    evaluations bigint NOT NULL,
    last_time timestamptz NOT NULL,
    UNIQUE NULLS NOT DISTINCT (flag_set, newest_flag_time)
);

-- What stood for all flags at once said neither which were there nor of which set. A program of the version before may
-- still write such rows; nobody reads them.
DELETE FROM flag_evaluation WHERE flag_key = '';
