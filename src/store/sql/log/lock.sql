SELECT revision FROM log_head FOR UPDATE
