-- A row for the client to find; it is rolled back with the rest. Without its tenant's session it may be out of the
-- sight of whoever has no right to bypass policies, which is why this is done first.
INSERT INTO tenancy.probe (tenant_id) VALUES ($1)
