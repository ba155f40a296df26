UPDATE tenancy.demo_document SET title = title
