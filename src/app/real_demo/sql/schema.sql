-- The application's table: its rows follow a tenant's state because its policies ask the access row.
CREATE TABLE demo_order (tenant_id text NOT NULL, order_id bigint NOT NULL, PRIMARY KEY (tenant_id, order_id));
SELECT tenancy.protect('demo_order');
DO $$
BEGIN
    CREATE ROLE orders_app NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;
DO $$
BEGIN
    CREATE ROLE orders_login LOGIN PASSWORD 'orders_login' IN ROLE orders_app;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON demo_order TO orders_app;
