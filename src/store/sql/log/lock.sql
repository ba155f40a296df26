SELECT epoch, compacted_revision FROM log_head FOR UPDATE
