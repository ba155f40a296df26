SELECT NOT EXISTS (SELECT 1 FROM tenancy.named_tables())
