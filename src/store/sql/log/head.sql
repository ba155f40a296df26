SELECT revision, compacted_revision, epoch, page_key FROM log_head
