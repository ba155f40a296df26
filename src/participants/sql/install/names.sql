SELECT tenancy.learn_names()
