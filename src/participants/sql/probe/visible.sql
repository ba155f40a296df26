SELECT tenancy.visible()
