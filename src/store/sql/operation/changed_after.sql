SELECT operation FROM operation_read WHERE revision > $1
