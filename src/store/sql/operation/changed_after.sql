SELECT operation FROM operation_read WHERE revision > $1 AND revision <= $2
