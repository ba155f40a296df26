SELECT count(*) FROM tenancy.demo_document
