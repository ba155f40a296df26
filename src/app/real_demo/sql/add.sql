INSERT INTO demo_order (tenant_id, order_id) VALUES ($1, 4)
