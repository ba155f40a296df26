SELECT count(*) FROM demo_order
