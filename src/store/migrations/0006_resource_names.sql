-- No tenant's resources reach another's: each resource name belongs to one tenant until its row goes, and no prefix
-- lies in another's. A prefix stands for all texts from itself up to itself and a '~', which sorts after everything
-- that names are made of; two such ranges overlap exactly where one prefix contains the other or both are the same.
CREATE TYPE name_range AS RANGE (subtype = text, collation = "C", multirange_type_name = name_ranges);

-- The names that are derived (a tenant that chose none, or a part of them) hold the uid. No chosen name may be of that
-- form or contain those that are, so chosen ones need only be held against each other. src/domain/tenant/names.rs says
-- the same to callers.
ALTER TABLE tenant ADD CONSTRAINT tenant_names_are_own CHECK (resource_names IS NULL OR (
    (resource_names ->> 'database_schema' !~ '^t_[0-9a-f]{32}$'
        OR resource_names ->> 'database_schema' = 't_' || replace(uid::text, '-', ''))
    AND (resource_names ->> 'vector_namespace' !~ '^t-[0-9a-f]{32}$'
        OR resource_names ->> 'vector_namespace' = 't-' || replace(uid::text, '-', ''))
    AND (resource_names ->> 'bucket' <> 'tenants'
        OR resource_names ->> 'bucket_prefix' !~ '^t/($|[0-9a-f]{32}/)'
        OR resource_names ->> 'bucket_prefix' = 't/' || replace(uid::text, '-', '') || '/')
    AND (resource_names ->> 'cache_prefix' !~ '^t:($|[0-9a-f]{32}:)'
        OR resource_names ->> 'cache_prefix' = 't:' || replace(uid::text, '-', '') || ':')
));

CREATE UNIQUE INDEX tenant_database_schema ON tenant ((resource_names ->> 'database_schema'))
    WHERE resource_names IS NOT NULL;
CREATE UNIQUE INDEX tenant_vector_namespace ON tenant ((resource_names ->> 'vector_namespace'))
    WHERE resource_names IS NOT NULL;
-- Derived from the id where it is not chosen, so all tenants are held against each other.
CREATE UNIQUE INDEX tenant_monitoring_label ON tenant (coalesce(resource_names ->> 'monitoring_label', tenant_id));
ALTER TABLE tenant ADD CONSTRAINT tenant_bucket_prefixes_apart EXCLUDE USING gist (
    name_range(
        (resource_names ->> 'bucket') || '/' || (resource_names ->> 'bucket_prefix'),
        (resource_names ->> 'bucket') || '/' || (resource_names ->> 'bucket_prefix') || '~') WITH &&
) WHERE (resource_names IS NOT NULL);
ALTER TABLE tenant ADD CONSTRAINT tenant_cache_prefixes_apart EXCLUDE USING gist (
    name_range(resource_names ->> 'cache_prefix', (resource_names ->> 'cache_prefix') || '~') WITH &&
) WHERE (resource_names IS NOT NULL);
