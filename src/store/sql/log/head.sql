SELECT revision, compacted_revision, epoch FROM log_head
