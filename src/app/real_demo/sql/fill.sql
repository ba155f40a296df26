INSERT INTO demo_order (tenant_id, order_id) SELECT $1, n FROM generate_series(1, 3) n
