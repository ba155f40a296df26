SELECT target FROM target_reached
