-- A table with rows of the tenant, or one of which nobody can tell: it has the name of a protected one, and is another.
SELECT coalesce(tenancy.leftover($1), tenancy.replaced())
